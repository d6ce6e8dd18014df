import { describe, expect, it } from 'vitest'
import { inlineKem, KEM_BYTES } from '../../src/crypto/index.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('sntrup761')
const cases: Vector[] = vectors['cases']
const kem = inlineKem()

describe('sntrup761.json', () => {
  it('sizes', () => {
    const { publicKey, secretKey, ciphertext, sharedSecret } = vectors['sizes']
    expect(KEM_BYTES).toEqual({ publicKey, privateKey: secretKey, ciphertext, sharedSecret })
  })

  it.each(cases.map((known, index) => [index, known] as const))(
    'case %i: the secret of a ciphertext',
    async (_, known) => {
      const secret = await kem.decapsulate(hex(known['ciphertext']), hex(known['secretKey']))
      expect(toHex(secret)).toBe(known['sharedSecret'])
    },
  )

  it.each(cases.map((known, index) => [index, known] as const))(
    'case %i: another ciphertext is rejected with another secret',
    async (_, known) => {
      // As the note of the file says, in every case.
      const tampered = Buffer.from(hex(known['ciphertext']))
      tampered[0] = ((tampered[0] as number) + 1) & 255
      const secret = await kem.decapsulate(tampered, hex(known['secretKey']))
      expect(toHex(secret)).toBe(known['tamperedSharedSecret'])
    },
  )

  it('the public key is in the private one, and what is made with it opens with it', async () => {
    for (const known of cases) {
      const publicKey = hex(known['publicKey'])
      const privateKey = hex(known['secretKey'])
      expect(toHex(privateKey.subarray(382, 382 + publicKey.length))).toBe(known['publicKey'])
      const { ciphertext, sharedSecret } = await kem.encapsulate(publicKey)
      expect(await kem.decapsulate(ciphertext, privateKey)).toEqual(sharedSecret)
    }
  })
})
