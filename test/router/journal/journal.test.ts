import { appendFile, cp, mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemRandom } from '../../../src/crypto/index.js'
import { type JournalOptions, openJournal } from '../../../src/router/journal/journal.js'
import type { MessageEntry, MessageLog } from '../../../src/router/messageLog.js'

let root: string
let dirs = 0
const opened: MessageLog[] = []

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'router-journal-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const log of opened.splice(0)) await log.close()
  await rm(root, { recursive: true, force: true })
})

const newDir = (): string => join(root, String(dirs++))
const openLog = async (dir: string, options: Partial<JournalOptions> = {}): Promise<MessageLog> => {
  const log = await openJournal(dir, { random: systemRandom, ...options })
  opened.push(log)
  return log
}
const closeLog = async (log: MessageLog): Promise<void> => {
  opened.splice(opened.indexOf(log), 1)
  await log.close()
}
/** What a crash leaves: the files as they are now, in another directory. */
const crash = async (dir: string): Promise<string> => {
  const copy = newDir()
  await cp(dir, copy, { recursive: true })
  return copy
}
const entryOf = (seq: number, queue = 'q'): MessageEntry => ({
  seq,
  queue,
  id: String(seq).padStart(24, '0'),
  timestamp: 1_700_000_000 + seq,
  kind: 'message',
  notification: seq % 2 === 0,
  committed: true,
  live: true,
})
const bodyOf = (seq: number, length = 1000): Buffer => Buffer.alloc(length, `body ${seq} `)
const bodyText = async (log: MessageLog, entry: MessageEntry): Promise<string> =>
  Buffer.from(await log.read(entry)).toString()
const seqs = (entries: readonly MessageEntry[]): number[] => entries.map(({ seq }) => seq)
const files = async (dir: string): Promise<string[]> => (await readdir(dir)).sort().map(name => join(dir, name))
const lastWritten = async (dir: string): Promise<string> => {
  for (const path of (await files(dir)).reverse()) if ((await stat(path)).size > 16) return path
  throw new Error('nothing written')
}

