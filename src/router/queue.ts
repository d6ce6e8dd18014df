/** A queue as the router knows it, and its form as a row of the store. */
import {
  type BoxKey,
  boxSecret,
  decodePublicKey,
  encodePublicKey,
  type KeyAlgorithm,
  type PublicKey,
} from '../crypto/index.js'
import { type Bytes, concat, Reader, short } from '../encoding/index.js'
import type { QueueMode } from '../smp/protocol/fields.js'
import type { Row } from '../store/index.js'
import type { routerQueues } from '../store/router/tables.js'

/** The ids by which parties name a queue. */
export type QueueParty = 'recipient' | 'sender' | 'notifier' | 'link'

/** Everything durable about a queue but its messages. Never changed in place. */
export interface QueueRecord {
  readonly recipientId: Bytes
  readonly senderId: Bytes
  /** Any of them authorizes the recipient. */
  readonly recipientKeys: readonly PublicKey[]
  /** Raw X25519. */
  readonly rcvDhSecret: Bytes
  /** Set once the queue is secured. */
  readonly senderKey?: PublicKey
  /** `messaging`: the sender may secure it. None: NEW said nothing. */
  readonly mode?: QueueMode
  /** `off`: takes no more messages. */
  readonly status: 'active' | 'off'
  readonly notifier?: Notifier
  /** The queue's short link; its data has a row of its own. */
  readonly link?: QueueLink
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

export interface QueueLink {
  readonly linkId: Bytes
  /** SHA-256 of the fixed data, which stays the same as long as the link is there. */
  readonly fixedHash: Bytes
}

export interface Notifier {
  readonly notifierId: Bytes
  readonly key: PublicKey
  /** Raw X25519. */
  readonly dhSecret: Bytes
}

/** The id of a party; undefined when the queue has no such party. */
export const idOfParty = (record: QueueRecord, party: QueueParty): Bytes | undefined => {
  switch (party) {
    case 'recipient':
      return record.recipientId
    case 'sender':
      return record.senderId
    case 'notifier':
      return record.notifier?.notifierId
    case 'link':
      return record.link?.linkId
  }
}

const bodyKeys = new WeakMap<Bytes, BoxKey>()

/** The key of bodies from router to recipient, kept while its secret is. */
export const bodyKeyOf = ({ rcvDhSecret }: QueueRecord): BoxKey => {
  const known = bodyKeys.get(rcvDhSecret)
  if (known !== undefined) return known
  const key = boxSecret(rcvDhSecret)
  bodyKeys.set(rcvDhSecret, key)
  return key
}

export const toRow = (record: QueueRecord): Row<typeof routerQueues> => ({
  recipientId: record.recipientId,
  senderId: record.senderId,
  recipientKeys: concat(...record.recipientKeys.map(key => short(encodeKey(key)))),
  rcvDhSecret: record.rcvDhSecret,
  senderKey: record.senderKey === undefined ? null : encodeKey(record.senderKey),
  mode: record.mode ?? null,
  status: record.status,
  notifierId: record.notifier?.notifierId ?? null,
  notifierKey: record.notifier === undefined ? null : encodeKey(record.notifier.key),
  notifierDhSecret: record.notifier?.dhSecret ?? null,
  linkId: record.link?.linkId ?? null,
  linkFixedHash: record.link?.fixedHash ?? null,
  createdAt: record.createdAt,
})

/** Throws DecodeError for a row that this code did not write. */
export const fromRow = (row: Row<typeof routerQueues>): QueueRecord => {
  const { senderKey, mode, notifierId, notifierKey, notifierDhSecret, linkId, linkFixedHash } = row
  const hasNotifier = notifierId !== null && notifierKey !== null && notifierDhSecret !== null
  const hasLink = linkId !== null && linkFixedHash !== null
  return {
    recipientId: row.recipientId,
    senderId: row.senderId,
    recipientKeys: readKeys(row.recipientKeys),
    rcvDhSecret: row.rcvDhSecret,
    ...(senderKey === null ? {} : { senderKey: decodeKey(senderKey) }),
    ...(mode === null ? {} : { mode: mode === 'contact' ? 'contact' : 'messaging' }),
    status: row.status === 'off' ? 'off' : 'active',
    ...(hasNotifier ? { notifier: { notifierId, key: decodeKey(notifierKey), dhSecret: notifierDhSecret } } : {}),
    ...(hasLink ? { link: { linkId, fixedHash: linkFixedHash } } : {}),
    createdAt: row.createdAt,
  }
}

/** The record with bytes of its own: those of a command are views of the block that it came in, which would stay in memory with it. */
export const detached = (record: QueueRecord): QueueRecord => {
  const row = toRow(record)
  const copy = (bytes: Bytes | null): Bytes | null => (bytes === null ? null : Buffer.from(bytes))
  return fromRow({ ...row, senderId: Buffer.from(row.senderId), linkId: copy(row.linkId) })
}

const encodeKey = ({ algorithm, raw }: PublicKey): Bytes => encodePublicKey(algorithm, raw)

const authAlgorithms: readonly KeyAlgorithm[] = ['ed25519', 'ed448', 'x25519']
const decodeKey = (der: Bytes): PublicKey => decodePublicKey(der, authAlgorithms, 'router_queues key')

const readKeys = (encoded: Bytes): PublicKey[] => {
  const reader = new Reader(encoded, 'router_queues')
  const keys: PublicKey[] = []
  while (reader.remaining > 0) keys.push(decodeKey(reader.short('recipientKeys')))
  return keys
}
