import {
  KEMKeyPair,
  KyberPreKeyRecord,
  PreKeyRecord,
  PrivateKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client'
import type { Bytes } from '../../encoding/index.js'
import { native } from './bytes.js'

/** A new prekey: the private record that is stored, and the public half that is uploaded. */
export interface NewPreKey {
  readonly keyId: number
  readonly record: Bytes
  readonly upload: { readonly keyId: number; readonly publicKey: string; readonly signature?: string }
}

const base64 = (bytes: Bytes): string => Buffer.from(bytes).toString('base64')

export const newSignedPreKey = (identity: Bytes, keyId: number, now: number): NewPreKey => {
  const key = PrivateKey.generate()
  const publicKey = key.getPublicKey()
  const signature = PrivateKey.deserialize(native(identity)).sign(publicKey.serialize())
  const record = SignedPreKeyRecord.new(keyId, now, publicKey, key, signature)
  const upload = { keyId, publicKey: base64(publicKey.serialize()), signature: base64(signature) }
  return { keyId, record: record.serialize(), upload }
}

export const newKyberPreKey = (identity: Bytes, keyId: number, now: number): NewPreKey => {
  const pair = KEMKeyPair.generate()
  const publicKey = pair.getPublicKey().serialize()
  const signature = PrivateKey.deserialize(native(identity)).sign(publicKey)
  const record = KyberPreKeyRecord.new(keyId, now, pair, signature)
  return {
    keyId,
    record: record.serialize(),
    upload: { keyId, publicKey: base64(publicKey), signature: base64(signature) },
  }
}

export const newOneTimePreKey = (keyId: number): NewPreKey => {
  const key = PrivateKey.generate()
  const publicKey = key.getPublicKey()
  const record = PreKeyRecord.new(keyId, publicKey, key)
  return { keyId, record: record.serialize(), upload: { keyId, publicKey: base64(publicKey.serialize()) } }
}
