/**
 * Who may do what to a queue. The answer is a choice of keys; verifying them takes the same work whether the queue exists,
 * has another key or another kind of key, so an answer's time does not tell which queues there are.
 */
import { equalConstantTime, type PublicKey } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { verifyAuthorization } from '../smp/protocol/authorization.js'
import type { Command } from '../smp/protocol/commands.js'
import { commandParty } from '../smp/protocol/credentials.js'
import type { QueueParty, QueueRecord } from './queue.js'

/** Verifies an authorization; without a key, against a dummy. */
export type Verify = typeof verifyAuthorization

export interface Credentials {
  /** Empty for none. */
  readonly authorization: Bytes
  /** What the authorization covers. */
  readonly authorized: Bytes
  readonly corrId: Bytes
  readonly routerPrivateKey: Bytes
}

/** By which of a queue's ids a command names it; undefined when it names none. */
export const partyOf = (command: Command): QueueParty | undefined => {
  switch (commandParty(command)) {
    case 'recipient':
      return 'recipient'
    case 'sender':
      return 'sender'
    case 'notifier':
      return 'notifier'
    case 'linkClient':
      return 'link'
    default:
      return undefined
  }
}

/** The keys any of which authorizes the command; none: nobody may. `open`: everyone may, without authorization. */
export const keysFor = (command: Command, record: QueueRecord | undefined): readonly PublicKey[] | 'open' => {
  switch (commandParty(command)) {
    case 'creator':
      return command.type === 'NEW' ? [command.authKey] : []
    case 'recipient':
      return record?.recipientKeys ?? []
    case 'sender':
    case 'linkClient':
      return senderKeys(command, record)
    case 'notifier':
      return record?.notifier === undefined ? [] : [record.notifier.key]
    default:
      return 'open'
  }
}

const senderKeys = (command: Command, record: QueueRecord | undefined): readonly PublicKey[] | 'open' => {
  if (record === undefined) return []
  if (command.type === 'SEND') return record.senderKey === undefined ? 'open' : [record.senderKey]
  if (command.type === 'LGET') return isContact(record) ? 'open' : []
  if (command.type !== 'SKEY' && command.type !== 'LKEY') return []
  return maySecure(record, command.key) ? [command.key] : []
}

/** Queues whose NEW said nothing are contact addresses as long as nobody has secured them. */
const isContact = ({ mode, senderKey }: QueueRecord): boolean =>
  mode === undefined ? senderKey === undefined : mode === 'contact'

/** Whether a sender may secure the queue with this key: once, or again with the same key. */
const maySecure = ({ mode, senderKey }: QueueRecord, key: PublicKey): boolean =>
  mode === 'messaging' && (senderKey === undefined || samePublicKey(senderKey, key))

export const samePublicKey = (a: PublicKey, b: PublicKey): boolean =>
  a.algorithm === b.algorithm && equalConstantTime(a.raw, b.raw)

/** Whether the credentials authorize the command on this queue (undefined: there is no such queue). */
export const isAuthorized = (
  command: Command,
  record: QueueRecord | undefined,
  { authorization, authorized, ...session }: Credentials,
  verify: Verify = verifyAuthorization,
): boolean => {
  const keys = keysFor(command, record)
  if (keys === 'open' && authorization.length === 0) return true
  const candidates: ReadonlyArray<PublicKey | undefined> = keys === 'open' || keys.length === 0 ? [undefined] : keys
  return candidates.some(key => verify(key, authorization, authorized, session))
}
