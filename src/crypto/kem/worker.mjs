/**
 * The thread that the KEM runs in; threadKem.ts is its other end. It does one job after the other and answers in the same order.
 * Plain JavaScript, so that the same file runs from the sources and from the build.
 */
import { randomBytes } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { decapsulate, encapsulate, generateKeyPair } from './sntrup761.mjs'

/**
 * @typedef {{ readonly type: 'generate' }
 *   | { readonly type: 'encapsulate', readonly publicKey: Uint8Array }
 *   | { readonly type: 'decapsulate', readonly ciphertext: Uint8Array, readonly privateKey: Uint8Array }} KemRequest
 * @typedef {readonly [Uint8Array] | readonly [Uint8Array, Uint8Array]} KemAnswer
 */

/**
 * @param {KemRequest} request
 * @returns {[Uint8Array] | [Uint8Array, Uint8Array]}
 */
const done = request => {
  switch (request.type) {
    case 'generate': {
      const { publicKey, privateKey } = generateKeyPair(randomBytes)
      return [publicKey, privateKey]
    }
    case 'encapsulate': {
      const { ciphertext, sharedSecret } = encapsulate(request.publicKey, randomBytes)
      return [ciphertext, sharedSecret]
    }
    case 'decapsulate': {
      const sharedSecret = decapsulate(request.ciphertext, request.privateKey)
      request.privateKey.fill(0)
      return [sharedSecret]
    }
  }
}

parentPort?.on('message', (/** @type {KemRequest} */ request) => {
  const answer = done(request)
  parentPort?.postMessage(
    answer,
    answer.map(({ buffer }) => /** @type {ArrayBuffer} */ (buffer)),
  )
})
