/** What commands do to a queue's record: pure, so that the store can ask again over the newest record. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { PublicKey } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import type { LinkData } from '../smp/protocol/fields.js'
import type { SmpError } from '../smp/protocol/routerErrors.js'
import { samePublicKey } from './authorize.js'
import type { RouterSettings } from './config.js'
import type { LinkRequest } from './links.js'
import type { Notifier, QueueLink, QueueRecord } from './queue.js'
import type { Decision } from './queues.js'

type Decide<T> = (record: QueueRecord | undefined) => Decision<T>

const authError: SmpError = { type: 'AUTH' }
/** The queue went away while the command waited: the answer is the one for a queue that never was. */
const gone = { answer: authError } as const

/** Whether this password lets a client create queues. */
export const mayCreate = (settings: RouterSettings, given: string | undefined): boolean =>
  settings.newQueues && knowsPassword(settings, given)

/** Whether this password lets a client have commands forwarded. */
export const mayForward = (settings: RouterSettings, given: string | undefined): boolean =>
  settings.proxy.enabled && knowsPassword(settings, given)

/** Compared in constant time. */
const knowsPassword = ({ password }: RouterSettings, given: string | undefined): boolean =>
  password === undefined || (given !== undefined && timingSafeEqual(digest(given), digest(password)))

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** KEY and SKEY: sets the sender's key once; the same key again is fine. */
export const secure =
  (key: PublicKey): Decide<SmpError | undefined> =>
  record => {
    if (record === undefined) return gone
    if (record.senderKey === undefined) return { answer: undefined, record: { ...record, senderKey: key } }
    return { answer: samePublicKey(record.senderKey, key) ? undefined : authError }
  }

/** RKEY: other recipient keys, for contact queues only. */
export const replaceKeys =
  (recipientKeys: readonly PublicKey[]): Decide<SmpError | undefined> =>
  record =>
    record?.mode === 'contact' ? { answer: undefined, record: { ...record, recipientKeys } } : gone

/** OFF: the queue takes no more messages; those it has can still be received. */
export const suspend: Decide<SmpError | undefined> = record => {
  if (record === undefined) return gone
  return record.status === 'off' ? { answer: undefined } : { answer: undefined, record: { ...record, status: 'off' } }
}

/**
 * LSET: the queue gets a link, or its link other user data. Link id and fixed data cannot change, since the link names them; a one-time queue that
 * is secured gets no more data.
 */
export const setLink =
  (link: QueueLink, linkData: LinkData): Decide<SmpError | undefined> =>
  record => {
    if (record === undefined || isSecured(record)) return gone
    const { link: current } = record
    if (current !== undefined && !(same(current.linkId, link.linkId) && same(current.fixedHash, link.fixedHash))) {
      return gone
    }
    return { answer: undefined, record: { ...record, link }, linkData, taken: authError }
  }

/**
 * NEW of a contact address that there is already, by the owner of its key: the answer to the first one was lost, and the link that was prepared
 * for it must not be. Only then: whoever asks otherwise must not learn which ids are taken.
 */
export const createdAgain =
  (authKey: PublicKey, { link, data }: LinkRequest, rcvDhSecret: Bytes): Decide<QueueRecord | undefined> =>
  record => {
    const { link: current, recipientKeys = [], mode } = record ?? {}
    const [key] = recipientKeys
    const isSame =
      record !== undefined &&
      mode === 'contact' &&
      current !== undefined &&
      same(current.linkId, link.linkId) &&
      same(current.fixedHash, link.fixedHash) &&
      recipientKeys.length === 1 &&
      key !== undefined &&
      samePublicKey(key, authKey)
    if (!isSame) return { answer: undefined }
    const again = { ...record, rcvDhSecret }
    return { answer: again, record: again, linkData: data }
  }

/** LDEL; without a link it changes nothing. */
export const removeLink: Decide<SmpError | undefined> = record => {
  if (record === undefined) return gone
  const { link, ...rest } = record
  return link === undefined ? { answer: undefined } : { answer: undefined, record: rest }
}

/** Whether a sender has the queue for itself. */
export const isSecured = ({ mode, senderKey }: QueueRecord): boolean => mode !== 'contact' && senderKey !== undefined

const same = (a: Bytes, b: Bytes): boolean => Buffer.compare(a, b) === 0

export interface NotifierChange {
  readonly error?: SmpError
  /** The notifier that there was before. */
  readonly replaced?: Notifier
}

/** NKEY. */
export const setNotifier =
  (notifier: Notifier): Decide<NotifierChange> =>
  record => {
    if (record === undefined) return { answer: { error: authError } }
    return { answer: replacedBy(record), record: { ...record, notifier } }
  }

/** NDEL; without a notifier it changes nothing. */
export const removeNotifier: Decide<NotifierChange> = record => {
  if (record === undefined) return { answer: { error: authError } }
  const { notifier, ...rest } = record
  return notifier === undefined ? { answer: {} } : { answer: { replaced: notifier }, record: rest }
}

const replacedBy = ({ notifier }: QueueRecord): NotifierChange => (notifier === undefined ? {} : { replaced: notifier })
