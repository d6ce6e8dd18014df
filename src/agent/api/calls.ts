import { z } from 'zod'
import { asyncVariants } from './asyncCalls.js'
import { asyncCall, call } from './call.js'
import { consumerCalls } from './consumerCalls.js'
import { inspectionSchema } from './inspection.js'
import { linkCalls, linkDataSchema, linkPqSchema, linkSchema } from './linkCalls.js'
import { networkCalls } from './networkCalls.js'
import { operationCalls } from './operationCalls.js'
import { rotationCalls } from './rotationCalls.js'
import {
  bodySchema,
  connectionIdSchema,
  consumerSchema,
  cursorSchema,
  idempotencyKeySchema,
  messageIdSchema,
  pqSchema,
  userIdSchema,
} from './schemas.js'
import { syncCalls } from './syncCalls.js'
import { userCalls } from './userCalls.js'

const nothing = z.strictObject({})
const invitationIdSchema = z.string().min(1).max(64)
const connectionSummary = z.strictObject({
  connectionId: connectionIdSchema,
  userId: userIdSchema,
  /** State of the connection machine. */
  status: z.enum([
    'new',
    'contact',
    'requesting',
    'inviting',
    'rcv',
    'confirmed',
    'allowed',
    'answered',
    'replying',
    'snd',
    'joined',
    'securing',
    'greeting',
    'connected',
    'closing',
    'deleted',
  ]),
  /** Whether messages can be sent: the handshake is complete. */
  ready: z.boolean(),
  /** Routers that this side receives from, as addresses without passwords. */
  rcvRouters: z.array(z.string()),
  sndRouters: z.array(z.string()),
  subscribed: z.boolean(),
})

const itemResults = z.strictObject({
  results: z.array(
    z.strictObject({ connectionId: connectionIdSchema, ok: z.boolean(), error: z.unknown().optional() }),
  ),
})
const waitDeliverySchema = z.boolean().default(false)

/** Items of one sendMessages call: as many connections are locked at once. */
const maxMessageItems = 1000

const messageItem = z.strictObject({
  connectionId: connectionIdSchema,
  /** Left out where `ref` names a body before this item. */
  body: bodySchema.optional(),
  ref: z.string().min(1).max(64).optional(),
  notify: z.boolean().default(true),
  pq: pqSchema.optional(),
  idempotencyKey: idempotencyKeySchema.optional(),
})

const messageItemsSchema = z
  .array(messageItem)
  .min(1)
  .max(maxMessageItems)
  .superRefine((items, context) => {
    const named = new Set<string>()
    for (const [index, { body, ref }] of items.entries()) {
      const problem = bodyProblem(body, ref, named)
      if (problem !== undefined)
        context.addIssue({ code: 'custom', path: [index, problem.field], message: problem.text })
      if (ref !== undefined) named.add(ref)
    }
  })

const bodyProblem = (
  body: Uint8Array | undefined,
  ref: string | undefined,
  named: ReadonlySet<string>,
): { readonly field: 'body' | 'ref'; readonly text: string } | undefined => {
  if (ref === undefined)
    return body === undefined ? { field: 'body', text: 'a body or the ref of one before' } : undefined
  if (body === undefined)
    return named.has(ref) ? undefined : { field: 'ref', text: 'no item before this one names a body so' }
  return named.has(ref) ? { field: 'ref', text: 'another body has this name' } : undefined
}

/** Either the number of the message, or why there is none. */
const messageItemResult = z.strictObject({
  connectionId: connectionIdSchema,
  messageId: messageIdSchema.optional(),
  pqEncryption: z.boolean().optional(),
  error: z.unknown().optional(),
})

