import { DecodeError } from '../../errors.js'

/** A service id as text: a UUID (ACI) or `PNI:` and a UUID. */
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export const isAci = (text: string): boolean => uuid.test(text)
export const isPni = (text: string): boolean => text.startsWith('PNI:') && uuid.test(text.slice(4))
/** Devices of an account have ids from 1, the primary’s, to 127. */
export const isDeviceId = (id: number): boolean => Number.isInteger(id) && id >= 1 && id <= 127
export const isE164 = (text: string): boolean => /^\+[1-9]\d{6,14}$/.test(text)

/** 16 bytes are an ACI; 17 bytes begin with the kind, 1 for a PNI. Throws DecodeError DECODE_SERVICE_ID. */
export const serviceIdOf = (bytes: Uint8Array): string => {
  const hex = Buffer.from(bytes).toString('hex')
  if (bytes.length === 16) return uuidOf(hex)
  if (bytes.length === 17 && bytes[0] === 1) return `PNI:${uuidOf(hex.slice(2))}`
  throw new DecodeError('DECODE_SERVICE_ID', 'the bytes are no service id', { field: 'serviceId' })
}

export const pniOf = (rawUuid: Uint8Array): string => `PNI:${serviceIdOf(rawUuid.subarray(0, 16))}`

/** The binary form of a service id; the bare UUID of an ACI. */
export const serviceIdBytes = (serviceId: string): Uint8Array => {
  const raw = Buffer.from(serviceId.replace('PNI:', '').replaceAll('-', ''), 'hex')
  return isPni(serviceId) ? Buffer.concat([Buffer.of(1), raw]) : raw
}

const uuidOf = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
