import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { StoreError } from '../errors.js'

/** An owner that cannot be asked, on another host or in another container, shows that it lives by touching its file. */
const heartbeatMs = 5_000
const silentMs = 20_000

interface Owner {
  readonly pid: number
  /** When the process started, so that a reused id is not taken for it; empty where the system does not tell. */
  readonly started: string
  /** Where the process id means something: host, boot and pid namespace. */
  readonly place: string
  readonly token: string
}

export interface DirectoryLock {
  release(): Promise<void>
}

/**
 * Takes a directory for this process alone. On Linux the kernel keeps the lock (an abstract socket named after the
 * directory: it goes with the process, however that ends); a lock file holds against processes that do not share it: other
 * systems, containers, hosts. The file of a dead process is taken over. `lost` is called when another one has taken the
 * directory in spite of it. Throws StoreError STORE_LOCKED, or STORE_OPEN when the directory cannot be used.
 */
export const lockDirectory = async (
  directory: string,
  lost: (error: StoreError) => void = () => {},
): Promise<DirectoryLock> => {
  const path = join(directory, 'lock')
  const own: Owner = { pid: process.pid, started: startOf(process.pid), place: place(), token: randomUUID() }
  const socket = await kernelLock(directory)
  try {
    await takeFile(path, own)
  } catch (error) {
    socket?.close()
    throw error
  }
  held.add(own.token)
  const heartbeat = setInterval(() => {
    void keep(path, own).then(kept => {
      if (kept) return
      clearInterval(heartbeat)
      lost(new StoreError('STORE_NOT_OWNER', 'another process has taken the directory', { field: directory }))
    })
  }, heartbeatMs)
  heartbeat.unref()
  return {
    release: async () => {
      clearInterval(heartbeat)
      held.delete(own.token)
      if ((await readOwner(path))?.token === own.token) await rm(path, { force: true })
      socket?.close()
    },
  }
}

/** Locks of this process: its own id says nothing about which of its stores holds a file. */
const held = new Set<string>()

const locked = (directory: string, pid?: number): StoreError =>
  new StoreError('STORE_LOCKED', 'another process uses the directory', {
    field: directory,
    hint: 'stop the process that uses it, or choose another directory',
    ...(pid === undefined ? {} : { facts: { pid } }),
  })

const kernelLock = async (directory: string): Promise<Server | undefined> => {
  if (process.platform !== 'linux') return undefined
  const { dev, ino } = await stat(directory)
  const server = createServer(socket => socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      // Where abstract sockets are not allowed the file has to do.
      if (error.code === 'EADDRINUSE') reject(locked(directory))
      else resolve(undefined)
    })
    server.listen(`\0duologue-store-${dev}-${ino}`, () => {
      server.unref()
      resolve(server)
    })
  })
}

const takeFile = async (path: string, own: Owner): Promise<void> => {
  for (let tries = 0; tries < 3; tries++) {
    if (await createFile(path, own)) return
    const owner = await readOwner(path)
    if (owner !== undefined && (await isAlive(path, owner))) throw locked(join(path, '..'), owner.pid)
    await moveAway(path, owner, own)
  }
  throw locked(join(path, '..'))
}

/** The file appears with its contents or not at all. */
const createFile = async (path: string, own: Owner): Promise<boolean> => {
  const draft = `${path}.${own.token}`
  try {
    await writeFile(draft, JSON.stringify(own), { mode: 0o600 })
    await link(draft, path)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw new StoreError('STORE_OPEN', 'the lock file cannot be written', { field: path, cause })
  } finally {
    await rm(draft, { force: true })
  }
}

const readOwner = async (path: string): Promise<Owner | undefined> => {
  try {
    const owner = JSON.parse(await readFile(path, 'utf8')) as Partial<Owner>
    const { pid, started, place, token } = owner
    if (typeof pid !== 'number' || typeof token !== 'string') return undefined
    return { pid, token, started: String(started), place: String(place) }
  } catch {
    return undefined
  }
}

const isAlive = async (path: string, owner: Owner): Promise<boolean> => {
  if (owner.place !== place()) {
    const touched = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    )
    return Date.now() - touched < silentMs
  }
  if (owner.pid === process.pid) return held.has(owner.token)
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const started = startOf(owner.pid)
  return started === '' || owner.started === '' || started === owner.started
}

/** Moves a dead owner's file away and looks at what was moved: the fresh file of a faster process is put back. */
const moveAway = async (path: string, dead: Owner | undefined, own: Owner): Promise<void> => {
  const aside = `${path}.${own.token}`
  try {
    await rename(path, aside)
    if ((await readOwner(aside))?.token !== dead?.token) await link(aside, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error
  } finally {
    await rm(aside, { force: true })
  }
}

/** Touches the file; false when it is no longer this owner's. */
const keep = async (path: string, own: Owner): Promise<boolean> => {
  try {
    await utimes(path, new Date(), new Date())
  } catch {
    return (await stat(path).catch(() => undefined)) === undefined ? createFile(path, own).catch(() => true) : true
  }
  const owner = await readOwner(path)
  return owner === undefined || owner.token === own.token
}

/** The start of a process in clock ticks since boot (Linux), '' where it is not told. */
const startOf = (pid: number): string => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces; the start time is the 20th field behind it.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

const place = (): string => {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}
