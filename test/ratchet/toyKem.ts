import { type Kem, KEM_BYTES, type Random, sha256, systemRandom } from '../../src/crypto/index.js'

/**
 * A KEM that keeps nothing secret but has the sizes and answers of a real one in microseconds: for conversations of thousands of
 * turns. The private key begins with the public one, and a ciphertext with the number that the secret is made of.
 */
export const toyKemFrom = (random: Random): Kem => ({
  generateKeyPair: async () => {
    const publicKey = random(KEM_BYTES.publicKey)
    const privateKey = Buffer.alloc(KEM_BYTES.privateKey)
    privateKey.set(publicKey)
    return { publicKey, privateKey }
  },
  encapsulate: async publicKey => {
    const ciphertext = random(KEM_BYTES.ciphertext)
    return { ciphertext, sharedSecret: secretOf(publicKey, ciphertext) }
  },
  decapsulate: async (ciphertext, privateKey) => secretOf(privateKey.subarray(0, KEM_BYTES.publicKey), ciphertext),
})

export const toyKem = toyKemFrom(systemRandom)

const secretOf = (publicKey: Uint8Array, ciphertext: Uint8Array) => sha256(Buffer.concat([publicKey, ciphertext]))
