/** A log that keeps bodies in memory only: for tests and for routers that may forget. */
import type { Bytes } from '../encoding/index.js'
import { StoreError } from '../errors.js'
import type { MessageEntry, MessageLog } from './messageLog.js'

/** A message log without a disk. `maxBytes` bounds all bodies together; a message past it is refused with STORE_FULL. */
export const memoryLog = (maxBytes = 1 << 30): MessageLog => {
  const bodies = new Map<MessageEntry, Bytes>()
  let liveBytes = 0
  let groups = 0
  return {
    lastSeq: 0,
    recovered: () => [],
    write: async (entry, body) => {
      if (liveBytes + body.length > maxBytes)
        throw new StoreError('STORE_FULL', 'no room for more messages', { field: 'body' })
      groups++
      liveBytes += body.length
      bodies.set(entry, Uint8Array.prototype.slice.call(body))
    },
    remove: entry => {
      liveBytes -= bodies.get(entry)?.length ?? 0
      bodies.delete(entry)
    },
    read: entry => {
      const body = bodies.get(entry)
      if (body !== undefined) return body
      return Promise.reject(new StoreError('STORE_DAMAGED', 'the message is not stored', { field: 'message' }))
    },
    room: () => undefined,
    stats: () => ({ liveBytes, totalBytes: liveBytes, cachedBytes: liveBytes, groups, segments: 0 }),
    close: async () => bodies.clear(),
  }
}
