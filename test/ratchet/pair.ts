import {
  type AdvanceOptions,
  type Decryption,
  type GenerateKeyPair,
  type MessageEncryptKey,
  type RatchetState,
  type RatchetVersions,
  type SkippedKey,
  advanceHeader,
  decrypt,
  encryptBody,
  generateE2eParams,
  generateKemE2eParams,
  generateX448,
  initRcvRatchet,
  initSndRatchet,
  replyKem,
  x3dhInitiator,
  x3dhJoiner,
} from '../../src/ratchet/index.js'
import type { Kem } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'

/** What one side stores. */
export interface Side {
  readonly state: RatchetState
  readonly skipped: readonly SkippedKey[]
}

/** Two sides that agreed over X3DH; the joiner can send, the initiator must receive first. */
export const newPair = (
  versions: RatchetVersions = { current: 3, maxSupported: 3 },
): { joiner: Side; initiator: Side } => {
  const initiator = generateE2eParams(versions.current)
  const joiner = generateE2eParams(versions.current)
  return {
    joiner: {
      state: initSndRatchet(
        versions,
        initiator.params.key2,
        generateX448(),
        x3dhJoiner(joiner.privateKeys, initiator.params),
      ),
      skipped: [],
    },
    initiator: {
      state: initRcvRatchet(versions, initiator.privateKeys.key2, x3dhInitiator(initiator.privateKeys, joiner.params)),
      skipped: [],
    },
  }
}

/** As `newPair`, in version 3, with a KEM that the initiator offers and each side supports, or not. */
export const newPqPair = async (
  kem: Kem,
  { offered = true, initiator: initiatorSupports = true, joiner: joinerSupports = true } = {},
): Promise<{ joiner: Side; initiator: Side }> => {
  const versions = { current: 3, maxSupported: 3 }
  const offer = await generateKemE2eParams(3, offered ? { kind: 'propose' } : undefined, { kem })
  const reply = await generateKemE2eParams(3, replyKem(3, offer.params.kem, joinerSupports), { kem })
  const joinerSecrets = x3dhJoiner(reply.privateKeys, offer.params)
  const initiatorSecrets = await x3dhInitiator(offer.privateKeys, reply.params, kem)
  return {
    joiner: { state: initSndRatchet(versions, offer.params.key2, generateX448(), joinerSecrets), skipped: [] },
    initiator: {
      state: initRcvRatchet(versions, offer.privateKeys.key2, initiatorSecrets, initiatorSupports),
      skipped: [],
    },
  }
}

/** Advances and encrypts at once. */
export const send = (
  side: Side,
  plaintext: Bytes,
  paddedLength = 64,
  options: AdvanceOptions = {},
): { side: Side; message: Bytes; header: MessageEncryptKey; pqEncrypted: boolean } => {
  const { state, header, pqEncrypted } = advanceHeader(side.state, options)
  return { side: { ...side, state }, message: encryptBody(header, plaintext, paddedLength), header, pqEncrypted }
}

/** What a side is after a message, and what it learned. */
export interface Received {
  readonly side: Side
  readonly result: Decryption['result']
  readonly change: Decryption['skippedChange']
  readonly pqEncrypted: boolean
}

/** Decrypts, and stores what there is to store. */
export const receive = (side: Side, message: Bytes, generate: GenerateKeyPair = generateX448): Received =>
  stored(side, decrypt(side.state, side.skipped, message, { generate }))

/** As `receive`, with a KEM. */
export const receivePq = async (side: Side, message: Bytes, kem: Kem): Promise<Received> =>
  stored(side, await decrypt(side.state, side.skipped, message, { kem }))

const stored = (side: Side, { result, state, skippedChange, pqEncrypted }: Decryption): Received => {
  const skipped = [...side.skipped.filter(key => !skippedChange.remove.includes(key)), ...skippedChange.add]
  return { side: { state, skipped }, result, change: skippedChange, pqEncrypted }
}

/** A side that received `count` messages in order, and the other that sent them. */
export const exchange = (from: Side, to: Side, count: number): { from: Side; to: Side } => {
  let [sender, recipient] = [from, to]
  for (let index = 0; index < count; index++) {
    const sent = send(sender, Buffer.from(`message ${index}`))
    const received = receive(recipient, sent.message)
    if (!received.result.ok) throw received.result.error
    ;[sender, recipient] = [sent.side, received.side]
  }
  return { from: sender, to: recipient }
}

/** A copy with one byte changed. */
export const flip = (bytes: Bytes, offset: number, mask = 1): Bytes => {
  const copy = Buffer.from(bytes)
  const index = offset < 0 ? copy.length + offset : offset
  copy[index] = (copy[index] as number) ^ mask
  return copy
}
