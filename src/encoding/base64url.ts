import { DecodeError } from '../errors.js'
import { asBuffer, type Bytes } from './bytes.js'

const ALPHABET = /^[A-Za-z0-9_-]*(={0,2})$/

/** base64url with `=` padding: how keys and fingerprints stand in links and addresses. */
export const toBase64url = (bytes: Bytes): string => {
  const text = toBase64urlUnpadded(bytes)
  return text + '='.repeat((4 - (text.length % 4)) % 4)
}

/** base64url without padding: how short links are written. */
export const toBase64urlUnpadded = (bytes: Bytes): string => asBuffer(bytes).toString('base64url')

/**
 * Reads base64url, padded or not. Throws `DECODE_INVALID` for characters outside of the alphabet, a wrong length or padding,
 * and bits that no encoder writes, so that one value has one form.
 */
export const fromBase64url = (text: string, field: string): Bytes => {
  const padding = ALPHABET.exec(text)?.[1]
  if (padding === undefined) throw invalid(field)
  const digits = padding === '' ? text : text.slice(0, -padding.length)
  const paddingNeeded = (4 - (digits.length % 4)) % 4
  if (paddingNeeded === 3 || (padding !== '' && padding.length !== paddingNeeded)) throw invalid(field)
  const bytes = Buffer.from(digits, 'base64url')
  if (bytes.toString('base64url') !== digits) throw invalid(field)
  return bytes
}

const invalid = (field: string): DecodeError =>
  new DecodeError('DECODE_INVALID', `${field} is not base64url`, { field })
