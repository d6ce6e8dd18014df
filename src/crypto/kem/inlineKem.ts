import { asBuffer } from '../../encoding/bytes.js'
import { type Random, systemRandom } from '../random.js'
import { checkKemSize, type Kem } from './port.js'
import { decapsulate, encapsulate, generateKeyPair } from './sntrup761.mjs'

/**
 * The KEM in the thread of its caller: each operation holds that thread up for milliseconds. For tests and simulations, which
 * hand in seeded randomness and need every run to take the same steps.
 */
export const inlineKem = (random: Random = systemRandom): Kem => ({
  generateKeyPair: async () => {
    const { publicKey, privateKey } = generateKeyPair(random)
    return { publicKey: asBuffer(publicKey), privateKey: asBuffer(privateKey) }
  },
  encapsulate: async publicKey => {
    checkKemSize('publicKey', publicKey)
    const { ciphertext, sharedSecret } = encapsulate(publicKey, random)
    return { ciphertext: asBuffer(ciphertext), sharedSecret: asBuffer(sharedSecret) }
  },
  decapsulate: async (ciphertext, privateKey) => {
    checkKemSize('ciphertext', ciphertext)
    checkKemSize('privateKey', privateKey)
    return asBuffer(decapsulate(ciphertext, privateKey))
  },
})
