/**
 * One process owns a router's directory. The lock file names its owner by process id and, where the system tells it, by the
 * time at which that process started, so a process that died or a reused id does not keep the directory.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { StoreError } from '../errors.js'
import { codeOf } from './files.js'

const ownerSchema = z.object({ pid: z.int(), started: z.string(), token: z.string() })
type Owner = z.output<typeof ownerSchema>

/** Locks that this process holds: its own id proves nothing to itself. */
const held = new Set<string>()

/**
 * Takes the lock of a directory; the answer releases it.
 *
 * @throws StoreError STORE_LOCKED when another process, or this one, has it; STORE_OPEN when it cannot be written.
 */
export const lockDirectory = async (dir: string): Promise<() => Promise<void>> => {
  const path = join(dir, 'router.lock')
  const own: Owner = { pid: process.pid, started: startOf(process.pid) ?? '', token: randomUUID() }
  for (let tries = 0; tries < 3; tries++) {
    if (await create(path, own)) {
      held.add(own.token)
      return async () => {
        held.delete(own.token)
        if ((await read(path))?.token === own.token) await unlink(path)
      }
    }
    const owner = await read(path)
    if (owner !== undefined && isAlive(owner)) {
      throw new StoreError('STORE_LOCKED', 'another process has the directory', {
        field: path,
        hint: 'stop the router that uses this directory',
        facts: { pid: owner.pid },
      })
    }
    await removeStale(path, owner, own.token)
  }
  throw new StoreError('STORE_LOCKED', 'another process is taking the directory', { field: path })
}

/** The file appears with its contents or not at all. */
const create = async (path: string, owner: Owner): Promise<boolean> => {
  const temporary = `${path}.${owner.token}`
  try {
    await writeFile(temporary, JSON.stringify(owner), { mode: 0o600 })
    try {
      await link(temporary, path)
    } finally {
      await unlink(temporary)
    }
    return true
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false
    throw new StoreError('STORE_OPEN', 'the lock file cannot be written', { field: path, cause })
  }
}

/** Undefined when there is none or it is no lock file. */
const read = async (path: string): Promise<Owner | undefined> => {
  try {
    return ownerSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}

const isAlive = ({ pid, started, token }: Owner): boolean => {
  if (pid === process.pid) return held.has(token)
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
  }
  const now = startOf(pid)
  return now === undefined || started === '' || now === started
}

/** Moves a stale file away and looks again at what was moved: the fresh one of a faster process is put back. */
const removeStale = async (path: string, stale: Owner | undefined, token: string): Promise<void> => {
  const aside = `${path}.${token}`
  try {
    await rename(path, aside)
    if ((await read(aside))?.token !== stale?.token) await link(aside, path)
    await unlink(aside)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** When a process started, in the system's own words (Linux: boot and clock ticks since it); undefined when not told. */
const startOf = (pid: number): string | undefined => {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces; the start time is the 20th field behind it.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    return `${boot} ${ticks}`
  } catch {
    return undefined
  }
}
