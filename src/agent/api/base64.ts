/** Standard base64 of the JSON world (the wire of SMP uses base64url, see src/encoding). */
export const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64')
export const toBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
