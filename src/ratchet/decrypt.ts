import { aesDecrypt, unpad, x448 } from '../crypto/index.js'
import { type Bytes, concat } from '../encoding/index.js'
import { CryptoError, DecodeError } from '../errors.js'
import { generateX448 } from './e2eParams.js'
import { failure } from './failures.js'
import { chainKdf, rootKdf } from './kdf.js'
import { type KemTurn, turnKem } from './kem.js'
import { type GenerateKeyPair, type RatchetPorts, type RatchetState, type RcvChain, type SkippedKey } from './types.js'
import {
  type EncryptedMessage,
  type MessageHeader,
  decodeEncryptedHeader,
  decodeHeader,
  decodeMessage,
} from './wire.js'

/** The most messages that may be missing before one that is accepted. */
export const MAX_SKIPPED = 512

/** The keys to store and to delete with the new state. */
export interface SkippedChange {
  readonly add: readonly SkippedKey[]
  readonly remove: readonly SkippedKey[]
}

export type DecryptResult =
  /** A view of the padded block: copy it to keep it for long. */
  | { readonly ok: true; readonly plaintext: Bytes }
  /** The error has a code of `RatchetFailure`. */
  | { readonly ok: false; readonly error: CryptoError }

/** Result, and what to store whether it is good or bad; `state` is the same object when nothing changed. */
export interface Decryption {
  readonly result: DecryptResult
  readonly state: RatchetState
  readonly skippedChange: SkippedChange
  /** Whether the receiving chain is made with a KEM secret, as peers report it: also for a late message of an older chain. */
  readonly pqEncrypted: boolean
}

/**
 * Decrypts one message. Bad bytes give a result with an error, and are never thrown. Once the header is authentic the state moves on
 * even if the body is not, as peers do (the message is lost, the next ones are not).
 *
 * `skipped` are the stored keys of the connection. It answers at once, but for a turn that needs KEM operations: then with a
 * promise, until which the bytes must stay as they are. It rejects with KemError when the KEM cannot do its work now: nothing is
 * decided then, and the same call may succeed later. Without a KEM the answer always comes at once, and such a turn is refused
 * with `CRYPTO_KEM`.
 */
export function decrypt(
  state: RatchetState,
  skipped: readonly SkippedKey[],
  ciphertext: Bytes,
  ports?: RatchetPorts & { readonly kem?: undefined },
): Decryption
export function decrypt(
  state: RatchetState,
  skipped: readonly SkippedKey[],
  ciphertext: Bytes,
  ports: RatchetPorts,
): Decryption | Promise<Decryption>
export function decrypt(
  state: RatchetState,
  skipped: readonly SkippedKey[],
  ciphertext: Bytes,
  ports: RatchetPorts = {},
): Decryption | Promise<Decryption> {
  const refused = (error: unknown): Decryption => decryption({ ok: false, error: asFailure(error) }, state)
  try {
    const decrypted = decryptMessage(state, skipped, decodeMessage(ciphertext), ports)
    return decrypted instanceof Promise ? decrypted.catch(refused) : decrypted
  } catch (error) {
    return refused(error)
  }
}

const decryption = (
  result: DecryptResult,
  state: RatchetState,
  { add = [], remove = [] }: Partial<SkippedChange> = {},
): Decryption => ({ result, state, skippedChange: { add, remove }, pqEncrypted: state.kem.receiving })

/** A state that has a receiving chain. */
type Receiving = RatchetState & { readonly rcv: RcvChain }

const decryptMessage = (
  state: RatchetState,
  skipped: readonly SkippedKey[],
  message: EncryptedMessage,
  { kem, generate = generateX448 }: RatchetPorts,
): Decryption | Promise<Decryption> => {
  const { headerKey, header } = openHeader(state, skipped, message.header)
  const passedOver = skipped.find(key => key.messageNumber === header.messageNumber && same(key.headerKey, headerKey))
  if (passedOver !== undefined) {
    return decryption(openBody(state, passedOver, message), state, { remove: [passedOver] })
  }
  const upgraded = riseToVersion(state, header.maxVersion)
  if (hasRcvChain(upgraded) && headerKey === upgraded.rcv.headerKey) return receive(upgraded, [], header, message)
  if (headerKey !== state.nextHeaderKeyRcv) throw headerFailure()
  const previous = hasRcvChain(upgraded) ? skipTo(upgraded, header.previousCount) : { state: upgraded, keys: [] }
  const kemTurn = turnKem(previous.state, header.kem, kem)
  const turned = (kemTurn: KemTurn): Decryption =>
    receive(turn(previous.state, header.dhKey, kemTurn, generate), previous.keys, header, message)
  return kemTurn instanceof Promise ? kemTurn.then(turned) : turned(kemTurn)
}

/** Decrypts a message of the current receiving chain; `added` are keys that the end of the previous one left over. */
const receive = (
  state: Receiving,
  added: readonly SkippedKey[],
  header: MessageHeader,
  message: EncryptedMessage,
): Decryption => {
  let advanced: { state: Receiving; keys: readonly SkippedKey[] }
  try {
    advanced = skipTo(state, header.messageNumber)
  } catch (error) {
    return decryption({ ok: false, error: asFailure(error) }, state, { add: added })
  }
  const { rcv } = advanced.state
  const { chainKey, messageKey, messageIv } = chainKdf(rcv.chainKey)
  const result = openBody(state, { messageKey, messageIv }, message)
  const next = { ...advanced.state, rcv: { ...rcv, chainKey }, nr: advanced.state.nr + 1 }
  return decryption(result, next, { add: [...added, ...advanced.keys] })
}

