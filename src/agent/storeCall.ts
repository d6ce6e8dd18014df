import { CallError, EncodeError } from '../errors.js'
import type { NewEvent } from '../runtime/unit.js'
import type { Json } from '../store/index.js'
import { type DirectCallName, directCalls } from './api/calls.js'
import { toBase64 } from './api/base64.js'
import { type CommandRow, noRouter, storedCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { newId } from './queues.js'
import { eventOf, findConnection } from './rows.js'

/** What the row of a stored call says beside its parameters. */
export interface StoredCall {
  readonly call: string
  /** Stands for an idempotency key, so that the call has one effect however often it is run. */
  readonly key: string
  /** The connection that the call names, if it names one. */
  readonly of: string
}

/** The longest parameters of a stored call, in bytes of their JSON: as much as one line of RPC. */
const maxStoredLength = 1_048_576

/**
 * An asynchronous call (B21): it is stored as a command and answered; its worker runs it, and an event tells the result. Calls of one
 * connection run in the order in which they were stored; those that name none run side by side. Throws EncodeError `LARGE_MSG`.
 */
export const storeCall = (
  context: AgentContext,
  call: DirectCallName,
  { correlationId, ...params }: { readonly correlationId: string; readonly [name: string]: unknown },
): Promise<Record<string, never>> => {
  const secret = encodeParams(params)
  if (secret.length > maxStoredLength) {
    throw new EncodeError('LARGE_MSG', 'the parameters are too long to be stored', {
      field: 'params',
      facts: { length: secret.length, limit: maxStoredLength },
    })
  }
  const of = textOf(params['connectionId'])
  // A call that names no connection gets a worker of its own; one that makes a connection gives it this id.
  const connectionId = of === '' ? newId(context.random) : of
  return context.runtime.run({
    name: 'call.stored',
    locks: of === '' ? [] : [of],
    compute: state => {
      const userId = (of === '' ? undefined : findConnection(state, of)?.userId) ?? userOf(params)
      const argument = { call, key: newId(context.random), of } satisfies StoredCall
      const { changes, wake } = storedCommand(context, {
        connectionId,
        userId,
        router: noRouter,
        type: 'call',
        argument,
        secret,
        correlationId,
        now: state.now,
      })
      return { result: {}, changes, wakes: [wake] }
    },
  })
}

const firstUser = 1
const userOf = ({ userId }: { readonly userId?: unknown }): number => (typeof userId === 'number' ? userId : firstUser)
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Parameters as they are stored: JSON that their schema reads again, bytes as base64. */
const encodeParams = (params: object): Buffer => Buffer.from(toJson(params))

const toJson = (value: object): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, name, field: unknown) {
    // A Buffer would have become JSON of its own kind by now.
    const given = this[name]
    return given instanceof Uint8Array ? { base64: toBase64(given) } : field
  })

/** The result of a call as its event has it: bytes as base64. */
export const resultJson = (result: object): Json => JSON.parse(toJson(result)) as Json

/**
 * The parameters of a stored call, with its key where the caller gave none. Throws CallError `CMD_PARAMS` for what another version has
 * stored and this one does not take.
 */
export const decodeParams = (name: DirectCallName, secret: Uint8Array, key: string): object => {
  const schema = directCalls[name].params
  const given = storedParams(secret)
  const parsed = schema.safeParse(given === undefined ? undefined : withKey(name, given, key))
  if (parsed.success) return parsed.data
  throw new CallError('CMD_PARAMS', parsed.error.issues[0]?.message ?? 'wrong parameters', { field: name })
}

interface Given {
  readonly idempotencyKey?: string
  /** Of sendMessages: each has a key of its own. */
  readonly items?: ReadonlyArray<{ readonly idempotencyKey?: string }>
}

/** Undefined for bytes that are no object in JSON. */
const storedParams = (secret: Uint8Array): Given | undefined => {
  try {
    const given: unknown = JSON.parse(Buffer.from(secret).toString('utf8'))
    return typeof given === 'object' && given !== null && !Array.isArray(given) ? given : undefined
  } catch {
    return undefined
  }
}

const withKey = (name: DirectCallName, given: Given, key: string): Given => {
  if (name === 'sendMessages' && Array.isArray(given.items)) {
    const items = given.items.map((item, index) => ({ idempotencyKey: `${key}.${index}`, ...item }))
    return { ...given, items }
  }
  const takesKey = 'idempotencyKey' in directCalls[name].params.shape && given.idempotencyKey === undefined
  return takesKey ? { ...given, idempotencyKey: key } : given
}

export const storedCallOf = ({ argument }: CommandRow): StoredCall => argument as unknown as StoredCall

/** The event that answers a stored call. */
export const callAnswer = (
  command: CommandRow,
  type: 'OK' | 'ERR',
  payload: Json,
  connectionId = storedCallOf(command).of,
): NewEvent =>
  eventOf(
    { connectionId, userId: command.userId },
    type,
    payload,
    command.correlationId === null ? {} : { correlationId: command.correlationId },
  )

/** The ERR event of a stored call. */
export const callFailed = (command: CommandRow, error: unknown): NewEvent =>
  callAnswer(command, 'ERR', { error: errorFact(error) })
