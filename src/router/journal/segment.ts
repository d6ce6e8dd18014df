/**
 * A journal is a row of segment files `00000001.journal`, …: the last one grows, the first one is cleaned and removed. A
 * segment begins with 8 bytes that name the format and its 8-byte mark.
 */
import { type FileHandle, open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bytes } from '../../encoding/index.js'
import { StoreError } from '../../errors.js'
import { syncDirectory } from '../files.js'
import type { MessageEntry } from '../messageLog.js'
import { markLength } from './record.js'

const format = Buffer.from('DUOJRNL1', 'latin1')
export const segmentHeaderLength = format.length + markLength

export interface Segment {
  readonly number: number
  readonly path: string
  readonly file: FileHandle
  readonly mark: Bytes
  /** Bytes of whole groups; what follows in the file, if anything, is torn. */
  size: number
  /** Entries whose newest record is in this segment. */
  readonly live: Set<MessageEntry>
}

/** Where a record is. */
export interface Place {
  readonly segment: Segment
  readonly offset: number
  readonly length: number
  readonly bodyOffset: number
}

/** Creates and syncs the next segment. */
export const createSegment = async (dir: string, number: number, mark: Bytes): Promise<Segment> => {
  const path = join(dir, `${String(number).padStart(8, '0')}.journal`)
  const file = await open(path, 'wx+', 0o600)
  try {
    await file.write(Buffer.concat([format, mark]), 0, segmentHeaderLength, 0)
    await file.datasync()
    await syncDirectory(dir)
  } catch (error) {
    await file.close()
    // The next attempt makes the same file.
    await unlink(path).catch(() => undefined)
    throw error
  }
  return { number, path, file, mark, size: segmentHeaderLength, live: new Set() }
}

/** The segments of a directory in order, each with its contents; a file whose header is torn has none. */
export const readSegments = async function* (dir: string): AsyncGenerator<{ segment: Segment; contents: Buffer }> {
  const names = (await readdir(dir)).filter(name => /^\d{8}\.journal$/.test(name)).sort()
  for (const name of names) {
    const path = join(dir, name)
    const file = await open(path, 'r+')
    const contents = await file.readFile()
    const whole = contents.length >= segmentHeaderLength
    if (whole && !contents.subarray(0, format.length).equals(format)) {
      await file.close()
      throw new StoreError('STORE_FORMAT', 'not a message journal of this version', { field: path })
    }
    const mark = whole ? Buffer.from(contents.subarray(format.length, segmentHeaderLength)) : Buffer.alloc(markLength)
    yield {
      segment: { number: Number(name.slice(0, 8)), path, file, mark, size: contents.length, live: new Set() },
      contents,
    }
  }
}
