import { createCipheriv, createHmac } from 'node:crypto'
import { PrivateKey } from '@signalapp/libsignal-client'
import type { Bytes } from '../../encoding/index.js'
import { encode, one, schema } from '../wire/codec.js'
import { native } from './bytes.js'

const deviceName = schema('DeviceName', {
  ephemeralPublic: one(1, 'bytes'),
  syntheticIv: one(2, 'bytes'),
  ciphertext: one(3, 'bytes'),
})

const hmac = (key: Bytes, data: Bytes | string): Buffer => createHmac('sha256', key).update(data).digest()

/** The name of this device, for the account’s own devices only: encrypted to the account’s identity key; base64. */
export const encryptedDeviceName = (name: string, identityKey: Bytes): string => {
  const ephemeral = PrivateKey.generate()
  const secret = ephemeral.agree(PrivateKey.deserialize(native(identityKey)).getPublicKey())
  const plaintext = Buffer.from(name)
  const syntheticIv = hmac(hmac(secret, 'auth'), plaintext).subarray(0, 16)
  const cipher = createCipheriv('aes-256-ctr', hmac(hmac(secret, 'cipher'), syntheticIv), Buffer.alloc(16))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const ephemeralPublic = ephemeral.getPublicKey().serialize()
  return Buffer.from(encode(deviceName, { ephemeralPublic, syntheticIv, ciphertext })).toString('base64')
}
