import { hkdfSync } from 'node:crypto'
import * as fc from 'fast-check'
import sodium from 'sodium-native'
import { describe, expect, it } from 'vitest'
import * as crypto from '../../src/crypto/index.js'
import { codeOf, onlyTypedErrors } from '../encoding/fuzz.js'

const [alice, bob] = [crypto.generateKeyPair('x25519'), crypto.generateKeyPair('x25519')]
const key = crypto.boxSecret(crypto.x25519(alice.privateKey, bob.publicKey))
const nonce = Buffer.alloc(24, 3)
const message = fc.uint8Array({ maxLength: 500 })

describe('crypto_box', () => {
  it('is the one of the NaCl library', () => {
    fc.assert(
      fc.property(message, plaintext => {
        const expected = Buffer.alloc(plaintext.length + 16)
        sodium.crypto_box_easy(
          expected,
          Buffer.from(plaintext),
          nonce,
          Buffer.from(bob.publicKey),
          Buffer.from(alice.privateKey),
        )
        expect(crypto.cbEncryptNoPad(key, nonce, plaintext)).toEqual(expected)
      }),
    )
  })

  it('opens what it sealed, padded and in place', () => {
    fc.assert(
      fc.property(message, fc.nat(100), (plaintext, extra) => {
        const packet = crypto.cbEncrypt(key, nonce, plaintext, plaintext.length + 2 + extra)
        expect(packet).toHaveLength(plaintext.length + 18 + extra)
        expect(Uint8Array.from(crypto.cbDecrypt(key, nonce, packet))).toEqual(plaintext)
        expect(Uint8Array.from(crypto.unpad(crypto.openInPlace(key, nonce, packet)))).toEqual(plaintext)
      }),
    )
  })

  it('any changed bit is CRYPTO_BOX, and opening in place leaves the packet as it was', () => {
    const packet = crypto.cbEncryptNoPad(key, nonce, Buffer.from('secret'))
    fc.assert(
      fc.property(fc.nat(packet.length * 8 - 1), bit => {
        const tampered = Buffer.from(packet)
        tampered[bit >> 3] = (tampered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const copy = Buffer.from(tampered)
        expect(codeOf(() => crypto.cbDecryptNoPad(key, nonce, tampered))).toBe('CRYPTO_BOX')
        expect(codeOf(() => crypto.openInPlace(key, nonce, tampered))).toBe('CRYPTO_BOX')
        expect(tampered).toEqual(copy)
      }),
    )
    expect(codeOf(() => crypto.cbDecryptNoPad(key, Buffer.alloc(24), packet))).toBe('CRYPTO_BOX')
    const otherKey = crypto.boxSecret(Buffer.alloc(32, 9))
    expect(codeOf(() => crypto.cbDecryptNoPad(otherKey, nonce, packet))).toBe('CRYPTO_BOX')
  })

  it('wrong sizes are typed errors', () => {
    expect(codeOf(() => crypto.boxSecret(Buffer.alloc(31)))).toBe('CRYPTO_KEY_SIZE')
    expect(codeOf(() => crypto.cbEncryptNoPad(key, Buffer.alloc(23), Buffer.alloc(1)))).toBe('CRYPTO_NONCE_SIZE')
    expect(codeOf(() => crypto.cbEncrypt(key, nonce, Buffer.alloc(15), 16))).toBe('LARGE_MSG')
    expect(codeOf(() => crypto.cbEncrypt(key, nonce, Buffer.alloc(0), -1))).toBe('LARGE_MSG')
    for (const length of [0, 1, 15]) {
      expect(codeOf(() => crypto.cbDecryptNoPad(key, nonce, Buffer.alloc(length)))).toBe('CRYPTO_BOX')
      expect(codeOf(() => crypto.openInPlace(key, nonce, Buffer.alloc(length)))).toBe('CRYPTO_BOX')
    }
  })

  it('hostile packets are typed errors', () => {
    onlyTypedErrors(bytes => crypto.cbDecrypt(key, nonce, bytes), [crypto.cbEncrypt(key, nonce, Buffer.from('hi'), 20)])
  })
})

describe('authenticators', () => {
  it('hold for one message, nonce and pair of keys only', () => {
    const authenticator = crypto.cbAuthenticate(bob.publicKey, alice.privateKey, nonce, Buffer.from('command'))
    const check = (publicKey: Uint8Array, privateKey: Uint8Array, at: Uint8Array, text: string) =>
      crypto.cbVerify(publicKey, privateKey, at, authenticator, Buffer.from(text))
    expect(authenticator).toHaveLength(crypto.AUTHENTICATOR_BYTES)
    expect(check(alice.publicKey, bob.privateKey, nonce, 'command')).toBe(true)
    expect(check(alice.publicKey, bob.privateKey, nonce, 'commanD')).toBe(false)
    expect(check(alice.publicKey, bob.privateKey, Buffer.alloc(24), 'command')).toBe(false)
    expect(check(bob.publicKey, bob.privateKey, nonce, 'command')).toBe(false)
    expect(check(Buffer.alloc(32), bob.privateKey, nonce, 'command')).toBe(false)
    expect(
      crypto.cbVerify(alice.publicKey, bob.privateKey, nonce, authenticator.subarray(1), Buffer.from('command')),
    ).toBe(false)
  })
})

describe('padding', () => {
  it('unpads what it padded; anything shorter than its length says is a typed error', () => {
    fc.assert(
      fc.property(message, fc.nat(100), (bytes, extra) => {
        const padded = crypto.pad(bytes, bytes.length + 2 + extra)
        expect(padded).toHaveLength(bytes.length + 2 + extra)
        expect(Uint8Array.from(crypto.unpad(padded))).toEqual(bytes)
      }),
    )
    onlyTypedErrors(bytes => crypto.unpad(bytes), [crypto.pad(Buffer.from('abc'), 10)])
    expect(codeOf(() => crypto.unpad(Buffer.of(0, 1)))).toBe('DECODE_TRUNCATED')
    expect(codeOf(() => crypto.unpad(Buffer.of(0)))).toBe('DECODE_TRUNCATED')
    expect(codeOf(() => crypto.pad(Buffer.alloc(65_534), 70_000))).toBe('LARGE_MSG')
    expect(crypto.unpad(crypto.pad(Buffer.alloc(65_533), 70_000))).toHaveLength(65_533)
  })
})

describe('HKDF-SHA512', () => {
  it('is the one of node:crypto, for every length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        message,
        fc.string({ maxLength: 30, unit: 'grapheme-ascii' }),
        fc.integer({ min: 1, max: 400 }),
        (salt, ikm, info, length) => {
          const expected = Buffer.from(hkdfSync('sha512', ikm, salt, info, length))
          expect(crypto.hkdfSha512(salt, ikm, info, length)).toEqual(expected)
        },
      ),
    )
    expect(crypto.hkdfSha512(Buffer.alloc(0), Buffer.alloc(0), '', 0)).toHaveLength(0)
    expect(codeOf(() => crypto.hkdfSha512(Buffer.alloc(0), Buffer.alloc(0), '', 255 * 64 + 1))).toBe('INTERNAL')
  })
})