/** The calls that are written down; their asynchronous variants follow from them. */
export const directCalls = {
  createConnection: asyncCall(
    'Creates a connection and its receive queue, and returns its link: an invitation for one other party, or a contact address for many; with `linkData` also as a short link.',
    z.strictObject({
      userId: userIdSchema.default(1),
      mode: z.enum(['invitation', 'contact']).default('invitation'),
      /** `invitation`: with a KEM key in the link, so that the first message is post-quantum already; the link is four times as long. */
      pq: linkPqSchema.default(true),
      /** Asks for a short link too, which leads to this data; routers of old versions make none. */
      linkData: linkDataSchema.optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({ connectionId: connectionIdSchema, link: z.string(), shortLink: z.string().optional() }),
  ),
  ...linkCalls,
  prepareConnectionToJoin: call(
    'Makes the connection that joinConnection will join by this link, so that its id is known before the other party can answer.',
    z.strictObject({
      userId: userIdSchema.default(1),
      link: linkSchema,
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({ connectionId: connectionIdSchema }),
  ),
  joinConnection: asyncCall(
    'Joins by an invitation link, or asks the owner of a contact address to connect. The answer comes when the intent is stored, which takes the router of a short link; CON tells that the connection is complete, ERR that it failed for good, or what it waits for. Repeated after a failure it goes on with the same keys.',
    z.strictObject({
      userId: userIdSchema.default(1),
      link: linkSchema,
      info: bodySchema.optional(),
      pq: pqSchema.default(true),
      /** A connection that was prepared; it is of its own user, and its id stands for an idempotency key. */
      connectionId: connectionIdSchema.optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({ connectionId: connectionIdSchema }),
  ),
  allowConnection: asyncCall(
    'Accepts the confirmation that a CONF event told of, and sends own info. May be repeated.',
    z.strictObject({
      connectionId: connectionIdSchema,
      confirmationId: z.string().min(1).max(64),
      info: bodySchema.optional(),
    }),
    nothing,
  ),
  prepareConnectionToAccept: call(
    'Makes the connection that acceptContact will make of this invitation, so that its id is known before the other party can answer.',
    z.strictObject({ invitationId: invitationIdSchema, idempotencyKey: idempotencyKeySchema.optional() }),
    z.strictObject({ connectionId: connectionIdSchema }),
  ),
  acceptContact: asyncCall(
    'Accepts the invitation that a REQ event told of, as a new connection that joins by it; answered as joinConnection is. An invitation is accepted once; if that fails for good, it can be accepted again, as the same connection.',
    z.strictObject({
      invitationId: invitationIdSchema,
      info: bodySchema.optional(),
      pq: pqSchema.default(true),
      /** A connection that was prepared; its id stands for an idempotency key. */
      connectionId: connectionIdSchema.optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({ connectionId: connectionIdSchema }),
  ),
  rejectContact: asyncCall(
    'Drops the invitation that a REQ event told of; the other party is not told. May be repeated.',
    z.strictObject({ invitationId: invitationIdSchema }),
    nothing,
  ),
  sendMessage: asyncCall(
    'Accepts a message for delivery: when the call is answered, the message is stored. SENT tells that the router has it, MERR that it failed for good.',
    z.strictObject({
      connectionId: connectionIdSchema,
      body: bodySchema,
      /** Asks the receiving router to notify the other party’s device. */
      notify: z.boolean().default(true),
      /** Left out: as the connection does already. */
      pq: pqSchema.optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({
      messageId: messageIdSchema,
      /** Whether this message is encrypted post-quantum: a wish is followed by the next turns of the ratchet. */
      pqEncryption: z.boolean(),
    }),
  ),
  sendMessages: asyncCall(
    'Accepts messages to many connections at once: when the call is answered, those that have a messageId are stored. An item has a body, which may get a name (`ref`), or the name of a body before it; a body that many share is stored once. Each item answers for itself, in the order of the items.',
    z.strictObject({ items: messageItemsSchema }),
    z.strictObject({ results: z.array(messageItemResult) }),
  ),
  ackMessage: asyncCall(
    'Acknowledges a received message or receipt: its event leaves the log, the router may deliver the next one; with `receipt`, the other party gets a delivery receipt (RCVD) of the message. May be repeated.',
    z.strictObject({
      connectionId: connectionIdSchema,
      messageId: messageIdSchema,
      /** What the other party’s application gets with the receipt. It is sent once, and not on a connection that cannot send. */
      receipt: bodySchema.optional(),
      consumer: consumerSchema,
    }),
    nothing,
  ),
  subscribe: asyncCall(
    'Starts receiving: the named connections, or all. Each connection answers for itself; UP, DOWN and END events follow. What is subscribed already is left alone, so the call may be repeated.',
    z.strictObject({
      connectionIds: z.array(connectionIdSchema).max(10_000).optional(),
      /** Of all connections those of this user come first. */
      activeUserId: userIdSchema.optional(),
    }),
    itemResults,
  ),
  ...networkCalls,
  deleteConnection: asyncCall(
    'Deletes a connection: at once with everything not yet delivered, or, with waitDelivery, when its messages are delivered or have waited for two days. Its queues are deleted at the routers in the background (DEL_RCVQ, DEL_CONN). May be repeated.',
    z.strictObject({ connectionId: connectionIdSchema, waitDelivery: waitDeliverySchema }),
    nothing,
  ),
  deleteConnections: asyncCall(
    'Deletes many connections as deleteConnection does. Each answers for itself.',
    z.strictObject({ connectionIds: z.array(connectionIdSchema).max(10_000), waitDelivery: waitDeliverySchema }),
    itemResults,
  ),
  suspendConnection: asyncCall(
    'Lets the routers take no more messages for a connection, for good; it stays, can send, and receives what the routers have. May be repeated.',
    z.strictObject({ connectionId: connectionIdSchema }),
    nothing,
  ),
  abandonRouter: asyncCall(
    'Gives up on a router that does not come back: what waits for it now ends with an error. Queues there count as deleted (DEL_RCVQ), commands fail (ERR), waiting messages too (MERR, MERRS). May be repeated.',
    z.strictObject({ address: z.string().max(1024), userId: userIdSchema.optional() }),
    z.strictObject({
      /** What was given up. */
      commands: z.int().nonnegative(),
      messages: z.int().nonnegative(),
    }),
  ),
  inspectConnection: call(
    'What a connection waits for: its queues with routers and subscriptions, waiting messages and running commands with their last errors and next attempts.',
    z.strictObject({
      connectionId: connectionIdSchema,
      /** The most waiting messages told of for each queue. */
      limit: z.int().nonnegative().max(1000).default(20),
    }),
    inspectionSchema,
  ),
  listConnections: call(
    'The connections of a user (or of all users), in the order of their ids.',
    z.strictObject({
      userId: userIdSchema.optional(),
      after: connectionIdSchema.optional(),
      limit: z.int().positive().max(10_000).default(1000),
    }),
    z.strictObject({ connections: z.array(connectionSummary) }),
  ),
  countActors: call(
    'How many connections, queues, workers and sessions are in which state of their machine.',
    nothing,
    z.strictObject({ counts: z.array(z.strictObject({ machine: z.string(), state: z.string(), count: z.int() })) }),
  ),
  listActors: call(
    'The actors of one machine, in the order of their ids, each with its state.',
    z.strictObject({
      machine: z.string().min(1).max(64),
      connectionId: connectionIdSchema.optional(),
      state: z.string().min(1).max(96).optional(),
      after: z.string().max(512).optional(),
      limit: z.int().positive().max(1000).default(100),
    }),
    z.strictObject({
      actors: z.array(
        z.strictObject({ id: z.string(), connectionId: connectionIdSchema.optional(), state: z.string() }),
      ),
    }),
  ),
  registerConsumer: call(
    'Registers a reader of the event log under a name. An event stays in the log until every registered consumer has acknowledged it. From `now`, the first consumer of all acknowledges with that what is in the log already.',
    z.strictObject({ consumer: consumerSchema, from: z.enum(['start', 'now']).default('start') }),
    z.strictObject({ consumer: z.string(), from: cursorSchema }),
  ),
  ...consumerCalls,
  readEvents: call(
    'The next events of a consumer after a cursor, in commit order; waits up to waitMs when there is none.',
    z.strictObject({
      consumer: consumerSchema,
      after: cursorSchema.default(0),
      limit: z.int().positive().max(1000).default(100),
      waitMs: z.int().nonnegative().max(60_000).default(0),
    }),
    z.strictObject({ events: z.array(z.unknown()) }),
  ),
  ackEvents: call(
    'Acknowledges events: one by its cursor, or all up to a cursor. For a message event this is ackMessage.',
    z.strictObject({ consumer: consumerSchema, cursor: cursorSchema.optional(), upTo: cursorSchema.optional() }),
    nothing,
  ),
  ...rotationCalls,
  ...syncCalls,
  ...userCalls,
  ...operationCalls,
} as const

/**
 * The one list of public calls: name, what it does, parameters, result. The library's `Agent` has a method for each, the
 * RPC transports serve each under the same name, and docs/RPC.md is checked against it.
 */
export const calls = { ...directCalls, ...asyncVariants(directCalls) } as const

export type Calls = typeof calls
/** Calls that are done at once, not stored. */
export type DirectCallName = keyof typeof directCalls
export type CallName = keyof Calls
/** What a caller passes; defaults may be left out. */
export type ParamsOf<N extends CallName> = z.input<Calls[N]['params']>
/** What the agent works with: defaults filled in, bodies as bytes. */
export type ParsedParamsOf<N extends CallName> = z.output<Calls[N]['params']>
export type ResultOf<N extends CallName> = z.output<Calls[N]['result']>
