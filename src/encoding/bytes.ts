/** Binary data; what this code returns is a Buffer in practice. */
export type Bytes = Uint8Array

/** The same memory as a Buffer: no copy. */
export const asBuffer = (bytes: Bytes): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
