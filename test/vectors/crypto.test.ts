import { describe, expect, it } from 'vitest'
import * as crypto from '../../src/crypto/index.js'
import { toBase64url } from '../../src/encoding/index.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('crypto')
const keys: Record<string, Vector> = vectors['keys']
const raw = (name: string, part: 'privRaw' | 'pubRaw') => hex(keys[name]?.[part])
const number = (list: Vector[]): [number, Vector][] => list.map((vector, index) => [index, vector])

describe('crypto.json keys', () => {
  it.each(Object.entries(keys))('%s: DER and raw both ways, public from private', (_, key) => {
    const algorithm = key['alg'].toLowerCase() as crypto.KeyAlgorithm
    const [publicKey, privateKey] = [hex(key['pubRaw']), hex(key['privRaw'])]
    expect(toHex(crypto.publicKeyOf(algorithm, privateKey))).toBe(key['pubRaw'])
    expect(toHex(crypto.encodePublicKey(algorithm, publicKey))).toBe(key['pubSpkiDer'])
    expect(toHex(crypto.encodePrivateKey(algorithm, privateKey))).toBe(key['privPkcs8Der'])
    expect(toBase64url(crypto.encodePublicKey(algorithm, publicKey))).toBe(key['pubStr'])
    const decoded = crypto.decodePublicKey(hex(key['pubSpkiDer']))
    expect([decoded.algorithm, toHex(decoded.raw)]).toEqual([algorithm, key['pubRaw']])
    const decodedPrivate = crypto.decodePrivateKey(hex(key['privPkcs8Der']), [algorithm])
    expect([decodedPrivate.algorithm, toHex(decodedPrivate.raw)]).toEqual([algorithm, key['privRaw']])
  })

  it('X25519 and X448 secrets from both sides', () => {
    expect(toHex(crypto.x25519(raw('x25519a', 'privRaw'), raw('x25519b', 'pubRaw')))).toBe(vectors['dh'].x25519_a_b)
    expect(toHex(crypto.x25519(raw('x25519b', 'privRaw'), raw('x25519a', 'pubRaw')))).toBe(vectors['dh'].x25519_a_b)
    expect(toHex(crypto.x448(raw('x448a', 'privRaw'), raw('x448b', 'pubRaw')))).toBe(vectors['dh'].x448_a_b)
    expect(toHex(crypto.x448(raw('x448b', 'privRaw'), raw('x448a', 'pubRaw')))).toBe(vectors['dh'].x448_a_b)
  })

  it.each(number(vectors['sign']))('Ed25519 signature %i', (_, { message, signature }) => {
    expect(toHex(crypto.sign('ed25519', raw('ed25519', 'privRaw'), hex(message)))).toBe(signature)
    expect(crypto.verify('ed25519', raw('ed25519', 'pubRaw'), hex(message), hex(signature))).toBe(true)
  })

  it.each(number(vectors['signEd448']))('Ed448 signature %i', (_, { message, signature }) => {
    expect(toHex(crypto.sign('ed448', raw('ed448', 'privRaw'), hex(message)))).toBe(signature)
    expect(crypto.verify('ed448', raw('ed448', 'pubRaw'), hex(message), hex(signature))).toBe(true)
  })
})

describe('crypto.json hashes and KDFs', () => {
  it.each(number(vectors['hashes']))('hashes %i', (_, { input, sha256, sha512, sha3_256, sha3_384 }) => {
    expect(toHex(crypto.sha256(hex(input)))).toBe(sha256)
    expect(toHex(crypto.sha512(hex(input)))).toBe(sha512)
    expect(toHex(crypto.sha3_256(hex(input)))).toBe(sha3_256)
    expect(toHex(crypto.sha3_384(hex(input)))).toBe(sha3_384)
  })

  it.each(number(vectors['hkdfSha512']))('HKDF-SHA512 %i', (_, { salt, ikm, info, length, out }) => {
    expect(toHex(crypto.hkdfSha512(hex(salt), hex(ikm), info, length))).toBe(out)
  })

  it('ratchet root KDF with and without KEM, and chain KDF', () => {
    const { rootKey, dhOut, kemSharedSecret, rootKdf, rootKdfWithKem, chainKdf, chainKdfInput } = vectors['ratchetKdf']
    const root = (ikm: string) => toHex(crypto.hkdfSha512(hex(rootKey), hex(ikm), 'SimpleXRootRatchet', 96))
    expect(root(dhOut)).toBe(rootKdf.rootKey + rootKdf.chainKey + rootKdf.nextHeaderKey)
    expect(root(dhOut + kemSharedSecret)).toBe(
      rootKdfWithKem.rootKey + rootKdfWithKem.chainKey + rootKdfWithKem.nextHeaderKey,
    )
    const chain = crypto.hkdfSha512(Buffer.alloc(0), hex(chainKdfInput), 'SimpleXChainRatchet', 96)
    expect(toHex(chain)).toBe(chainKdf.chainKey + chainKdf.messageKey + chainKdf.messageIV + chainKdf.headerIV)
  })

  it('sender id from correlation id', () => {
    const { corrId, senderId } = vectors['senderIdFromCorrId']
    expect(toHex(crypto.sha3_384(hex(corrId)).subarray(0, 24))).toBe(senderId)
  })

  it('block chains', () => {
    const chain = vectors['blockChain']
    const { chain1, chain2 } = crypto.sbcInit(hex(chain.salt), hex(chain.secret))
    expect([toHex(chain1), toHex(chain2)]).toEqual([chain.chainKey1, chain.chainKey2])
    for (const [start, steps] of [
      [chain1, chain.chain1],
      [chain2, chain.chain2],
    ] as const) {
      let chainKey = start
      for (const step of steps) {
        expect(toHex(chainKey)).toBe(step.chainKey)
        const { key, nonce, next } = crypto.sbcNext(chainKey)
        expect([toHex(key), toHex(nonce), toHex(next)]).toEqual([step.sbKey, step.nonce, step.nextChainKey])
        chainKey = next
      }
    }
  })
})

