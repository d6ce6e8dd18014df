import type { SignalAnswer, SignalKeys, SignalPath } from '../../machines/signalSend.js'
import type { Outcome } from '../runtime/unit.js'
import { patch } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox } from '../store/signal/messages.js'
import { requireAccount, type SignalContext, signalEvent } from './context.js'
import { answerOf, contentHints, type DetailedAnswer, fitsFrame, messageList, seal, unanswered } from './envelopes.js'
import { signalTransportError } from './net/port.js'
import { ciphertextsOf, type SignalMessageRow } from './outbox.js'
import { type SendHead, traceSend } from './sendHead.js'
import { updateDevices } from './settleSend.js'
import { type Encrypted, encryptFor, fetchBundles } from './target.js'
import { encode } from './wire/codec.js'
import { type EncryptedMessage, encryptedMessages } from './wire/messages.js'
import { pad } from './wire/padding.js'

/** Probes both sockets where nothing was received for a while (S04); then says which way is open (S05). */
export const choosePath = async (
  context: SignalContext,
  head: SendHead,
  identifiedOnly: boolean,
): Promise<SignalPath> => {
  const { links, config, certificates } = context
  const alive = (connectMs: number): Array<Promise<boolean>> => [
    links.identified.ensureAlive(config.probeQuietMs, connectMs),
    links.unidentified.ensureAlive(config.probeQuietMs, connectMs),
  ]
  let [identified = false, unidentified = false] = await Promise.all(alive(0))
  if (!identified && !unidentified) {
    await Promise.race(alive(config.sendConnectMs))
    ;[identified, unidentified] = [links.identified.isOpen, links.unidentified.isOpen]
  }
  traceSend(context, head, 'probed', { identified: links.identified.state, unidentified: links.unidentified.state })
  const canSeal = !identifiedOnly && unidentified && head.target.accessKey !== undefined
  const certificate = canSeal ? await certificates.current() : undefined
  const path: SignalPath = certificate !== undefined ? 'sealed' : identified ? 'identified' : 'unreached'
  traceSend(context, head, 'path', {
    path,
    accessKey: head.target.accessKey !== undefined,
    certificate: certificate !== undefined,
  })
  return path
}

/** Fetches keys for the devices that `encrypt` has named. */
export const fetchKeys = async (context: SignalContext, head: SendHead): Promise<SignalKeys> => {
  if (head.missing.length === 0) return { type: 'ready' }
  const gone: number[] = []
  const keys = await fetchBundles(context, head.target, head.missing, head.bundles, gone, (deviceId, status) =>
    traceSend(context, head, 'keys', { deviceId, status }),
  )
  if (gone.length === 0) return keys
  const left = await updateDevices(context, head, { extra: gone })
  return left === 0 ? { type: 'unregistered' } : keys
}

/** Sessions, ciphertexts and the row that names them are one commit, before a byte leaves (S11). */
export const encrypt = async (context: SignalContext, head: SendHead): Promise<'encrypted' | 'needsKeys' | 'gone'> => {
  const outcome = await encryptUnit(context, head)
  if (outcome === 'gone') return 'gone'
  if ('missing' in outcome) {
    head.missing = outcome.missing
    traceSend(context, head, 'devices', { needKeys: [...outcome.missing] })
    return 'needsKeys'
  }
  head.missing = []
  head.encrypted = outcome.messages
  const devices = outcome.messages.map(({ deviceId = 0 }) => deviceId)
  traceSend(context, head, 'encrypted', { devices, made: outcome.made })
  return 'encrypted'
}

const encryptUnit = (context: SignalContext, head: SendHead): Promise<Encrypted | 'gone'> => {
  const { recipientId, messageId } = head.row
  const { target, recipient } = head
  return context.runtime.run({
    name: 'signal.encrypt',
    internal: true,
    locks: [recipientId, target.peer],
    load: read =>
      Promise.all([
        read(signalOutbox, { where: { recipientId, messageId } }),
        // A receipt may have been added to since this worker has looked.
        head.message.kind === 'receipt' ? read(signalMessages, { where: { recipientId, messageId } }) : [head.message],
      ]),
    compute: async (state, [[row], [message]]): Promise<Outcome<Encrypted | 'gone'>> => {
      if (row === undefined || message === undefined || message.content === null) return { result: 'gone' }
      const account = requireAccount(context)
      const stored = ciphertextsOf(row.encrypted)
      const content =
        message.kind === 'retryReceipt' ? { plaintext: message.content } : { padded: pad(message.content) }
      const result = await encryptFor(account, state, target, stored, head.bundles, content)
      if ('missing' in result) return { result }
      const encrypted = encode(encryptedMessages, { devices: result.messages })
      return {
        result,
        changes:
          result.made === 0 && stored.length === result.messages.length
            ? []
            : [...result.changes, patch(signalOutbox, { recipientId, messageId }, { encrypted })],
        events: result.identityChanged
          ? [signalEvent(context, recipient.recipientId, 'IDENTITY_CHANGED', { serviceId: target.serviceId })]
          : [],
      }
    },
  })
}

