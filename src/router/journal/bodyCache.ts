/** Bodies of recent messages, so that a message that is read soon after it came does not visit the disk. */
import type { Bytes } from '../../encoding/index.js'
import type { MessageEntry } from '../messageLog.js'

export interface BodyCache {
  add(entry: MessageEntry, body: Bytes): void
  get(entry: MessageEntry): Bytes | undefined
  remove(entry: MessageEntry): void
  readonly bytes: number
}

/** A cache of at most `maxBytes`; the oldest bodies leave first. */
export const bodyCache = (maxBytes: number): BodyCache => {
  const bodies = new Map<MessageEntry, Bytes>()
  let bytes = 0
  const remove = (entry: MessageEntry): void => {
    const body = bodies.get(entry)
    if (body === undefined) return
    bytes -= body.buffer.byteLength
    bodies.delete(entry)
  }
  return {
    add: (entry, body) => {
      // A small body must not hold the 16 KB block that it came in.
      const kept = body.length * 2 < body.buffer.byteLength ? Uint8Array.prototype.slice.call(body) : body
      bodies.set(entry, kept)
      bytes += kept.buffer.byteLength
      for (const oldest of bodies.keys()) {
        if (bytes <= maxBytes) break
        remove(oldest)
      }
    },
    get: entry => bodies.get(entry),
    remove,
    get bytes() {
      return bytes
    },
  }
}
