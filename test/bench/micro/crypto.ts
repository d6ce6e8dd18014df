import {
  aesDecrypt,
  aesEncrypt,
  boxSecret,
  cbDecrypt,
  cbEncrypt,
  generateKeyPair,
  hkdfSha512,
  sha256,
  sign,
  systemRandom,
  verify,
  x25519,
  x448,
} from '../../../src/crypto/index.js'
import { BlockCipher } from '../../../src/smp/protocol/block.js'
import { type Case, must } from './cases.js'

const large = 16_000

/** The cryptography that messages and handshakes are made of. Keys are fresh, so that what is remembered of a key counts once. */
export const cryptoCases = (): Case[] => {
  const random = systemRandom
  const body = random(large)
  const key = random(32)
  const iv = random(16)
  const aad = random(112)
  const nonce = random(24)
  const box = boxSecret(random(32))
  const boxed = cbEncrypt(box, nonce, body, large + 2)
  const sealed = aesEncrypt(key, iv, aad, body)
  const signer = generateKeyPair('ed25519')
  const signature = sign('ed25519', signer.privateKey, body)
  const [a448, b448] = [generateKeyPair('x448'), generateKeyPair('x448')]
  const [a25519, b25519] = [generateKeyPair('x25519'), generateKeyPair('x25519')]
  const [sessionId, secret] = [random(32), random(32)]
  const client = new BlockCipher('client', sessionId, secret)
  const pair = {
    client: new BlockCipher('client', sessionId, secret),
    router: new BlockCipher('router', sessionId, secret),
  }
  return [
    { name: 'X448 key pair', run: () => void generateKeyPair('x448') },
    { name: 'X448 DH, key known', run: () => void x448(a448.privateKey, b448.publicKey) },
    { name: 'X448 DH, new key', run: () => void x448(Buffer.from(a448.privateKey), b448.publicKey) },
    { name: 'X25519 key pair', run: () => void generateKeyPair('x25519') },
    { name: 'X25519 DH', run: () => void x25519(a25519.privateKey, b25519.publicKey) },
    { name: 'Ed25519 sign 16 KB', run: () => void sign('ed25519', signer.privateKey, body) },
    {
      name: 'Ed25519 verify 16 KB',
      run: () => void must(verify('ed25519', signer.publicKey, body, signature), 'verify'),
    },
    { name: 'box 16 KB, seal', run: () => void cbEncrypt(box, nonce, body, large + 2) },
    { name: 'box 16 KB, open', run: () => void cbDecrypt(box, nonce, boxed) },
    { name: 'box key from a secret', run: () => void boxSecret(key) },
    { name: 'AES-256-GCM 16 KB, encrypt', run: () => void aesEncrypt(key, iv, aad, body) },
    {
      name: 'AES-256-GCM 16 KB, decrypt',
      run: () => void aesDecrypt(key, iv, aad, sealed.ciphertext, sealed.tag),
    },
    { name: 'HKDF-SHA512, 88 bytes', run: () => void hkdfSha512(key, secret, 'SimpleXSbChain', 88) },
    { name: 'SHA-256 16 KB', run: () => void sha256(body) },
    { name: 'block encrypt', run: () => void client.encrypt(body) },
    { name: 'block encrypt and decrypt', run: () => void pair.router.decrypt(pair.client.encrypt(body)) },
  ]
}
