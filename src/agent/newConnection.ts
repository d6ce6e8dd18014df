import { CallError, StoreError } from '../errors.js'
import { connections } from '../store/agent/connections.js'
import type { AgentContext } from './context.js'
import type { ConnectionRow } from './rows.js'

/** What makes connections. */
export type Origin = 'created' | 'contact' | 'joined' | 'requested' | 'accepted'

/** The row of a connection that nothing has happened to yet. */
export const newConnection = (fields: {
  readonly connectionId: string
  readonly userId: number
  readonly origin: Origin
  readonly agentVersion: number
  /** What the caller wishes, as far as the versions that are known allow it (B19). */
  readonly pqSupport?: boolean
  readonly x3dhKeys?: Uint8Array
  readonly idempotencyKey?: string | undefined
  readonly now: number
}): ConnectionRow => ({
  connectionId: fields.connectionId,
  userId: fields.userId,
  status: 'new',
  origin: fields.origin,
  agentVersion: fields.agentVersion,
  pqSupport: fields.pqSupport ?? false,
  lastMessageId: 0,
  lastSendId: 0,
  lastSendHash: Buffer.alloc(0),
  lastReceiveId: 0,
  lastExternalId: 0,
  lastReceiveHash: Buffer.alloc(0),
  ratchetSync: 'ok',
  ratchet: null,
  x3dhKeys: fields.x3dhKeys ?? null,
  link: null,
  shortLink: null,
  idempotencyKey: fields.idempotencyKey ?? null,
  createdAt: fields.now,
})

/** The connection that an earlier call under the same idempotency key made. */
export const connectionByKey = async (
  { store }: AgentContext,
  userId: number,
  idempotencyKey: string | undefined,
): Promise<ConnectionRow | undefined> => {
  if (idempotencyKey === undefined) return undefined
  const rows = await store.find(connections, { where: { userId, idempotencyKey } })
  return rows[0]
}

export const keyOfAnotherCall = (): CallError =>
  new CallError('CMD_PROHIBITED', 'this idempotency key belongs to another call or to a deleted connection', {
    field: 'idempotencyKey',
    hint: 'use a new key for each call that means something else',
  })

/**
 * Runs a unit that makes a connection under an idempotency key. When the same call is made twice at once, the store lets one
 * of them win; the other one then finds what the first has made.
 */
export const onceByKey = async <T>(
  context: AgentContext,
  userId: number,
  idempotencyKey: string | undefined,
  make: () => Promise<T>,
  found: (connection: ConnectionRow) => Promise<T> | T,
): Promise<T> => {
  try {
    return await make()
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'STORE_CONFLICT') throw error
    const known = await connectionByKey(context, userId, idempotencyKey)
    if (known === undefined) throw error
    return found(known)
  }
}
