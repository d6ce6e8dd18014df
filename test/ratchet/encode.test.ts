import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bytes, Reader } from '../../src/encoding/index.js'
import { DecodeError } from '../../src/errors.js'
import {
  type RatchetState,
  decodeE2ePrivateKeys,
  decodeMessageEncryptKey,
  decodeRatchetState,
  encodeE2eParams,
  encodeE2ePrivateKeys,
  encodeMessageEncryptKey,
  encodeRatchetState,
  readE2eParams,
} from '../../src/ratchet/index.js'
import { flip } from './pair.js'

const bytes = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(array => Buffer.from(array))
const upTo = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ maxLength: length }).map(array => Buffer.from(array))
const word16 = fc.integer({ min: 0, max: 0xffff })
const word32 = fc.integer({ min: 0, max: 0xffffffff })
const optional = { noNullPrototype: true }

const keyPair = fc.record({ publicKey: bytes(56), privateKey: bytes(56) }, optional)
const agreement = fc.record(
  {
    own: fc.record({ publicKey: upTo(1158), privateKey: upTo(1763) }, optional),
    accepted: fc.record({ peerKey: upTo(1158), sharedSecret: upTo(32), ciphertext: upTo(1039) }, optional),
  },
  { ...optional, requiredKeys: ['own'] },
)
const state: fc.Arbitrary<RatchetState> = fc.record(
  {
    versions: fc.record({ current: word16, maxSupported: word16 }, optional),
    associatedData: upTo(112),
    dhSelf: keyPair,
    kem: fc.record(
      { support: fc.boolean(), enabled: fc.boolean(), sending: fc.boolean(), receiving: fc.boolean(), agreement },
      { ...optional, requiredKeys: ['support', 'enabled', 'sending', 'receiving'] },
    ),
    rootKey: bytes(32),
    snd: fc.record({ peerKey: bytes(56), chainKey: bytes(32), headerKey: bytes(32) }, optional),
    rcv: fc.record({ chainKey: bytes(32), headerKey: bytes(32) }, optional),
    ns: word32,
    nr: word32,
    pn: word32,
    nextHeaderKeySnd: bytes(32),
    nextHeaderKeyRcv: bytes(32),
  },
  {
    ...optional,
    requiredKeys: [
      'versions',
      'associatedData',
      'dhSelf',
      'kem',
      'rootKey',
      'ns',
      'nr',
      'pn',
      'nextHeaderKeySnd',
      'nextHeaderKeyRcv',
    ],
  },
)
const privateKeys = fc.record(
  { key1: keyPair, key2: keyPair, kem: agreement },
  { ...optional, requiredKeys: ['key1', 'key2'] },
)
const encryptKey = fc.record(
  {
    version: word16,
    messageKey: bytes(32),
    messageIv: bytes(16),
    associatedData: upTo(255),
    encryptedHeader: upTo(2346),
  },
  optional,
)
const kem = fc.oneof(
  fc.record({ kind: fc.constant('proposed' as const), publicKey: upTo(1158) }, optional),
  fc.record({ kind: fc.constant('accepted' as const), ciphertext: upTo(1039), publicKey: upTo(1158) }, optional),
)
const params = fc.oneof(
  fc.record({ version: fc.constant(2), key1: bytes(56), key2: bytes(56) }, optional),
  fc.record(
    { version: fc.integer({ min: 3, max: 0xffff }), key1: bytes(56), key2: bytes(56), kem },
    { ...optional, requiredKeys: ['version', 'key1', 'key2'] },
  ),
)
const readAllParams = (encoded: Bytes) => {
  const reader = new Reader(encoded, 'e2eParams')
  const value = readE2eParams(reader)
  reader.end()
  return value
}

interface Codec {
  readonly name: string
  readonly values: fc.Arbitrary<unknown>
  readonly encode: (value: never) => Bytes
  readonly decode: (encoded: Bytes) => unknown
}
const codecs: readonly Codec[] = [
  {
    name: 'ratchet state',
    values: state,
    encode: encodeRatchetState,
    decode: (bytes: Bytes) => decodeRatchetState(Buffer.from(bytes)),
  },
  { name: 'private X3DH keys', values: privateKeys, encode: encodeE2ePrivateKeys, decode: decodeE2ePrivateKeys },
  { name: 'advanced header', values: encryptKey, encode: encodeMessageEncryptKey, decode: decodeMessageEncryptKey },
  { name: 'X3DH parameters', values: params, encode: encodeE2eParams, decode: readAllParams },
]

describe.each(codecs)('$name as bytes', ({ values, encode, decode }) => {
  it('both ways', () => {
    fc.assert(
      fc.property(values, value => {
        expect(decode(encode(value as never))).toEqual(value)
      }),
    )
  })

  it('random, mutated, truncated and longer bytes are a DecodeError or another value of the same length', () => {
    const decodes = (encoded: Bytes): void => {
      try {
        expect(encode(decode(encoded) as never)).toHaveLength(encoded.length)
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError)
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1000 }), decodes))
    fc.assert(
      fc.property(values, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, offset, mask) => {
        const encoded = encode(value as never)
        decodes(flip(encoded, offset % encoded.length, mask))
        expect(() => decode(encoded.subarray(0, offset % encoded.length))).toThrow(DecodeError)
        expect(() => decode(Buffer.concat([encoded, Buffer.of(mask)]))).toThrow(DecodeError)
      }),
    )
  })
})
