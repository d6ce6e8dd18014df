import type { Bytes } from '../../encoding/index.js'

/** libsignal’s types ask for bytes over an ArrayBuffer, which all of ours are: no copy. */
export const native = (bytes: Bytes): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>