describe('the message journal', () => {
  it('gives back after a crash what it accepted, without what was removed', async () => {
    const dir = newDir()
    const log = await openLog(dir)
    const entries = [1, 2, 3, 4].map(seq => entryOf(seq))
    await Promise.all(entries.map(entry => log.write(entry, bodyOf(entry.seq))))
    expect(log.stats().groups).toBe(1)
    log.remove(entries[1]!)
    await log.write(entryOf(5), bodyOf(5))
    const again = await openLog(await crash(dir), { cacheBytes: 0 })
    const recovered = again.recovered()
    expect(seqs(recovered)).toEqual([1, 3, 4, 5])
    for (const entry of recovered) {
      expect(await bodyText(again, entry)).toBe(bodyOf(entry.seq).toString())
      expect({ ...entry, place: undefined }).toEqual({ ...entryOf(entry.seq), place: undefined })
    }
    expect(again.lastSeq).toBe(5)
  })

  it('keeps everything before a tail that is torn at any byte, and goes on', async () => {
    const dir = newDir()
    const log = await openLog(dir)
    await log.write(entryOf(1), bodyOf(1, 40))
    const before = (await stat(await lastWritten(dir))).size
    await log.write(entryOf(2), bodyOf(2, 40))
    const after = (await stat(await lastWritten(dir))).size
    for (let size = before; size < after; size++) {
      const copy = await crash(dir)
      await truncate(await lastWritten(copy), size)
      const torn = await openLog(copy)
      expect(seqs(torn.recovered())).toEqual([1])
      await torn.write(entryOf(3), bodyOf(3))
      const third = await openLog(await crash(copy))
      expect(seqs(third.recovered())).toEqual([1, 3])
      await closeLog(torn)
      await closeLog(third)
    }
  })

  it('takes rubbish at the end and a torn segment header for a torn tail', async () => {
    const dir = newDir()
    const log = await openLog(dir)
    await log.write(entryOf(1), bodyOf(1))
    const copy = await crash(dir)
    await appendFile(await lastWritten(copy), Buffer.alloc(5000, 0xee))
    await appendFile(join(copy, '00000009.journal'), 'DUO')
    const again = await openLog(copy)
    expect(seqs(again.recovered())).toEqual([1])
    expect(await bodyText(again, entryAt(again, 0) ?? entryOf(0)).catch(() => 'taken')).toBe('taken')
  })

  it('skips damage in the middle and tells of it', async () => {
    const dir = newDir()
    const log = await openLog(dir)
    for (const seq of [1, 2, 3]) await log.write(entryOf(seq), bodyOf(seq))
    const copy = await crash(dir)
    const file = await open(await lastWritten(copy), 'r+')
    await file.write(Buffer.from('damage'), 0, 6, 1500)
    await file.close()
    const events: string[] = []
    const again = await openLog(copy, { log: (event, facts) => events.push(`${event} ${facts['damagedBytes']}`) })
    expect(seqs(again.recovered())).toEqual([1, 3])
    expect(events).toEqual([expect.stringMatching(/^journal recovered 1\d\d\d$/)])
  })

  it('refuses a file that is no journal, with its name', async () => {
    const dir = newDir()
    await closeLog(await openLog(dir))
    await appendFile(join(dir, '00000007.journal'), 'something else that is long enough')
    await expect(openLog(dir)).rejects.toMatchObject({
      code: 'STORE_FORMAT',
      field: expect.stringContaining('00000007'),
    })
  })

  it('tells of a damaged record when it is read', async () => {
    const dir = newDir()
    const log = await openLog(dir, { cacheBytes: 0 })
    const entry = entryOf(1)
    await log.write(entry, bodyOf(1))
    const file = await open(await lastWritten(dir), 'r+')
    await file.write(Buffer.from('x'), 0, 1, 600)
    await file.close()
    await expect(log.read(entry)).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })

  it('cleans around a damaged record and keeps one that cannot be read now', async () => {
    const dir = newDir()
    const log = await openLog(dir, { cacheBytes: 0, segmentBytes: 4000 })
    const entries = [entryOf(1), entryOf(2)]
    for (const entry of entries) await log.write(entry, bodyOf(entry.seq))
    const [segment] = await files(dir)
    const file = await open(segment!, 'r+')
    const prototype = Object.getPrototypeOf(file) as { read: () => unknown }
    await file.write(Buffer.from('x'), 0, 1, 600)
    await file.close()
    vi.spyOn(prototype, 'read').mockRejectedValueOnce(new Error('EIO')).mockRejectedValueOnce(new Error('EIO'))
    const fill = async (): Promise<void> => {
      for (let i = 0; i < 30; i++) {
        const entry = entryOf(100 + i)
        await log.write(entry, bodyOf(1))
        log.remove(entry)
      }
    }
    await fill()
    await vi.waitFor(async () => expect(await files(dir)).not.toContain(segment))
    await expect(log.read(entries[0]!)).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    expect(await bodyText(log, entries[1]!)).toBe(bodyOf(2).toString())
  })

  it('answers a failed write with STORE_WRITE, loses nothing before it and takes what comes after', async () => {
    const dir = newDir()
    const log = await openLog(dir)
    await log.write(entryOf(1), bodyOf(1))
    const handle = await open(join(dir, 'other'), 'w')
    const prototype = Object.getPrototypeOf(handle) as { writev: () => unknown; datasync: () => unknown }
    await handle.close()
    vi.spyOn(prototype, 'writev').mockRejectedValueOnce(new Error('ENOSPC'))
    await expect(log.write(entryOf(2), bodyOf(2))).rejects.toMatchObject({ code: 'STORE_WRITE' })
    await log.write(entryOf(3), bodyOf(3))
    vi.spyOn(prototype, 'datasync').mockRejectedValueOnce(new Error('EIO'))
    await expect(log.write(entryOf(4), bodyOf(4))).rejects.toMatchObject({ code: 'STORE_WRITE' })
    await log.write(entryOf(5), bodyOf(5))
    const again = await openLog(await crash(dir))
    expect(seqs(again.recovered())).toEqual([1, 3, 5])
  })

  it.each(['ENOSPC', 'EDQUOT', 'EFBIG'])('answers %s with STORE_FULL: the disk is full, which passes', async code => {
    const dir = newDir()
    const log = await openLog(dir)
    const handle = await open(join(dir, 'other'), 'w')
    const prototype = Object.getPrototypeOf(handle) as { writev: () => unknown }
    await handle.close()
    vi.spyOn(prototype, 'writev').mockRejectedValueOnce(Object.assign(new Error(code), { code }))
    await expect(log.write(entryOf(1), bodyOf(1))).rejects.toMatchObject({ code: 'STORE_FULL' })
    await log.write(entryOf(2), bodyOf(2))
  })

  it('a segment that could not be begun, because the disk was full, does not stand in the way of the next', async () => {
    const dir = newDir()
    const log = await openLog(dir, { segmentBytes: 1500 })
    const handle = await open(join(dir, 'other'), 'w')
    const prototype = Object.getPrototypeOf(handle) as { write: () => unknown; writev: () => unknown }
    await handle.close()
    const full = () => Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    await log.write(entryOf(1), bodyOf(1))
    vi.spyOn(prototype, 'writev').mockRejectedValueOnce(full())
    vi.spyOn(prototype, 'write').mockRejectedValueOnce(full())
    await expect(log.write(entryOf(2), bodyOf(2))).rejects.toMatchObject({ code: 'STORE_FULL' })
    for (let seq = 3; seq < 9; seq++) await log.write(entryOf(seq), bodyOf(seq))
    expect(log.stats().segments).toBeGreaterThan(2)
    const again = await openLog(await crash(dir))
    expect(seqs(again.recovered())).toEqual([1, 3, 4, 5, 6, 7, 8])
  })

  it('refuses messages past its bound with STORE_FULL', async () => {
    const log = await openLog(newDir(), { maxBytes: 3000 })
    await log.write(entryOf(1), bodyOf(1))
    await log.write(entryOf(2), bodyOf(2))
    await expect(log.write(entryOf(3), bodyOf(3))).rejects.toMatchObject({ code: 'STORE_FULL' })
  })

  it('holds senders back while too much waits for the disk', async () => {
    const log = await openLog(newDir(), { waitingBytes: 2000 })
    expect(log.room()).toBeUndefined()
    const writes = [1, 2].map(seq => log.write(entryOf(seq), bodyOf(seq)))
    const room = log.room()
    expect(room).toBeInstanceOf(Promise)
    await room
    await Promise.all(writes)
    expect(log.room()).toBeUndefined()
  })

  it('removes segments that nobody needs, also when messages stay in between', async () => {
    const dir = newDir()
    const options = { segmentBytes: 10_000, cacheBytes: 20_000 }
    const log = await openLog(dir, options)
    const kept: MessageEntry[] = []
    for (let seq = 1; seq <= 400; seq++) {
      const entry = entryOf(seq)
      await log.write(entry, bodyOf(seq))
      if (seq % 40 === 0) kept.push(entry)
      else log.remove(entry)
    }
    await log.write(entryOf(1000), bodyOf(1000))
    await vi.waitFor(() => expect(log.stats().totalBytes).toBeLessThan(2 * log.stats().liveBytes + 3 * 10_000))
    for (const entry of kept) expect(await bodyText(log, entry)).toBe(bodyOf(entry.seq).toString())
    await closeLog(log)
    const again = await openLog(dir, options)
    expect(seqs(again.recovered())).toEqual([...seqs(kept), 1000])
  })

  it('does not pile up empty segments over restarts', async () => {
    const dir = newDir()
    for (let i = 0; i < 5; i++) await closeLog(await openLog(dir))
    expect((await files(dir)).length).toBeLessThanOrEqual(2)
  })

  it('keeps what a model keeps, over random sends, removals, cleanings and crashes', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constant('send' as const), length: fc.nat({ max: 3000 }) }) },
      { weight: 4, arbitrary: fc.record({ op: fc.constant('remove' as const), which: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('crash' as const) }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        let dir = newDir()
        const options = { segmentBytes: 4000, cacheBytes: 3000 }
        let log = await openLog(dir, options)
        let model: MessageEntry[] = []
        let seq = 0
        const lengths = new Map<number, number>()
        const check = async (): Promise<void> => {
          const recovered = log.recovered()
          expect(seqs(recovered)).toEqual(seqs(model))
          model = [...recovered]
          for (const entry of model) {
            expect(await bodyText(log, entry)).toBe(bodyOf(entry.seq, lengths.get(entry.seq)).toString())
          }
        }
        for (const action of steps) {
          if (action.op === 'send') {
            const entry = entryOf(++seq)
            lengths.set(seq, action.length)
            await log.write(entry, bodyOf(seq, action.length))
            model.push(entry)
          } else if (action.op === 'remove') {
            const [entry] = model.splice(action.which % Math.max(1, model.length), 1)
            if (entry !== undefined) log.remove(entry)
          } else {
            // A write that was answered comes after all removals before it.
            const barrier = entryOf(++seq)
            lengths.set(seq, 1)
            await log.write(barrier, bodyOf(seq, 1))
            model.push(barrier)
            if (action.op === 'crash') dir = await crash(dir)
            await closeLog(log)
            log = await openLog(dir, options)
            await check()
          }
        }
        await closeLog(log)
        log = await openLog(dir, options)
        await check()
        await closeLog(log)
      }),
      { numRuns: 40 },
    )
  })
})

/** `recovered` hands entries out once only. */
const entryAt = (log: MessageLog, index: number): MessageEntry | undefined => log.recovered()[index]
