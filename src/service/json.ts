/**
 * Results and events as JSON. Bytes become `{"text": …}` where they are exactly the UTF-8 of a text, `{"base64": …}`
 * otherwise, so that every body comes back as the same bytes; bodySchema reads both forms.
 */
import { toBase64 } from '../agent/api/base64.js'

/** Bytes as they stand in JSON. */
export type JsonBytes = { readonly text: string } | { readonly base64: string }

// Both options together make the way there and back exact: a byte order mark stays, bad UTF-8 is refused.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes in the readable form if there is one. */
export const bytesToJson = (bytes: Uint8Array): JsonBytes => {
  try {
    return { text: strictUtf8.decode(bytes) }
  } catch {
    return { base64: toBase64(bytes) }
  }
}

/** A result or event with every Uint8Array in it replaced by its JSON form; errors become their public facts. */
export const toJson = (value: unknown): unknown => {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return bytesToJson(value)
  if (Array.isArray(value)) return value.map(toJson)
  if ('toJSON' in value && typeof value.toJSON === 'function') return value.toJSON()
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item)]))
}
