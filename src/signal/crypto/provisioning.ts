import { createDecipheriv, createHmac } from 'node:crypto'
import { hkdf, PrivateKey, PublicKey } from '@signalapp/libsignal-client'
import { equalConstantTime } from '../../crypto/index.js'
import type { Bytes } from '../../encoding/index.js'
import { CryptoError } from '../../errors.js'
import { decode, type MessageOf } from '../wire/codec.js'
import { provisionEnvelope, provisionMessage } from '../wire/messages.js'
import { native } from './bytes.js'

/** The key of one linking attempt, and the link that a primary device scans. */
export interface ProvisioningKey {
  link(address: string): string
  /** Opens what the primary device has sent. Throws CryptoError CRYPTO_PROVISIONING, DecodeError DECODE_PROTOBUF. */
  open(envelope: Bytes): MessageOf<typeof provisionMessage>
}

const ivLength = 16
const macLength = 32

export const provisioningKey = (): ProvisioningKey => {
  const key = PrivateKey.generate()
  const publicKey = Buffer.from(key.getPublicKey().serialize()).toString('base64')
  return {
    link: address => {
      const query = new URLSearchParams({ uuid: address, pub_key: publicKey })
      return `sgnl://linkdevice?${query.toString()}`
    },
    open: bytes => {
      const { publicKey: theirs, body } = decode(provisionEnvelope, bytes)
      if (theirs === undefined || body === undefined || body.length < 1 + ivLength + macLength || body[0] !== 1)
        throw refused()
      const secret = key.agree(publicKeyOf(theirs))
      const keys = Buffer.from(hkdf(64, secret, native(Buffer.from('TextSecure Provisioning Message')), null))
      const macked = body.subarray(0, body.length - macLength)
      const mac = createHmac('sha256', keys.subarray(32)).update(macked).digest()
      if (!equalConstantTime(mac, body.subarray(body.length - macLength))) throw refused()
      const cipher = createDecipheriv('aes-256-cbc', keys.subarray(0, 32), macked.subarray(1, 1 + ivLength))
      try {
        return decode(provisionMessage, Buffer.concat([cipher.update(macked.subarray(1 + ivLength)), cipher.final()]))
      } catch {
        throw refused()
      }
    },
  }
}

const publicKeyOf = (bytes: Bytes): PublicKey => {
  try {
    return PublicKey.deserialize(native(bytes))
  } catch {
    throw refused()
  }
}

const refused = (): CryptoError =>
  new CryptoError('CRYPTO_PROVISIONING', 'what the primary device sent cannot be opened', {
    field: 'envelope',
    hint: 'ask for a new link and scan it again',
  })
