import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeRq,
  decodeRounded,
  decodeSmall,
  encodeRq,
  encodeRounded,
  encodeSmall,
} from '../../src/crypto/kem/coding.mjs'
import { multiply, P, Q, reciprocal, reduce, shortFrom, smallFrom, WEIGHT } from '../../src/crypto/kem/ring.mjs'
import { decapsulate, encapsulate, generateKeyPair } from '../../src/crypto/kem/sntrup761.mjs'
import { toHex } from '../vectors/load.js'

/** Bytes that a C program can make too: the top byte of a xorshift generator. */
const seeded = (seed: number) => {
  let state = Math.imul(seed, 2654435761) >>> 0
  return (length: number): Uint8Array =>
    Uint8Array.from({ length }, () => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return (state >>>= 0) >>> 24
    })
}

/**
 * SHA-256 of public key, private key, ciphertext and secret, and the secret of the ciphertext with bit 0 of byte 5 turned, as the
 * authors' C program makes them from the same random bytes.
 */
const known = [
  {
    seed: 1,
    digest: '2fb4c325b46c9029451d0c42827e4d112294896eb5744216d2ed378fd157f1f6',
    rejected: 'c0922b154d92e19eea8523275c50b48537c8df92b19119813575035c37d0b61c',
  },
  {
    seed: 2,
    digest: '46c66215d08ade234416dfcc87102ad3a9f81fd3d251f91efcf8e11fedd3ccfb',
    rejected: '8f26774cf2570f5496e1d41c7b70aa2adfabd3bd4eedc819cd0047492fce75a3',
  },
  {
    seed: 3,
    digest: 'cb663ce15116277d1597b316d9a492aaf6427e2ca76fd1b718f407f7c49d6e54',
    rejected: 'b795e3f1b499620fab0507cad642de7295b30f6e47eba1821ca06b4ffa9aee5b',
  },
  {
    seed: 4,
    digest: '11a186f7ad87977caf887774e813bc98db601e0940c45bf3a4067e10c323660a',
    rejected: '47b9587b24382d9776077c1ea44a8be9df07d6e93e7f2c0b7025a2420100efab',
  },
]

const polynomial = (modulus: number) => {
  const half = (modulus - 1) / 2
  return fc
    .array(fc.integer({ min: -half, max: half }), { minLength: P, maxLength: P })
    .map(list => Float64Array.from(list))
}

/** Without the sign of zeros, which doubles have. */
const plain = (f: Float64Array): number[] => Array.from(f, x => x + 0)

describe('sntrup761', () => {
  it.each(known)('seed $seed: every byte as by the authors’ program', ({ seed, digest, rejected }) => {
    const random = seeded(seed)
    const { publicKey, privateKey } = generateKeyPair(random)
    const { ciphertext, sharedSecret } = encapsulate(publicKey, random)
    const hash = createHash('sha256')
    for (const bytes of [publicKey, privateKey, ciphertext, sharedSecret]) hash.update(bytes)
    expect(hash.digest('hex')).toBe(digest)
    expect(decapsulate(ciphertext, privateKey)).toEqual(sharedSecret)
    ciphertext[5] = (ciphertext[5] as number) ^ 1
    expect(toHex(decapsulate(ciphertext, privateKey))).toBe(rejected)
  })

  it('takes other random bytes while the first ones give no inverse', () => {
    const zeros = Buffer.alloc(4 * P)
    for (let i = 0; i < P; i++) zeros.writeUInt32LE(0x20000000, 4 * i)
    expect(plain(smallFrom(zeros)).every(x => x === 0)).toBe(true)
    const random = seeded(1)
    let calls = 0
    const { privateKey } = generateKeyPair(length => (calls++ === 0 ? zeros : random(length)))
    expect(toHex(privateKey)).toBe(toHex(generateKeyPair(seeded(1)).privateKey))
  })

  it('any changed byte of a ciphertext gives the secret of rejection', () => {
    const random = seeded(9)
    const { publicKey, privateKey } = generateKeyPair(random)
    const { ciphertext, sharedSecret } = encapsulate(publicKey, random)
    fc.assert(
      fc.property(fc.nat(ciphertext.length - 1), fc.integer({ min: 1, max: 255 }), (index, mask) => {
        const tampered = Uint8Array.from(ciphertext)
        tampered[index] = (tampered[index] as number) ^ mask
        const secret = decapsulate(tampered, privateKey)
        expect(secret).not.toEqual(sharedSecret)
        expect(secret).toEqual(decapsulate(tampered, privateKey))
      }),
      { numRuns: 50 },
    )
  })
})