/** Sends what was encrypted, over one of the two ways; the answer stays with the head. */
export const transmit = async (context: SignalContext, head: SendHead, sealed: boolean): Promise<SignalAnswer> => {
  head.sealed = sealed
  head.requests += 1
  try {
    head.answer = await request(context, head, sealed)
  } catch (error) {
    head.answer = unanswered(error)
  }
  const { type, status = null, missing = [], extra = [], stale = [], error = null } = head.answer
  const lists = missing.length + extra.length + stale.length === 0 ? {} : { missing, extra, stale }
  traceSend(context, head, 'answer', { sealed, type, status, error, ...lists })
  if (sealed && (type === 'unauthorized' || type === 'unanswered'))
    traceSend(context, head, 'fallback', { to: 'identified', because: error ?? status })
  return plainAnswer(head.answer)
}

const request = async (context: SignalContext, head: SendHead, sealed: boolean): Promise<DetailedAnswer> => {
  const { links, config } = context
  const { target, message } = head
  const link = sealed ? links.unidentified : links.identified
  const messages = sealed ? await sealedMessages(context, head) : head.encrypted
  traceSend(context, head, 'request', {
    sealed,
    socket: link.state,
    attempt: head.requests,
    devices: messages.length,
  })
  // The server would close the socket over it, again and again.
  if (!fitsFrame(messages)) return { type: 'tooLarge' }
  const accessKey = sealed ? Buffer.from(target.accessKey ?? []).toString('base64') : ''
  const response = await link.request({
    verb: 'PUT',
    path: `/v1/messages/${target.serviceId}`,
    json: messageList(messages, { timestamp: message.timestamp, urgent: message.kind === 'message' }),
    ...(sealed ? { headers: { 'unidentified-access-key': accessKey } } : {}),
  })
  return answerOf(response, config)
}

const sealedMessages = async (context: SignalContext, head: SendHead): Promise<readonly EncryptedMessage[]> => {
  const certificate = await context.certificates.current()
  // It may have run out since the way was chosen. Unsealed, nothing leaves over this socket: nobody could open it.
  if (certificate === undefined)
    throw signalTransportError('SIGNAL_CERTIFICATE', 'there is no sender certificate', { field: 'certificate' })
  return seal(context, head.target.serviceId, head.encrypted, certificate, hintOf(head.message))
}

/** Stores what an answer has said of the recipient. */
export const storeAnswer = async (
  context: SignalContext,
  head: SendHead,
  change: 'mismatched' | 'stale' | 'sealedRefused',
): Promise<void> => {
  if (change === 'sealedRefused') return sealedRefused(context, head)
  const { missing = [], extra = [], stale = [] } = head.answer ?? {}
  await updateDevices(context, head, { missing, extra, stale })
  for (const deviceId of stale) head.bundles.delete(deviceId)
}

const sealedRefused = (context: SignalContext, { recipient: { recipientId } }: SendHead): Promise<void> =>
  context.runtime.run({
    name: 'signal.sealedRefused',
    internal: true,
    locks: [recipientId],
    compute: () => ({
      result: undefined,
      changes: [patch(signalRecipients, { recipientId }, { sealed: 'refused' })],
    }),
  })

/** What the machine is told: plain data that its context may keep. */
const plainAnswer = (answer: DetailedAnswer): SignalAnswer =>
  answer.type === 'challenge' || answer.type === 'limited'
    ? { type: answer.type, waitMs: answer.waitMs }
    : { type: answer.type }

const hintOf = ({ kind }: SignalMessageRow): number =>
  kind === 'message' ? contentHints.resendable : kind === 'receipt' ? contentHints.implicit : contentHints.default
