import { createPublicKey, verify as nodeVerify } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as crypto from '../../src/crypto/index.js'
import { codeOf, onlyTypedErrors } from '../encoding/fuzz.js'

const ALGORITHMS = ['ed25519', 'ed448', 'x25519', 'x448'] as const
const SIGNERS = ['ed25519', 'ed448'] as const
const message = Buffer.from('a message')

describe('keys', () => {
  it.each(ALGORITHMS)('%s: DER is what node:crypto reads, and only its own algorithm is accepted', algorithm => {
    const { publicKey, privateKey } = crypto.generateKeyPair(algorithm)
    const der = crypto.encodePublicKey(algorithm, publicKey)
    expect(createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' }).asymmetricKeyType).toBe(algorithm)
    expect(crypto.decodePublicKey(der, [algorithm])).toEqual({ algorithm, raw: publicKey })
    expect(crypto.decodePrivateKey(crypto.encodePrivateKey(algorithm, privateKey))).toEqual({
      algorithm,
      raw: privateKey,
    })
    const others = ALGORITHMS.filter(other => other !== algorithm)
    expect(() => crypto.decodePublicKey(der, others, 'rcvKey')).toThrow(
      expect.objectContaining({ code: 'DECODE_INVALID', field: 'rcvKey' }),
    )
    expect(codeOf(() => crypto.publicKeyOf(algorithm, privateKey.subarray(1)))).toBe('CRYPTO_KEY_SIZE')
    expect(codeOf(() => crypto.encodePublicKey(algorithm, Buffer.alloc(31)))).toBe('CRYPTO_KEY_SIZE')
  })

  it.each(ALGORITHMS)('%s: the same randomness makes the same keys', algorithm => {
    const random = (length: number) => Buffer.alloc(length, 7)
    expect(crypto.generateKeyPair(algorithm, random)).toEqual(crypto.generateKeyPair(algorithm, random))
    expect(crypto.generateKeyPair(algorithm).publicKey).not.toEqual(crypto.generateKeyPair(algorithm).publicKey)
  })

  it('hostile bytes are a key or a typed error', () => {
    const ders = ALGORITHMS.map(name => crypto.encodePublicKey(name, crypto.generateKeyPair(name).publicKey))
    onlyTypedErrors(bytes => crypto.decodePublicKey(bytes), ders)
    onlyTypedErrors(bytes => crypto.decodePrivateKey(bytes), ders)
  })
})

describe('signatures', () => {
  it.each(SIGNERS)(
    '%s: node:crypto accepts them; other messages, keys, sizes and tampered ones are wrong',
    algorithm => {
      const { publicKey, privateKey } = crypto.generateKeyPair(algorithm)
      const signature = crypto.sign(algorithm, privateKey, message)
      const nodeKey = createPublicKey({
        key: Buffer.from(crypto.encodePublicKey(algorithm, publicKey)),
        format: 'der',
        type: 'spki',
      })
      expect(nodeVerify(null, message, nodeKey, signature)).toBe(true)
      expect(crypto.verify(algorithm, publicKey, message, signature)).toBe(true)
      expect(crypto.verify(algorithm, publicKey, Buffer.from('another'), signature)).toBe(false)
      expect(crypto.verify(algorithm, crypto.generateKeyPair(algorithm).publicKey, message, signature)).toBe(false)
      expect(crypto.verify(algorithm, publicKey, message, signature.subarray(1))).toBe(false)
      expect(crypto.verify(algorithm, publicKey.subarray(1), message, signature)).toBe(false)
      expect(crypto.verify(algorithm, Buffer.alloc(publicKey.length, 0xff), message, signature)).toBe(false)
      signature[5] = (signature[5] ?? 0) ^ 1
      expect(crypto.verify(algorithm, publicKey, message, signature)).toBe(false)
    },
  )

  it.each(SIGNERS)('%s: a private key buffer that got other bytes signs with those', algorithm => {
    const [first, second] = [crypto.generateKeyPair(algorithm), crypto.generateKeyPair(algorithm)]
    const reused = Buffer.from(first.privateKey)
    const firstSignature = crypto.sign(algorithm, reused, message)
    expect(crypto.verify(algorithm, first.publicKey, message, firstSignature)).toBe(true)
    reused.set(second.privateKey)
    expect(crypto.verify(algorithm, second.publicKey, message, crypto.sign(algorithm, reused, message))).toBe(true)
  })
})

describe('Diffie-Hellman', () => {
  it.each([
    { algorithm: 'x25519', dh: crypto.x25519 },
    { algorithm: 'x448', dh: crypto.x448 },
  ] as const)('$algorithm: both sides get the same; a key of small order is CRYPTO_BAD_KEY', ({ algorithm, dh }) => {
    const [a, b] = [crypto.generateKeyPair(algorithm), crypto.generateKeyPair(algorithm)]
    expect(dh(a.privateKey, b.publicKey)).toEqual(dh(b.privateKey, a.publicKey))
    expect(codeOf(() => dh(a.privateKey, Buffer.alloc(a.publicKey.length)))).toBe('CRYPTO_BAD_KEY')
    const one = Buffer.alloc(a.publicKey.length)
    one[0] = 1
    expect(codeOf(() => dh(a.privateKey, one))).toBe('CRYPTO_BAD_KEY')
    expect(codeOf(() => dh(a.privateKey, b.publicKey.subarray(1)))).toBe('CRYPTO_KEY_SIZE')
    expect(codeOf(() => dh(a.privateKey.subarray(1), b.publicKey))).toBe('CRYPTO_KEY_SIZE')
  })

  it('every other 32 bytes are an X25519 key', () => {
    const { privateKey } = crypto.generateKeyPair('x25519')
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), publicKey => {
        fc.pre(publicKey.slice(1).some(byte => byte !== 0 && byte !== 255))
        expect(crypto.x25519(privateKey, publicKey)).toHaveLength(32)
      }),
    )
  })
})
