import { PrivateKey } from '@signalapp/libsignal-client'
import type { Bytes } from '../encoding/index.js'
import { CryptoError, DecodeError } from '../errors.js'
import { native } from './crypto/bytes.js'
import type { ProvisioningKey } from './crypto/provisioning.js'
import { isAci, pniOf, serviceIdOf } from './wire/serviceId.js'

/** What the primary device gives to a device that it links: the account with its keys. */
export interface Provision {
  readonly aci: string
  readonly pni: string | null
  readonly e164: string | null
  readonly aciIdentityKey: Bytes
  readonly pniIdentityKey: Bytes | null
  readonly profileKey: Bytes | null
  /** What the server registers the device by, once. */
  readonly code: string
}

/** Opens and checks it. Throws CryptoError, DecodeError. */
export const readProvision = (key: ProvisioningKey, envelope: Bytes): Provision => {
  const message = key.open(envelope)
  const { aciBinary, aci, pniBinary, number, provisioningCode, profileKey } = message
  const { aciIdentityKeyPrivate: aciKey, pniIdentityKeyPrivate: pniKey } = message
  const id = aciBinary === undefined ? aci : serviceIdOf(aciBinary)
  if (id === undefined || !isAci(id) || aciKey === undefined || provisioningCode === undefined)
    throw new DecodeError('DECODE_PROVISION', 'the primary device has left out what a device needs', {
      field: 'provision',
      hint: 'ask for a new link and scan it again',
    })
  return {
    aci: id,
    pni: pniBinary === undefined ? null : pniOf(pniBinary),
    e164: number ?? null,
    aciIdentityKey: identityKey(aciKey),
    pniIdentityKey: pniKey === undefined ? null : identityKey(pniKey),
    profileKey: profileKey?.length === 32 ? profileKey : null,
    code: provisioningCode,
  }
}

const identityKey = (bytes: Bytes): Bytes => {
  try {
    return PrivateKey.deserialize(native(bytes)).serialize()
  } catch (cause) {
    throw new CryptoError('CRYPTO_PROVISIONING', 'the primary device has sent a key that is none', {
      field: 'provision',
      cause,
    })
  }
}
