/**
 * Reads a journal from front to back after a restart. A torn tail (the group that was being written when the process or
 * the machine died, none of which was answered) is cut off; damage in the middle is skipped up to the next whole record.
 */
import type { MessageEntry } from '../messageLog.js'
import { decodeRecord, findRecord } from './record.js'
import { readSegments, type Segment, segmentHeaderLength } from './segment.js'

export interface Recovered {
  readonly segments: Segment[]
  /** Live entries in the order of their sequence. */
  readonly entries: MessageEntry[]
  readonly lastSeq: number
  /** Bytes at ends of segments that were no whole record. */
  readonly tornBytes: number
  /** Bytes between whole records that were damaged; what they held is lost. */
  readonly damagedBytes: number
}

/** Replays all segments; cuts torn tails from the files. */
export const recover = async (dir: string): Promise<Recovered> => {
  const segments: Segment[] = []
  try {
    return await replay(dir, segments)
  } catch (error) {
    for (const { file } of segments) await file.close()
    throw error
  }
}

const replay = async (dir: string, segments: Segment[]): Promise<Recovered> => {
  const entries = new Map<number, MessageEntry>()
  let [lastSeq, tornBytes, damagedBytes] = [0, 0, 0]

  const forget = (seq: number): void => {
    const entry = entries.get(seq)
    if (entry === undefined) return
    ;(entry.place as { segment: Segment }).segment.live.delete(entry)
    entries.delete(seq)
  }

  for await (const { segment, contents } of readSegments(dir)) {
    segments.push(segment)
    let offset = Math.min(segmentHeaderLength, contents.length)
    while (offset < contents.length) {
      const record = decodeRecord(segment.mark, contents, offset)
      if (record === undefined) {
        const next = findRecord(segment.mark, contents, offset + 1)
        if (next === undefined) break
        damagedBytes += next - offset
        offset = next
        continue
      }
      if (record.type === 'removed') {
        forget(record.seq)
        lastSeq = Math.max(lastSeq, record.seq)
      } else {
        // A message that is there already was copied here by the cleaner.
        forget(record.entry.seq)
        record.entry.place = { segment, offset, length: record.length, bodyOffset: record.bodyOffset }
        segment.live.add(record.entry)
        entries.set(record.entry.seq, record.entry)
        lastSeq = Math.max(lastSeq, record.entry.seq)
      }
      offset += record.length
    }
    if (offset < contents.length) {
      tornBytes += contents.length - offset
      await segment.file.truncate(offset)
      await segment.file.datasync()
    }
    segment.size = offset
  }
  const ordered = [...entries.values()].sort((a, b) => a.seq - b.seq)
  return { segments, entries: ordered, lastSeq, tornBytes, damagedBytes }
}
