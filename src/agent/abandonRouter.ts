import { RouterError } from '../errors.js'
import type { SentMessageType } from '../../machines/sndQueue.js'
import { formatRouterAddress, parseRouterAddressWithAuth } from '../smp/protocol/routerAddress.js'
import { commands, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { deliveries, sndMessages } from '../store/agent/messages.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { CommandRow } from './commandRows.js'
import type { AgentContext } from './context.js'
import { forgetIntent } from './createConnection.js'
import { giveUpCommand } from './failCommand.js'
import { connectionByKey } from './newConnection.js'
import type { QueuedDelivery } from './outgoing.js'
import type { SndQueueRow } from './rows.js'
import { settleDelivery } from './settleDelivery.js'
import { decodeParams, storedCallOf } from './storeCall.js'

/** A router that was given up, as each kind of waiting needs to know it. */
interface Abandoned {
  readonly router: string
  /** Only what belongs to this user, or everything. */
  readonly userId: number | undefined
  readonly error: RouterError
}

/**
 * abandonRouter: what waits for this router now is given up, each in a commit of its own: queues count as deleted, commands and messages
 * have failed. What comes later waits for it as before. A repeated call goes on where the first was interrupted. Throws DecodeError.
 */
export const abandonRouter = async (
  context: AgentContext,
  { address, userId }: ParsedParamsOf<'abandonRouter'>,
): Promise<ResultOf<'abandonRouter'>> => {
  const router = formatRouterAddress(parseRouterAddressWithAuth(address).router)
  const error = new RouterError('SMP_ABANDONED', 'the router was given up', { field: router })
  const abandoned = { router, userId, error }
  // Whatever waits for routers lets go of this one here, each kind in its own way; commands first, since they may end deletions.
  const commands = (await abandonCommands(context, abandoned)) + (await abandonCalls(context, abandoned))
  const messages = await abandonMessages(context, abandoned)
  return { commands, messages }
}

const pageLength = 200

async function* stored(
  { store }: AgentContext,
  where: Readonly<Record<string, string | number>>,
): AsyncGenerator<CommandRow> {
  let after = 0
  for (;;) {
    const page = await store.find(commands, {
      where: { ...where, commandId: { gt: after } },
      orderBy: ['commandId'],
      limit: pageLength,
    })
    const last = page.at(-1)
    if (last === undefined) return
    yield* page
    after = last.commandId
  }
}

const ofUser = ({ userId }: Abandoned): { readonly userId?: number } => (userId === undefined ? {} : { userId })

const abandonCommands = async (context: AgentContext, abandoned: Abandoned): Promise<number> => {
  const { router, error } = abandoned
  let count = 0
  for await (const command of stored(context, { router, ...ofUser(abandoned) })) {
    // The end of a deletion waits for messages, which are given up too.
    if (command.type === 'finishDeletion') continue
    if ((await giveUpCommand(context, command, error)) === 'failed') count++
  }
  return count
}

// Calls belong to no router’s worker; two of them wait for routers all the same.
const abandonCalls = async (context: AgentContext, abandoned: Abandoned): Promise<number> => {
  let count = 0
  for await (const command of stored(context, { type: 'call', ...ofUser(abandoned) })) {
    if (!(await waitsFor(context, command, abandoned.router))) continue
    if ((await giveUpCommand(context, command, abandoned.error)) !== 'failed') continue
    count++
    // Nobody comes back under the key of a stored call.
    const { call, key } = storedCallOf(command)
    const made = call === 'createConnection' ? await connectionByKey(context, command.userId, key) : undefined
    if (made !== undefined) await forgetIntent(context, made.connectionId)
  }
  return count
}

const waitsFor = async (context: AgentContext, command: CommandRow, router: string): Promise<boolean> => {
  const { call, key, of } = storedCallOf(command)
  if (call === 'suspendConnection') return hasQueueAt(context, of, router)
  if (call !== 'createConnection' || command.secret === null) return false
  const { idempotencyKey } = decodeParams(call, command.secret, key) as { readonly idempotencyKey?: string }
  const made = await connectionByKey(context, command.userId, idempotencyKey)
  return made !== undefined && hasQueueAt(context, made.connectionId, router)
}

const hasQueueAt = async ({ store }: AgentContext, connectionId: string, router: string): Promise<boolean> =>
  (await store.count(rcvQueues, { connectionId, router })) > 0

const abandonMessages = async (context: AgentContext, abandoned: Abandoned): Promise<number> => {
  const { router, error } = abandoned
  let count = 0
  let after = ''
  for (;;) {
    const page = await context.store.find(sndQueues, {
      where: { router, queueId: { gt: after }, ...ofUser(abandoned) },
      orderBy: ['queueId'],
      limit: pageLength,
    })
    const last = page.at(-1)
    if (last === undefined) return count
    for (const queue of page) count += await abandonQueued(context, queue, error)
    after = last.queueId
  }
}

// The first message fails as one that has waited for too long does, and takes all behind it along that wait at this moment.
const abandonQueued = async (context: AgentContext, { queueId }: SndQueueRow, error: RouterError): Promise<number> => {
  const { store } = context
  const [newest] = await store.find(deliveries, {
    where: { queueId },
    orderBy: ['messageId'],
    descending: true,
    limit: 1,
  })
  if (newest === undefined) return 0
  context.contestedQueues.add(queueId)
  const upTo = newest.messageId
  const waiting = await store.count(deliveries, { queueId, messageId: { lte: upTo } })
  for (;;) {
    const first = await firstWaiting(context, queueId, upTo)
    if (first === undefined) return waiting
    const messageType = first.message.type as SentMessageType
    const event = { type: 'message.unreached', messageType, host: false, expired: true } as const
    await settleDelivery(context, first, event, { error }, upTo)
  }
}

const firstWaiting = async (
  { store }: AgentContext,
  queueId: string,
  upTo: number,
): Promise<QueuedDelivery | undefined> => {
  const where = { queueId, messageId: { lte: upTo } }
  const [delivery] = await store.find(deliveries, { where, orderBy: ['messageId'], limit: 1 })
  if (delivery === undefined) return undefined
  const { connectionId, messageId } = delivery
  const [message] = await store.find(sndMessages, { where: { connectionId, messageId } })
  return message === undefined ? undefined : { delivery, message, body: message.body }
}
