/**
 * Short links at the router: it keeps what the owner of a queue has encrypted for whoever has the link, under an id that tells nothing of the queue
 * (SMP protocol, LSET, LDEL, LKEY, LGET). The data of an invitation is gone once its sender has sent; that of a contact address stays.
 */
import { type PublicKey, sha256 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import type { LinkData } from '../smp/protocol/fields.js'
import type { NewQueue } from '../smp/protocol/newQueue.js'
import type { Response } from '../smp/protocol/responses.js'
import { commandError, type SmpError } from '../smp/protocol/routerErrors.js'
import { linkSenderId } from '../smp/protocol/shortLinkKeys.js'
import { removeLink, secure, setLink } from './decisions.js'
import type { QueueLink, QueueRecord } from './queue.js'
import type { Queue, Queues } from './queues.js'

/** Fixed and user data together: agents send 15,872 bytes, and an answer through a proxy takes little more. */
export const maxLinkData = 16_000

/** What NEW asks for: the ids that its client has chosen, and the link. */
export interface LinkRequest {
  readonly senderId: Bytes
  readonly link: QueueLink
  readonly data: LinkData
}

/**
 * The link that NEW asks for. The sender id must be the one of the transmission's correlation id: a client that could choose it freely
 * could find out which queues there are. An invitation's link id is the router's, a contact's the client's.
 */
export const linkRequest = (
  { request }: NewQueue,
  corrId: Bytes,
  linkId: () => Bytes,
): LinkRequest | { readonly error: SmpError } | undefined => {
  const asked = request?.link
  if (request === undefined || asked === undefined) return undefined
  const { senderId, data } = asked
  if (Buffer.compare(senderId, linkSenderId(corrId)) !== 0) return { error: commandError('PROHIBITED') }
  if (isTooLarge(data)) return { error: { type: 'LARGE_MSG' } }
  const id = request.mode === 'contact' ? request.link?.linkId : linkId()
  if (id === undefined || id.length === 0) return { error: commandError('PROHIBITED') }
  return { senderId, link: linkOf(id, data), data }
}

/** The link of a queue with this data. */
export const linkOf = (linkId: Bytes, { fixedData }: LinkData): QueueLink => ({ linkId, fixedHash: sha256(fixedData) })

const isTooLarge = ({ fixedData, userData }: LinkData): boolean => fixedData.length + userData.length > maxLinkData

export interface Links {
  /** LSET: sets the data of a link, or replaces its user data. */
  set(queue: Queue, linkId: Bytes, data: LinkData): Promise<Response>
  /** LDEL. */
  remove(queue: Queue): Promise<Response>
  /** LKEY: secures a one-time queue with the sender's key and answers its data. */
  secureAndGet(queue: Queue, linkId: Bytes, key: PublicKey): Promise<Response>
  /** LGET. */
  get(queue: Queue, linkId: Bytes): Promise<Response>
}

const ok: Response = { type: 'OK' }
const failed = (error: SmpError): Response => ({ type: 'ERR', error })

export const createLinks = (queues: Queues): Links => {
  const decided = async (answer: Promise<SmpError | undefined>): Promise<Response> => {
    const error = await answer
    return error === undefined ? ok : failed(error)
  }

  const get = async (queue: Queue, linkId: Bytes): Promise<Response> => {
    const senderId = linkedBy(queue.record, linkId)
    const data = senderId === undefined ? undefined : await queues.linkData(linkId)
    return senderId === undefined || data === undefined ? failed({ type: 'AUTH' }) : { type: 'LNK', senderId, data }
  }

  return {
    set: async (queue, linkId, data) => {
      if (linkId.length === 0) return failed(commandError('PROHIBITED'))
      if (isTooLarge(data)) return failed({ type: 'LARGE_MSG' })
      return decided(queues.change(queue, setLink(linkOf(linkId, data), data)))
    },
    remove: queue => decided(queues.change(queue, removeLink)),
    secureAndGet: async (queue, linkId, key) => {
      const error = await queues.change(queue, secure(key))
      return error === undefined ? get(queue, linkId) : failed(error)
    },
    get,
  }
}

/** The sender id of a queue whose link has this id. */
const linkedBy = (record: QueueRecord | undefined, linkId: Bytes): Bytes | undefined =>
  record?.link !== undefined && Buffer.compare(record.link.linkId, linkId) === 0 ? record.senderId : undefined