describe('crypto.json padding and boxes', () => {
  it.each(number(vectors['pad']))('padding %i', (_, { message, padded, paddedLen }) => {
    expect(toHex(crypto.pad(hex(message), paddedLen))).toBe(padded)
    expect(toHex(crypto.unpad(hex(padded)))).toBe(message)
  })

  it.each(number(vectors['padErrors']))('padding that does not fit %i', (_, { messageLen, paddedLen }) => {
    expect(() => crypto.pad(Buffer.alloc(messageLen), paddedLen)).toThrow(
      expect.objectContaining({ code: 'LARGE_MSG' }),
    )
  })

  const boxKey = crypto.boxSecret(hex(vectors['cryptoBox'].dhSecret))

  it.each(number(vectors['cryptoBox'].cases))('crypto_box %i', (_, { nonce, packet, paddedLen, plaintext }) => {
    expect(toHex(crypto.cbEncrypt(boxKey, hex(nonce), hex(plaintext), paddedLen))).toBe(packet)
    expect(toHex(crypto.cbDecrypt(boxKey, hex(nonce), hex(packet)))).toBe(plaintext)
  })

  it.each(number(vectors['cryptoBox'].noPad))('crypto_box without padding %i', (_, { nonce, packet, plaintext }) => {
    expect(toHex(crypto.cbEncryptNoPad(boxKey, hex(nonce), hex(plaintext)))).toBe(packet)
    expect(toHex(crypto.cbDecryptNoPad(boxKey, hex(nonce), hex(packet)))).toBe(plaintext)
  })

  it.each(number(vectors['secretBox']))('secretbox %i', (_, { key, nonce, packet, paddedLen, plaintext }) => {
    expect(toHex(crypto.sbEncrypt(hex(key), hex(nonce), hex(plaintext), paddedLen))).toBe(packet)
    expect(toHex(crypto.sbDecrypt(hex(key), hex(nonce), hex(packet)))).toBe(plaintext)
  })

  it.each(number(vectors['cbAuthenticator'].cases))(
    'authenticator %i',
    (_, { authenticator, message, nonce, sha512 }) => {
      const [privateA, publicA] = [raw('x25519a', 'privRaw'), raw('x25519a', 'pubRaw')]
      const [privateB, publicB] = [raw('x25519b', 'privRaw'), raw('x25519b', 'pubRaw')]
      expect(toHex(crypto.sha512(hex(message)))).toBe(sha512)
      expect(toHex(crypto.cbAuthenticate(publicB, privateA, hex(nonce), hex(message)))).toBe(authenticator)
      expect(crypto.cbVerify(publicA, privateB, hex(nonce), hex(authenticator), hex(message))).toBe(true)
    },
  )

  it('nonces: cut, filled, reversed', () => {
    const { cbNonceLong, cbNonceShort, value, reversed } = vectors['nonce']
    expect(toHex(crypto.toNonce(hex(cbNonceLong.input)))).toBe(cbNonceLong.nonce)
    expect(toHex(crypto.toNonce(hex(cbNonceShort.input)))).toBe(cbNonceShort.nonce)
    expect(toHex(crypto.reverseNonce(hex(value)))).toBe(reversed)
    expect(toHex(crypto.reverseNonce(hex(reversed)))).toBe(value)
  })

  it.each(number(vectors['aesGcmIv16Padded']))('AES-GCM, 16-byte IV %i', (_, vector) => {
    const { ad, authTag, ciphertext, iv16, key, paddedLen, plaintext } = vector
    const sealed = crypto.aesEncrypt(hex(key), hex(iv16), hex(ad), crypto.pad(hex(plaintext), paddedLen))
    expect([toHex(sealed.ciphertext), toHex(sealed.tag)]).toEqual([ciphertext, authTag])
    const opened = crypto.aesDecrypt(hex(key), hex(iv16), hex(ad), hex(ciphertext), hex(authTag))
    expect(toHex(crypto.unpad(opened))).toBe(plaintext)
  })

  it.each(number(vectors['aesGcmIv12NoPad']))('AES-GCM, 12-byte IV %i', (_, vector) => {
    const { authTag, ciphertext, iv12, key, plaintext } = vector
    const noAad = Buffer.alloc(0)
    const sealed = crypto.aesEncrypt(hex(key), hex(iv12), noAad, hex(plaintext))
    expect([toHex(sealed.ciphertext), toHex(sealed.tag)]).toEqual([ciphertext, authTag])
    expect(toHex(crypto.aesDecrypt(hex(key), hex(iv12), noAad, hex(ciphertext), hex(authTag)))).toBe(plaintext)
  })
})

it('every group of crypto.json is tested', () => {
  expect(Object.keys(vectors).sort()).toEqual(
    (
      'aesGcmIv12NoPad aesGcmIv16Padded blockChain cbAuthenticator cryptoBox dh hashes hkdfSha512 keys nonce pad padErrors ' +
      'ratchetKdf secretBox senderIdFromCorrId sign signEd448 source'
    ).split(' '),
  )
})