describe('the polynomials of sntrup761', () => {
  it('coefficients are reduced to the nearest, up to the largest sums that occur', () => {
    for (const modulus of [3, Q]) {
      const half = (modulus - 1) / 2
      const largest = modulus === Q ? 2 * half * half : 2 * P
      for (let x = -largest; x <= largest; x += modulus === Q ? 7 : 1) {
        const rest = reduce(x, modulus)
        if (Math.abs(rest) > half || (x - rest) % modulus !== 0)
          throw new Error(`${x} modulo ${modulus} is not ${rest}`)
      }
    }
  })

  it('a polynomial times its reciprocal is 1', () => {
    const one = [1, ...Array.from({ length: P - 1 }, () => 0)]
    fc.assert(
      fc.property(polynomial(3), f => {
        for (const [modulus, scale] of [
          [3, 1],
          [Q, 3],
        ] as const) {
          const inverse = reciprocal(f, modulus, scale)
          if (inverse === undefined) continue
          const product = multiply(inverse, f, modulus).map(x => reduce(scale * x, modulus))
          expect(plain(product)).toEqual(one)
        }
      }),
      { numRuns: 20 },
    )
  })

  it('products are those of the definition', () => {
    fc.assert(
      fc.property(polynomial(Q), polynomial(3), (f, g) => {
        const long = Array.from({ length: 2 * P - 1 }, () => 0)
        for (const [i, a] of f.entries())
          for (const [j, b] of g.entries()) long[i + j] = (long[i + j] as number) + a * b
        // x^761 = x + 1
        for (let i = 2 * P - 2; i >= P; i--) {
          for (const k of [i - P, i - P + 1]) long[k] = (long[k] as number) + (long[i] as number)
        }
        expect(plain(multiply(f, g, Q))).toEqual(long.slice(0, P).map(x => reduce(x, Q) + 0))
      }),
      { numRuns: 5 },
    )
  })

  it('short polynomials have their weight, and are made by every random number', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4 * P, maxLength: 4 * P }), bytes => {
        const f = plain(shortFrom(bytes))
        expect(f.filter(x => x !== 0)).toHaveLength(WEIGHT)
        expect(f.every(x => Math.abs(x) <= 1)).toBe(true)
        const words = Array.from({ length: P }, (_, i) => Buffer.from(bytes).readUInt32LE(4 * i))
        const sorted = words.map((word, i) => (i < WEIGHT ? word & ~1 : (word & ~3) | 1) >>> 0).sort((a, b) => a - b)
        expect(f).toEqual(sorted.map(word => (word & 3) - 1))
      }),
      { numRuns: 30 },
    )
  })

  it('are coded both ways', () => {
    fc.assert(
      fc.property(polynomial(Q), polynomial(3), (f, small) => {
        expect(plain(decodeRq(encodeRq(f)))).toEqual(plain(f))
        expect(encodeRq(f)).toHaveLength(1158)
        expect(plain(decodeSmall(encodeSmall(small)))).toEqual(plain(small))
        expect(encodeSmall(small)).toHaveLength(191)
        const rounded = f.map(x => x - reduce(x, 3))
        expect(plain(decodeRounded(encodeRounded(rounded)))).toEqual(plain(rounded))
        expect(encodeRounded(rounded)).toHaveLength(1007)
      }),
      { numRuns: 30 },
    )
  })

  it('any bytes are read as coefficients in their range', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1158, maxLength: 1158 }), bytes => {
        for (const f of [decodeRq(bytes), decodeRounded(bytes.subarray(0, 1007))]) {
          expect(f).toHaveLength(P)
          expect(plain(f).every(x => Number.isInteger(x) && Math.abs(x) <= (Q - 1) / 2)).toBe(true)
        }
      }),
      { numRuns: 30 },
    )
  })
})