/** Moves the receiving chain to message `until`. Throws when it was already decrypted, or too many are missing before it. */
const skipTo = (state: Receiving, until: number): { state: Receiving; keys: SkippedKey[] } => {
  const { rcv, nr } = state
  if (nr > until + 1) {
    throw failure('CRYPTO_EARLIER', 'the key of this earlier message is used up', {
      facts: { earlier: nr - until - 1 },
    })
  }
  if (nr === until + 1) throw failure('CRYPTO_DUPLICATE', 'this message was decrypted already')
  if (nr + MAX_SKIPPED < until) {
    throw failure('CRYPTO_TOO_MANY_SKIPPED', `more than ${MAX_SKIPPED} messages are missing before this one`, {
      facts: { skipped: until + 1 - nr },
      hint: 'The ratchets have to be synchronised.',
    })
  }
  const keys: SkippedKey[] = []
  let { chainKey } = rcv
  for (let messageNumber = nr; messageNumber < until; messageNumber++) {
    const step = chainKdf(chainKey)
    keys.push({ headerKey: rcv.headerKey, messageNumber, messageKey: step.messageKey, messageIv: step.messageIv })
    chainKey = step.chainKey
  }
  return { state: { ...state, rcv: { ...rcv, chainKey }, nr: until }, keys }
}

/** The turn of the ratchet: a receiving chain with the peer's new key, then a sending chain with a new one of ours. */
const turn = (state: RatchetState, peerKey: Bytes, kemTurn: KemTurn, generate: GenerateKeyPair): Receiving => {
  const { kem, receivingSecret, sendingSecret } = kemTurn
  const rcv = rootKdf(state.rootKey, x448(state.dhSelf.privateKey, peerKey), receivingSecret)
  const dhSelf = generate()
  const snd = rootKdf(rcv.rootKey, x448(dhSelf.privateKey, peerKey), sendingSecret)
  return {
    ...state,
    dhSelf,
    kem,
    rootKey: snd.rootKey,
    snd: { peerKey, chainKey: snd.chainKey, headerKey: state.nextHeaderKeySnd },
    rcv: { chainKey: rcv.chainKey, headerKey: state.nextHeaderKeyRcv },
    pn: state.ns,
    ns: 0,
    nr: 0,
    nextHeaderKeySnd: snd.nextHeaderKey,
    nextHeaderKeyRcv: rcv.nextHeaderKey,
  }
}

/** The highest version that both sides announced, never a lower one than before. */
const riseToVersion = (state: RatchetState, peerMax: number): RatchetState => {
  const { current, maxSupported } = state.versions
  const risen = Math.min(peerMax, maxSupported)
  return risen > current ? { ...state, versions: { current: risen, maxSupported } } : state
}

/**
 * Finds the key that opens the header: the current chain, the next one, then those of skipped messages. A message of the
 * steady state costs one attempt. Throws `CRYPTO_HEADER` when none does.
 */
const openHeader = (
  state: RatchetState,
  skipped: readonly SkippedKey[],
  bytes: Bytes,
): { headerKey: Bytes; header: MessageHeader } => {
  const { version, iv, tag, body } = decodeEncryptedHeader(bytes)
  for (const headerKey of headerKeys(state, skipped)) {
    const plain = tryOpen(() => unpad(aesDecrypt(headerKey, iv, state.associatedData, body, tag)))
    if (plain !== undefined) return { headerKey, header: decodeHeader(version, plain) }
  }
  throw headerFailure()
}

function* headerKeys({ rcv, nextHeaderKeyRcv }: RatchetState, skipped: readonly SkippedKey[]): Generator<Bytes> {
  if (rcv !== undefined) yield rcv.headerKey
  yield nextHeaderKeyRcv
  const tried: Bytes[] = rcv === undefined ? [nextHeaderKeyRcv] : [rcv.headerKey, nextHeaderKeyRcv]
  for (const { headerKey } of skipped) {
    if (tried.some(key => same(key, headerKey))) continue
    tried.push(headerKey)
    yield headerKey
  }
}

const openBody = (
  { associatedData }: RatchetState,
  { messageKey, messageIv }: Pick<SkippedKey, 'messageKey' | 'messageIv'>,
  { header, tag, body }: EncryptedMessage,
): DecryptResult => {
  try {
    const padded = aesDecrypt(messageKey, messageIv, concat(associatedData, header), body, tag)
    return { ok: true, plaintext: unpad(padded, 'body') }
  } catch (error) {
    if (error instanceof DecodeError) {
      return { ok: false, error: failure('CRYPTO_PADDING', 'the message is not padded', { cause: error }) }
    }
    return { ok: false, error: asFailure(error) }
  }
}

const hasRcvChain = (state: RatchetState): state is Receiving => state.rcv !== undefined

const same = (a: Bytes, b: Bytes): boolean => a === b || Buffer.compare(a, b) === 0

const headerFailure = (): CryptoError =>
  failure('CRYPTO_HEADER', 'no header key opens this message', { hint: 'The ratchets may have to be synchronised.' })

/** Undefined instead of an error for bytes that do not open. */
const tryOpen = (open: () => Bytes): Bytes | undefined => {
  try {
    return open()
  } catch (error) {
    if (error instanceof CryptoError || error instanceof DecodeError) return undefined
    throw error
  }
}

/** A refusal as the result tells it; anything that is not one is a bug or a broken port and is thrown on. */
const asFailure = (error: unknown): CryptoError => {
  if (error instanceof CryptoError) return error
  if (!(error instanceof DecodeError)) throw error
  return failure('CRYPTO_FORMAT', 'the bytes are no ratchet message', {
    cause: error,
    ...(error.field === undefined ? {} : { field: error.field }),
  })
}
