import { CiphertextMessageType, DecryptionErrorMessage, PlaintextContent } from '@signalapp/libsignal-client'
import { toBase64url } from '../encoding/index.js'
import type { NewEvent, Outcome, UnitState, Wake } from '../runtime/unit.js'
import { type Change, put } from '../store/index.js'
import { signalSeen } from '../store/signal/messages.js'
import type { Arrival } from './arrival.js'
import { peerOf, type SignalContext, signalEvent } from './context.js'
import { native } from './crypto/bytes.js'
import { contentHints } from './envelopes.js'
import { enqueue } from './outbox.js'
import { readRecipients, type RecipientRow, resolveRecipient, withRecipient } from './recipients.js'
import { envelopeTypes } from './wire/messages.js'

/** A message that does not open is told, and asked for again unless its sender said that nobody would miss it (S13). */
export const askAgain = (
  context: SignalContext,
  state: UnitState,
  { type, ciphertext, timestamp, deviceId, source, contentHint }: Arrival,
  recipient: RecipientRow | undefined,
  code: string,
): { readonly changes: readonly Change[]; readonly events: readonly NewEvent[]; readonly wakes: readonly Wake[] } => {
  const payload = { sender: source, device: deviceId, timestamp, code }
  const events = [signalEvent(context, recipient?.recipientId ?? '', 'DECRYPTION_FAILED', payload)]
  if (recipient === undefined || contentHint === contentHints.implicit) return { changes: [], events, wakes: [] }
  let request: Uint8Array
  try {
    const ciphertextType = type === envelopeTypes.preKey ? CiphertextMessageType.PreKey : CiphertextMessageType.Whisper
    request = PlaintextContent.from(
      DecryptionErrorMessage.forOriginal(native(ciphertext), ciphertextType, timestamp, deviceId),
    ).serialize()
  } catch {
    // No message of a ratchet at all: there is nothing to ask for.
    return { changes: [], events, wakes: [] }
  }
  const { changes, wake } = enqueue(context, state, recipient, {
    kind: 'retryReceipt',
    timestamp: context.nextTimestamp(),
    content: request,
    correlationId: toBase64url(context.random(12)),
  })
  return { changes, events, wakes: [wake] }
}

/**
 * Asks an own device for a message that did not open, as anybody else would be asked: the account is a recipient of its own, which
 * is made only for this.
 */
export const askOwnDevice = (context: SignalContext, arrival: Arrival, code: string): Promise<void> => {
  const { userId, runtime } = context
  const { hash, deviceId, source } = arrival
  const ids = { aci: source }
  return withRecipient(context, ids, (candidates, fresh) =>
    runtime.run({
      name: 'signal.askOwnDevice',
      internal: true,
      locks: candidates,
      load: read => Promise.all([read(signalSeen, { where: { hash } }), readRecipients(read, userId, ids)]),
      compute: (state, [known, rows]): Outcome<void> => {
        if (known.length > 0) return { result: undefined }
        const { recipient, changes, events } = resolveRecipient(context, state, rows, ids, candidates, fresh)
        const asked = askAgain(context, state, arrival, recipient, code)
        const seen = { hash, userId, peer: peerOf(context, source), deviceId, timestamp: null, createdAt: state.now }
        return {
          result: undefined,
          changes: [...changes, put(signalSeen, seen), ...asked.changes],
          events: [...events, ...asked.events],
          wakes: asked.wakes,
        }
      },
    }),
  )
}