describe('AES-256-GCM', () => {
  it('opens what it sealed with either IV; a change anywhere is CRYPTO_AES', () => {
    const aesKey = Buffer.alloc(32, 1)
    fc.assert(
      fc.property(message, fc.constantFrom(12, 16), fc.nat(), (plaintext, ivLength, at) => {
        const iv = Buffer.alloc(ivLength, 2)
        const { ciphertext, tag } = crypto.aesEncrypt(aesKey, iv, Buffer.from('aad'), plaintext)
        const open = (aad: string, text: Uint8Array, withTag: Uint8Array) =>
          crypto.aesDecrypt(aesKey, iv, Buffer.from(aad), text, withTag)
        expect(Uint8Array.from(open('aad', ciphertext, tag))).toEqual(plaintext)
        const changed = Buffer.concat([ciphertext, tag])
        changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ 1
        const [text, changedTag] = [changed.subarray(0, ciphertext.length), changed.subarray(ciphertext.length)]
        expect(codeOf(() => open('aad', text, changedTag))).toBe('CRYPTO_AES')
        expect(codeOf(() => open('bad', ciphertext, tag))).toBe('CRYPTO_AES')
        expect(codeOf(() => open('aad', ciphertext, tag.subarray(4)))).toBe('CRYPTO_AES')
      }),
    )
    expect(codeOf(() => crypto.aesEncrypt(aesKey, Buffer.alloc(8), Buffer.alloc(0), Buffer.alloc(1)))).toBe(
      'CRYPTO_IV_SIZE',
    )
    expect(codeOf(() => crypto.aesEncrypt(nonce, Buffer.alloc(16), nonce, Buffer.alloc(1)))).toBe('CRYPTO_KEY_SIZE')
  })
})

describe('comparison in constant time', () => {
  it('is true for equal bytes only', () => {
    expect(crypto.equalConstantTime(Buffer.from('ab'), Buffer.from('ab'))).toBe(true)
    expect(crypto.equalConstantTime(Buffer.from('ab'), Buffer.from('ac'))).toBe(false)
    expect(crypto.equalConstantTime(Buffer.from('ab'), Buffer.from('abc'))).toBe(false)
  })
})
