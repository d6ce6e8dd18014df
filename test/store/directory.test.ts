import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lockDirectory } from '../../src/store/directoryLock.js'
import { insert } from '../../src/store/index.js'
import { openStore } from '../../src/store/open.js'
import { items, pairs } from './tables.js'

const migrations = fileURLToPath(new URL('./migrations', import.meta.url))
const writer = fileURLToPath(new URL('./writer.mjs', import.meta.url))
const built = fileURLToPath(new URL('../../dist/src/store/open.js', import.meta.url))

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'duologue-store-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))
const open = (directory: string) => openStore({ directory, scope: 'agent', migrations })

describe('a directory lock', () => {
  const newDirectory = async (name: string) => {
    const directory = join(root, name)
    await mkdir(directory)
    return directory
  }
  it('is had by one at a time, and free when it is released', async () => {
    const directory = await newDirectory('one')
    const lock = await lockDirectory(directory)
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'STORE_LOCKED', field: directory })
    await lock.release()
    await (await lockDirectory(directory)).release()
    expect(await readdir(directory)).toEqual([])
  })
  it('of many who want it at once, one gets', async () => {
    const directory = await newDirectory('many')
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)))
    const got = tries.filter(result => result.status === 'fulfilled')
    expect(got).toHaveLength(1)
    for (const { value } of got) await value.release()
  })
  it('of a dead process, a reused process id or an unreadable file is taken over', async () => {
    const directory = await newDirectory('dead')
    const file = join(directory, 'lock')
    const lock = await lockDirectory(directory)
    const own = JSON.parse(await readFile(file, 'utf8')) as object
    await lock.release()
    for (const left of [
      JSON.stringify({ ...own, pid: 2 ** 22 - 3 }),
      JSON.stringify({ ...own, pid: 1, started: 'x' }),
      '{torn',
      '',
    ]) {
      await writeFile(file, left)
      await (await lockDirectory(directory)).release()
      expect(await readdir(directory)).toEqual([])
    }
  })
  it('of a process elsewhere holds while that one shows that it lives', async () => {
    const directory = await newDirectory('elsewhere')
    const file = join(directory, 'lock')
    await writeFile(file, JSON.stringify({ pid: process.pid, started: '', place: 'another host', token: 't' }))
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'STORE_LOCKED' })
    const longAgo = new Date(Date.now() - 60_000)
    await utimes(file, longAgo, longAgo)
    await (await lockDirectory(directory)).release()
  })
})

describe('a store in a directory', { timeout: 90_000 }, () => {
  it('keeps its rows when it is closed and opened, under a higher epoch', async () => {
    const directory = join(root, 'kept', 'deep')
    const first = await open(directory)
    await first.commit([insert(pairs, { left: 1, right: 'a' })])
    await expect(open(directory)).rejects.toMatchObject({ code: 'STORE_LOCKED' })
    await first.close()
    const second = await open(directory)
    expect(second.epoch).toBe(first.epoch + 1)
    expect(await second.find(pairs, {})).toEqual([{ left: 1, right: 'a' }])
    await second.close()
    expect(await readdir(directory)).toEqual(['pgdata'])
  })

  it('starts again from the beginning when its first start was cut off', async () => {
    const directory = join(root, 'cut')
    await mkdir(join(directory, 'pgdata.new'), { recursive: true })
    await writeFile(join(directory, 'pgdata.new', 'PG_VERSION'), '18')
    const store = await open(directory)
    expect(await store.count(pairs)).toBe(0)
    await store.close()
  })

  it('that is no store, or not readable, is refused with STORE_OPEN and left unlocked', async () => {
    const directory = join(root, 'garbage')
    await mkdir(join(directory, 'pgdata'), { recursive: true })
    await writeFile(join(directory, 'pgdata', 'PG_VERSION'), '12\n')
    await expect(open(directory)).rejects.toMatchObject({ code: 'STORE_OPEN' })
    expect(await readdir(directory)).toEqual(['pgdata'])
    const file = join(root, 'file')
    await writeFile(file, '')
    await expect(open(file)).rejects.toMatchObject({ code: 'STORE_OPEN', field: file })
  })
})

describe.skipIf(!existsSync(built))(`kill -9 ${existsSync(built) ? '' : '(skipped: no build)'}`, () => {
  it('loses nothing that was answered, tears no commit, and leaves the directory to the next process', async () => {
    const directory = join(root, 'killed')
    let answered = 0
    for (let round = 0; round < 3; round++) {
      answered = await killedAfter(directory, answered + 15 + round * 40)
      const store = await open(directory)
      const lefts = (await store.find(pairs, { orderBy: ['left'] })).map(({ left }) => left)
      const ids = (await store.find(items, { orderBy: ['itemId'] })).map(({ itemId }) => itemId)
      expect(ids).toEqual(lefts)
      expect(lefts).toEqual(Array.from(lefts, (_, index) => index + 1))
      // Of the commits under way at most one more may have happened.
      expect([answered, answered + 1]).toContain(lefts.length)
      answered = lefts.length
      await store.close()
    }
  }, 180_000)
})

/** Lets a process commit on and on, kills it when it has answered so many commits; tells how many it had. */
const killedAfter = async (directory: string, count: number): Promise<number> => {
  const child: ChildProcess = spawn(process.execPath, [writer, built, migrations, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  const last = () => Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1))
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (bytes: Buffer) => {
      text += bytes.toString()
      if (last() >= count) child.kill('SIGKILL')
    })
    child.on('exit', (code, signal) => (signal === 'SIGKILL' ? resolve() : reject(new Error(`writer ended: ${code}`))))
  })
  return last()
}
