/**
 * The message log on disk: an append-only journal with group commit. What arrives while one group is being written makes
 * the next group: one gathered write and one fdatasync, after which all its messages are answered. So an accepted message
 * survives kill -9 and, with `sync`, power loss.
 *
 * Disk is bounded: the oldest segment is removed once nothing in it is needed, and when dead records outweigh live ones, what
 * is still needed there is copied to the end first. Only the oldest is ever removed, so a removal record never goes
 * before the message that it removes.
 */
import { mkdir, unlink } from 'node:fs/promises'
import type { Random } from '../../crypto/index.js'
import { asBuffer, type Bytes } from '../../encoding/index.js'
import { StoreError } from '../../errors.js'
import { nextTurn } from '../../runtime/nextTurn.js'
import { syncDirectory } from '../files.js'
import type { LogStats, MessageEntry, MessageLog } from '../messageLog.js'
import { bodyCache } from './bodyCache.js'
import { decodeRecord, encodeMessage, encodeRemoval, markLength } from './record.js'
import { recover } from './recovery.js'
import { createSegment, type Place, type Segment } from './segment.js'

export interface JournalOptions {
  /** True (default): fdatasync before a message is answered. False: the system's page cache decides; survives kill -9 only. */
  readonly sync?: boolean
  /** A segment that has grown to this many bytes is followed by the next one. Default 64 MiB. */
  readonly segmentBytes?: number
  /** Disk that the journal may take; messages past it are refused with STORE_FULL. Default 64 GiB. */
  readonly maxBytes?: number
  /** Bodies kept in memory. Default 64 MiB. */
  readonly cacheBytes?: number
  /** Bytes that may wait for the disk before senders are held back. Default 16 MiB. */
  readonly waitingBytes?: number
  readonly random: Random
  /** Told of what no caller sees: damage, failed writes, cleaning. */
  readonly log?: (event: string, facts: Readonly<Record<string, string | number>>) => void
}

/** At most this much goes out in one gathered write, so that a group's latency is bounded. */
const groupBytes = 4 << 20
/** Records that the cleaner reads and copies together. */
const copiedAtOnce = 64

interface Waiting {
  readonly entry: MessageEntry
  /** Undefined: the entry is removed. */
  readonly body: Bytes | undefined
  readonly bytes: number
  readonly done: (error?: StoreError) => void
}

/**
 * Opens the journal in a directory that this process owns, creating it when needed, and replays it.
 *
 * @throws StoreError STORE_FORMAT, STORE_OPEN.
 */
