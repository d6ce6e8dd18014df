import { expect } from 'vitest'
import { inlineKem, type Kem, type KeyPair } from '../../src/crypto/index.js'
import { Reader } from '../../src/encoding/index.js'
import {
  type Decryption,
  type E2eParams,
  type E2ePrivateKeys,
  type KemAgreement,
  type RatchetPorts,
  type RatchetState,
  type SkippedKey,
  advanceHeader,
  checkCanPad,
  decodeMessageEncryptKey,
  decodeRatchetState,
  decrypt,
  encodeMessageEncryptKey,
  encodeRatchetState,
  encryptBody,
  readE2eParams,
} from '../../src/ratchet/index.js'
import { type Vector, hex, toHex } from './load.js'

/** The codes of this implementation for the errors of the reference, and the number some of them carry. */
const CODES: Record<string, string> = {
  CERatchetHeader: 'CRYPTO_HEADER',
  CERatchetDuplicateMessage: 'CRYPTO_DUPLICATE',
  CERatchetEarlierMessage: 'CRYPTO_EARLIER',
  AESDecryptError: 'CRYPTO_AES',
}

/** A state as the vectors record it. */
export const stateOf = (vector: Vector): RatchetState => ({
  versions: vector['version'],
  associatedData: hex(vector['assocData']),
  dhSelf: { publicKey: hex(vector['dhPubRaw']), privateKey: hex(vector['dhPrivRaw']) },
  kem: {
    support: vector['supportKEM'],
    enabled: vector['enableKEM'],
    sending: vector['sndKEM'],
    receiving: vector['rcvKEM'],
    ...(vector['kem'] === null ? {} : { agreement: agreementOf(vector['kem']) }),
  },
  rootKey: hex(vector['rootKey']),
  ...(vector['snd'] === null ? {} : { snd: sndOf(vector['snd']) }),
  ...(vector['rcv'] === null
    ? {}
    : { rcv: { chainKey: hex(vector['rcv'].chainKey), headerKey: hex(vector['rcv'].headerKey) } }),
  ns: vector['ns'],
  nr: vector['nr'],
  pn: vector['pn'],
  nextHeaderKeySnd: hex(vector['nextHeaderKeySnd']),
  nextHeaderKeyRcv: hex(vector['nextHeaderKeyRcv']),
})

const sndOf = ({ dhPeerPubRaw, chainKey, headerKey }: Vector) => ({
  peerKey: hex(dhPeerPubRaw),
  chainKey: hex(chainKey),
  headerKey: hex(headerKey),
})

/** KEM keys as states and turns record them. */
export const agreementOf = ({ publicKey, secretKey, accepted }: Vector): KemAgreement => ({
  own: { publicKey: hex(publicKey), privateKey: hex(secretKey) },
  ...(accepted === null
    ? {}
    : {
        accepted: {
          peerKey: hex(accepted.receivedKey),
          sharedSecret: hex(accepted.sharedSecret),
          ciphertext: hex(accepted.sentCiphertext),
        },
      }),
})

/** Any value with its bytes as hex, for comparisons that a reader can follow. */
export const readable = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return toHex(value)
  if (Array.isArray(value)) return value.map(item => readable(item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, readable(part)]))
}

/** Private X3DH keys of a party; a reply that accepts a KEM key says with its secrets which one. */
export const privateKeysOf = (party: Vector): E2ePrivateKeys => ({
  key1: keyPairOf(party['x3dhPriv1']),
  key2: keyPairOf(party['x3dhPriv2']),
  ...(party['kemPrivate'] === null
    ? {}
    : { kem: agreementOf({ accepted: null, ...party['kemPrivate'], ...acceptedIn(party) }) }),
})

const acceptedIn = ({ kemPrivate, x3dhOut }: Vector): Vector =>
  kemPrivate.state === 'accepted' ? { accepted: x3dhOut.kemAccepted } : {}

/** A KEM that gives what was recorded of a turn or reply, and opens for itself. */
export const recordedKem = ({ own, accepted }: Partial<KemAgreement>): Kem => ({
  generateKeyPair: async () => {
    if (own === undefined) throw new Error('no KEM keys were recorded')
    return own
  },
  encapsulate: async publicKey => {
    expect(toHex(publicKey), 'the key that was accepted').toBe(accepted && toHex(accepted.peerKey))
    const { ciphertext, sharedSecret } = accepted as NonNullable<typeof accepted>
    return { ciphertext, sharedSecret }
  },
  decapsulate: inlineKem().decapsulate,
})

/** The public X3DH parameters of a party. */
export const paramsOf = (party: Vector): E2eParams => {
  const reader = new Reader(hex(party['e2eParams']), 'e2eParams')
  const params = readE2eParams(reader)
  reader.end()
  return params
}

/** A recorded key pair. */
export const keyPairOf = ({ pubRaw, privRaw }: Vector): KeyPair => ({
  publicKey: hex(pubRaw),
  privateKey: hex(privRaw),
})

/** The keys with a change applied to them, as the store would. */
export const applyChange = (
  skipped: readonly SkippedKey[],
  { add, remove }: Decryption['skippedChange'],
): SkippedKey[] => [...skipped.filter(key => !remove.includes(key)), ...add]

interface Party {
  state: RatchetState
  skipped: readonly SkippedKey[]
}

