import type { KeyPair } from '../crypto/index.js'
import { type Bytes, Reader, concat, large, short, word16, word32 } from '../encoding/index.js'
import {
  KEY_BYTES,
  type KemAgreement,
  type RatchetKem,
  type RatchetState,
  type RcvChain,
  type SndChain,
  X448_BYTES,
} from './types.js'

/** The first byte of a stored ratchet. A new layout takes the next number and still reads this one. */
const FORMAT = 1

const FLAG = { support: 1, enabled: 2, sending: 4, receiving: 8, agreement: 16, accepted: 32, snd: 64, rcv: 128 }

/**
 * A ratchet as bytes for its row, private keys inside (own format): format, versions, flags, associated data, keys,
 * counters, then the chains and the KEM keys that the flags announce. About 600 bytes without a KEM.
 */
export const encodeRatchetState = (state: RatchetState): Bytes => {
  // Out of Node's shared 8 KB pool: the bytes of a loaded row may stay long.
  const bytes = Buffer.from(new Uint8Array(encodeState(state)).buffer)
  decoded.set(bytes, state)
  return bytes
}

/** The reverse of `encodeRatchetState`; the keys are views of `bytes`. Throws DecodeError. */
export const decodeRatchetState = (bytes: Bytes): RatchetState => {
  const known = decoded.get(bytes)
  if (known !== undefined) return known
  const state = decodeState(bytes)
  decoded.set(bytes, state)
  return state
}

// A row that stays loaded keeps its bytes: decoding it once also lets its keys be imported once.
const decoded = new WeakMap<Bytes, RatchetState>()

const encodeState = (state: RatchetState): Bytes =>
  concat(
    Buffer.of(FORMAT),
    word16(state.versions.current),
    word16(state.versions.maxSupported),
    Buffer.of(flagsOf(state)),
    short(state.associatedData),
    state.dhSelf.publicKey,
    state.dhSelf.privateKey,
    state.rootKey,
    word32(state.ns),
    word32(state.nr),
    word32(state.pn),
    state.nextHeaderKeySnd,
    state.nextHeaderKeyRcv,
    ...(state.snd === undefined ? [] : [state.snd.peerKey, state.snd.chainKey, state.snd.headerKey]),
    ...(state.rcv === undefined ? [] : [state.rcv.chainKey, state.rcv.headerKey]),
    ...encodeAgreement(state.kem.agreement),
  )

const decodeState = (bytes: Bytes): RatchetState => {
  const reader = new Reader(bytes, 'ratchetState')
  if (reader.byte('format') !== FORMAT) return reader.fail('format', 'is not known')
  const versions = { current: reader.word16('versions'), maxSupported: reader.word16('versions') }
  const flags = reader.byte('flags')
  const associatedData = reader.short('associatedData')
  const dhSelf = { publicKey: reader.take(X448_BYTES, 'dhSelf'), privateKey: reader.take(X448_BYTES, 'dhSelf') }
  const rootKey = reader.take(KEY_BYTES, 'rootKey')
  const ns = reader.word32('ns')
  const nr = reader.word32('nr')
  const pn = reader.word32('pn')
  const nextHeaderKeySnd = reader.take(KEY_BYTES, 'nextHeaderKeySnd')
  const nextHeaderKeyRcv = reader.take(KEY_BYTES, 'nextHeaderKeyRcv')
  const snd = flags & FLAG.snd ? readSndChain(reader) : undefined
  const rcv = flags & FLAG.rcv ? readRcvChain(reader) : undefined
  const kem = readKem(reader, flags)
  reader.end()
  return {
    versions,
    associatedData,
    dhSelf,
    kem,
    rootKey,
    ...(snd === undefined ? {} : { snd }),
    ...(rcv === undefined ? {} : { rcv }),
    ns,
    nr,
    pn,
    nextHeaderKeySnd,
    nextHeaderKeyRcv,
  }
}

const flagsOf = ({ kem, snd, rcv }: RatchetState): number =>
  (kem.support ? FLAG.support : 0) |
  (kem.enabled ? FLAG.enabled : 0) |
  (kem.sending ? FLAG.sending : 0) |
  (kem.receiving ? FLAG.receiving : 0) |
  (kem.agreement === undefined ? 0 : FLAG.agreement) |
  (kem.agreement?.accepted === undefined ? 0 : FLAG.accepted) |
  (snd === undefined ? 0 : FLAG.snd) |
  (rcv === undefined ? 0 : FLAG.rcv)

/** The KEM keys of an agreement, each behind its length; nothing without one. */
export const encodeAgreement = (agreement: KemAgreement | undefined): Bytes[] => {
  if (agreement === undefined) return []
  const { own, accepted } = agreement
  const keys = [own.publicKey, own.privateKey]
  if (accepted !== undefined) keys.push(accepted.peerKey, accepted.sharedSecret, accepted.ciphertext)
  return keys.map(key => large(key))
}

const readSndChain = (reader: Reader): SndChain => ({
  peerKey: reader.take(X448_BYTES, 'snd.peerKey'),
  chainKey: reader.take(KEY_BYTES, 'snd.chainKey'),
  headerKey: reader.take(KEY_BYTES, 'snd.headerKey'),
})

const readRcvChain = (reader: Reader): RcvChain => ({
  chainKey: reader.take(KEY_BYTES, 'rcv.chainKey'),
  headerKey: reader.take(KEY_BYTES, 'rcv.headerKey'),
})

const readKem = (reader: Reader, flags: number): RatchetKem => {
  const kem = {
    support: (flags & FLAG.support) !== 0,
    enabled: (flags & FLAG.enabled) !== 0,
    sending: (flags & FLAG.sending) !== 0,
    receiving: (flags & FLAG.receiving) !== 0,
  }
  if ((flags & FLAG.agreement) === 0) {
    return (flags & FLAG.accepted) === 0 ? kem : reader.fail('flags', 'accept a KEM that is not there')
  }
  return { ...kem, agreement: readAgreement(reader, (flags & FLAG.accepted) !== 0) }
}

/** The reverse of `encodeAgreement`; whether it is accepted is said elsewhere. Throws DecodeError. */
export const readAgreement = (reader: Reader, accepted: boolean): KemAgreement => {
  const own: KeyPair = { publicKey: reader.large('kem.publicKey'), privateKey: reader.large('kem.privateKey') }
  return accepted ? { own, accepted: readAccepted(reader) } : { own }
}

const readAccepted = (reader: Reader): NonNullable<KemAgreement['accepted']> => ({
  peerKey: reader.large('kem.peerKey'),
  sharedSecret: reader.large('kem.sharedSecret'),
  ciphertext: reader.large('kem.ciphertext'),
})