export const openJournal = async (dir: string, options: JournalOptions): Promise<MessageLog> => {
  const {
    sync = true,
    segmentBytes = 64 << 20,
    maxBytes = 2 ** 36,
    cacheBytes = 64 << 20,
    waitingBytes = 16 << 20,
  } = options
  const note = options.log ?? (() => undefined)
  const cache = bodyCache(cacheBytes)
  const { segments, entries, lastSeq, tornBytes, damagedBytes } = await openDirectory(dir)
  if (tornBytes > 0 || damagedBytes > 0) note('journal recovered', { dir, tornBytes, damagedBytes })

  let waiting: Waiting[] = []
  let waitingTotal = 0
  let roomWaiters: Array<() => void> = []
  let writing: Promise<void> | undefined
  let cleaning: Promise<void> | undefined
  let closed = false
  let groups = 0
  let liveBytes = entries.reduce((sum, entry) => sum + (entry.place as Place).length, 0)
  let totalBytes = segments.reduce((sum, segment) => sum + segment.size, 0)
  let active = await nextSegment()

  async function nextSegment(): Promise<Segment> {
    const number = (segments.at(-1)?.number ?? 0) + 1
    const segment = await createSegment(dir, number, options.random(markLength))
    segments.push(segment)
    totalBytes += segment.size
    return segment
  }

  const enqueue = (item: Waiting): void => {
    waiting.push(item)
    waitingTotal += item.bytes
    writing ??= writeGroups()
  }

  const writeGroups = async (): Promise<void> => {
    // Whatever else arrives in this turn of the event loop joins the first group.
    await nextTurn()
    while (waiting.length > 0) {
      const group = takeGroup()
      try {
        await writeGroup(group)
        for (const item of group) item.done()
      } catch (cause) {
        const error = writeError(dir, cause)
        note('journal write failed', { dir, reason: String((cause as Error).message) })
        for (const item of group) item.done(error)
        await abandonActive().catch(() => undefined)
      }
      const waiters = roomWaiters
      roomWaiters = []
      for (const resolve of waiters) resolve()
      cleanUp()
    }
    writing = undefined
  }

  const takeGroup = (): Waiting[] => {
    let [count, bytes] = [0, 0]
    while (count < waiting.length && (count === 0 || bytes < groupBytes)) bytes += waiting[count++]?.bytes ?? 0
    const group = waiting.slice(0, count)
    waiting = waiting.slice(count)
    waitingTotal -= bytes
    return group
  }

  const writeGroup = async (group: readonly Waiting[]): Promise<void> => {
    if (active.size >= segmentBytes) active = await nextSegment()
    const segment = active
    const chunks: Bytes[] = []
    const places: Array<Place | undefined> = []
    let offset = segment.size
    for (const { entry, body } of group) {
      const record = body === undefined ? encodeRemoval(segment.mark, entry) : encodeMessage(segment.mark, entry, body)
      chunks.push(...record.chunks)
      const bodyOffset = record.length - (body?.length ?? 0)
      places.push(body === undefined ? undefined : { segment, offset, length: record.length, bodyOffset })
      offset += record.length
    }
    await writeAll(segment, chunks, segment.size, offset - segment.size)
    // Removals alone need not reach the disk: one that is lost means a message delivered again, which its recipient knows.
    if (sync && group.some(({ body }) => body !== undefined)) await segment.file.datasync()
    totalBytes += offset - segment.size
    segment.size = offset
    groups++
    group.forEach(({ entry }, i) => {
      const place = places[i]
      if (place === undefined || !entry.live) return
      release(entry)
      entry.place = place
      segment.live.add(entry)
      liveBytes += place.length
    })
  }

  /** After a failed write nobody knows what the file holds behind the last good group: cut it and go on in a new file. */
  const abandonActive = async (): Promise<void> => {
    await active.file.truncate(active.size)
    active = await nextSegment()
  }

  const release = (entry: MessageEntry): void => {
    const place = entry.place as Place | undefined
    if (place === undefined) return
    if (place.segment.live.delete(entry)) liveBytes -= place.length
  }

  const readRecord = async (entry: MessageEntry): Promise<Buffer> => {
    const place = entry.place as Place | undefined
    if (place === undefined) throw damaged(dir)
    const { segment, offset, length, bodyOffset } = place
    const bytes = Buffer.allocUnsafe(length)
    try {
      await segment.file.read(bytes, 0, length, offset)
    } catch (cause) {
      throw new StoreError('STORE_READ', 'a stored message cannot be read', { field: segment.path, cause })
    }
    if (decodeRecord(segment.mark, bytes, 0) !== undefined) return bytes.subarray(bodyOffset)
    note('journal record damaged', { segment: segment.number, offset })
    throw damaged(segment.path)
  }

  const cleanUp = (): void => {
    if (cleaning !== undefined || !needsCleaning()) return
    cleaning = clean()
      .catch(error => note('journal cleaning failed', { dir, reason: String((error as Error).message) }))
      .finally(() => {
        cleaning = undefined
      })
  }

  const needsCleaning = (): boolean => {
    const oldest = segments[0]
    if (closed || oldest === undefined || oldest === active) return false
    return oldest.live.size === 0 || totalBytes > 2 * liveBytes + 2 * segmentBytes
  }

  const isOpen = (): boolean => !closed

  const clean = async (): Promise<void> => {
    while (needsCleaning()) {
      const oldest = segments[0] as Segment
      const needed = [...oldest.live]
      for (let i = 0; i < needed.length && isOpen(); i += copiedAtOnce) {
        await Promise.all(needed.slice(i, i + copiedAtOnce).map(entry => copyToEnd(entry, oldest)))
      }
      if (oldest.live.size > 0) return
      segments.shift()
      totalBytes -= oldest.size
      await unlink(oldest.path)
      await oldest.file.close()
    }
  }

  const copyToEnd = async (entry: MessageEntry, from: Segment): Promise<void> => {
    const body = cache.get(entry) ?? (await readRecord(entry).catch(undefinedIfDamaged))
    if (!entry.live || (entry.place as Place).segment !== from) return
    if (body === undefined) {
      release(entry)
      entry.place = undefined
      return
    }
    await new Promise<void>((resolve, reject) => {
      enqueue({ entry, body, bytes: body.length, done: error => (error === undefined ? resolve() : reject(error)) })
    })
  }

  cleanUp()
  return {
    recovered: () => entries.splice(0),
    lastSeq,
    write: (entry, body) => {
      if (closed) return Promise.reject(new StoreError('STORE_CLOSED', 'the journal is closed', { field: dir }))
      if (totalBytes + waitingTotal + body.length > maxBytes) {
        return Promise.reject(
          new StoreError('STORE_FULL', 'the journal has reached its bound', { field: dir, facts: { maxBytes } }),
        )
      }
      return new Promise((resolve, reject) => {
        const done = (error?: StoreError): void => {
          if (error !== undefined) return reject(error)
          if (entry.live) cache.add(entry, body)
          resolve()
        }
        enqueue({ entry, body, bytes: body.length + 128, done })
      })
    },
    remove: entry => {
      entry.live = false
      cache.remove(entry)
      release(entry)
      if (!closed) enqueue({ entry, body: undefined, bytes: 64, done: () => undefined })
    },
    read: entry => cache.get(entry) ?? readRecord(entry),
    room: () => (waitingTotal < waitingBytes ? undefined : new Promise<void>(resolve => roomWaiters.push(resolve))),
    stats: (): LogStats => ({ liveBytes, totalBytes, cachedBytes: cache.bytes, groups, segments: segments.length }),
    close: async () => {
      closed = true
      await cleaning
      await writing
      for (const { file } of segments) await file.close()
    },
  }
}