/**
 * Replays a transcript with its recorded keys: every message encrypted to the recorded bytes, every decryption to the
 * recorded result, every state equal in every field (and unchanged by its encoding). Only a turn that needs a KEM operation has to be
 * awaited. Returns how many did.
 */
export const replay = async (transcript: Vector): Promise<number> => {
  const parties: Record<string, Party> = {
    Alice: { state: stateOf(transcript['alice'].initialState), skipped: [] },
    Bob: { state: stateOf(transcript['bob'].initialState), skipped: [] },
  }
  const messages = new Map<string, string>()
  let awaited = 0
  const steps: Vector[] = transcript['steps']
  for (const [index, step] of steps.entries()) {
    const where = `step ${index}: ${step['party']} ${step['op']} ${step['name'] ?? step['message']}`
    const party = parties[step['party']] as Party
    // A copy of the bytes: what was encoded in this process is remembered.
    party.state = decodeRatchetState(Buffer.from(encodeRatchetState(party.state)))
    const before = readable(party)
    if (step['op'] === 'encrypt') {
      encryptStep(party, step, transcript['e2eVersion'].encryptSupportedVersion, where)
      messages.set(step['name'], step['ciphertext'])
    } else {
      awaited += await decryptStep(party, step, messages.get(step['message']) as string, where)
    }
    if (step['error'] !== undefined || step['stateUnchanged'] === true) expect(readable(party), where).toEqual(before)
    else expect(readable(party.state), where).toEqual(readable(stateOf(step['stateAfter'])))
  }
  expect(messages.size, 'the transcript has messages').toBeGreaterThan(10)
  return awaited
}

const encryptStep = (party: Party, step: Vector, supportedVersion: number, where: string): void => {
  const plaintext = hex(step['plaintext'])
  if (step['error'] !== undefined) {
    expect(step['error'], where).toBe('CryptoLargeMsgError')
    expect(() => checkCanPad(plaintext.length, step['paddedLen']), where).toThrow(
      expect.objectContaining({ code: 'LARGE_MSG' }),
    )
    return
  }
  checkCanPad(plaintext.length, step['paddedLen'])
  const { state, header, pqEncrypted } = advanceHeader(party.state, {
    supportedVersion,
    ...(step['pqEnc'] === null ? {} : { enableKem: step['pqEnc'] }),
  })
  expect(readable(header), where).toMatchObject({
    messageKey: step['messageKey'],
    messageIv: step['messageIV'],
    encryptedHeader: step['encHeader'],
  })
  expect(pqEncrypted, where).toBe(step['stateAfter'].sndKEM)
  const stored = decodeMessageEncryptKey(encodeMessageEncryptKey(header))
  expect(toHex(encryptBody(stored, plaintext, step['paddedLen'])), where).toBe(step['ciphertext'])
  party.state = state
}

/** Answers how many promises it had to await. */
const decryptStep = async (party: Party, step: Vector, ciphertext: string, where: string): Promise<number> => {
  const bytes = hex(step['tamperedCiphertext'] ?? ciphertext)
  const answer = decrypt(party.state, party.skipped, bytes, recordedPorts(step, where))
  expect(answer instanceof Promise, `${where}: a KEM operation`).toBe(needsKem(step))
  const { result, state, skippedChange, pqEncrypted } = await answer
  const expected = step['exception'] ?? step['result'].error
  if (expected === undefined) {
    expect(readable(result), where).toEqual({ ok: true, plaintext: step['result'].ok })
  } else {
    const [name, count] = (expected as string).split(' ')
    expect(result, where).toMatchObject({ ok: false, error: { code: CODES[name as string] } })
    if (count !== undefined) expect(result, where).toMatchObject({ error: { facts: { earlier: Number(count) } } })
  }
  if (step['stateUnchanged'] === true) expect(state, where).toBe(party.state)
  else expect(pqEncrypted, where).toBe(step['stateAfter'].rcvKEM)
  party.state = state
  party.skipped = applyChange(party.skipped, skippedChange)
  if (step['skippedKeysAfter'] !== undefined) {
    expect(sorted(party.skipped), where).toEqual(step['skippedKeysAfter'])
  }
  return answer instanceof Promise ? 1 : 0
}

/** A turn that made KEM keys, or opened a chain with a KEM secret. */
const needsKem = (step: Vector): boolean =>
  typeof step['generated'] === 'object' &&
  step['generated'] !== null &&
  (step['generated'].kem !== null || step['stateAfter'].rcvKEM === true)

const recordedPorts = (step: Vector, where: string): RatchetPorts => ({
  generate: () => {
    expect(step['generated'], `${where}: no turn was recorded`).toBeTruthy()
    return { publicKey: hex(step['generated'].dhPubRaw), privateKey: hex(step['generated'].dhPrivRaw) }
  },
  kem: recordedKem(step['generated']?.kem ? agreementOf(step['generated'].kem) : {}),
})

/** Skipped keys in the form and order of the vectors. */
const sorted = (skipped: readonly SkippedKey[]): Vector[] =>
  skipped
    .map(({ headerKey, messageNumber, messageKey, messageIv }) => ({
      headerKey: toHex(headerKey),
      messageIV: toHex(messageIv),
      messageKey: toHex(messageKey),
      msgN: messageNumber,
    }))
    .sort((a, b) => (a.headerKey === b.headerKey ? a.msgN - b.msgN : a.headerKey < b.headerKey ? -1 : 1))