/** What the system says of a disk that is full, by its size, a quota or a limit of the process. */
const fullDisk: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

const writeError = (field: string, cause: unknown): StoreError =>
  fullDisk.has((cause as NodeJS.ErrnoException).code)
    ? new StoreError('STORE_FULL', 'the disk of the journal is full', { field, hint: 'free space', cause })
    : new StoreError('STORE_WRITE', 'messages cannot be written to the journal', { field, cause })

const damaged = (field: string): StoreError => new StoreError('STORE_DAMAGED', 'a stored message is damaged', { field })

/** What is damaged is lost; anything else that keeps a record from being read may pass. */
const undefinedIfDamaged = (error: unknown): undefined => {
  if (error instanceof StoreError && error.code === 'STORE_DAMAGED') return undefined
  throw error
}

const openDirectory = async (dir: string): Promise<Awaited<ReturnType<typeof recover>>> => {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await syncDirectory(dir)
    return await recover(dir)
  } catch (cause) {
    if (cause instanceof StoreError) throw cause
    throw new StoreError('STORE_OPEN', 'the message journal cannot be opened', { field: dir, cause })
  }
}

/** A gathered write in full: the system may take less than it was given. */
const writeAll = async (segment: Segment, chunks: Bytes[], offset: number, length: number): Promise<void> => {
  const { bytesWritten } = await segment.file.writev(chunks, offset)
  if (bytesWritten === length) return
  const rest = Buffer.concat(chunks.map(asBuffer)).subarray(bytesWritten)
  const again = await segment.file.write(rest, 0, rest.length, offset + bytesWritten)
  if (again.bytesWritten !== rest.length) throw new Error('short write')
}
