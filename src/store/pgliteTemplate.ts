import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { makeTemplate } from './pgliteStream.js'

/*
 * Making a database takes 2–4 seconds (initdb), starting one that exists 0.3. So an initialised, empty database is kept as a
 * gzipped tar file in the user's cache directory, under PGlite's version: later databases start from a copy. Without a
 * usable cache the template is made each time.
 */
/** To be raised when pgliteWorker.mjs makes the template in another way. */
const recipe = 2

let loading: Promise<Uint8Array> | undefined

/** The tar file of an empty database; from the cache, or made and cached. Openings of one process share it. */
export const databaseTemplate = (): Promise<Uint8Array> => {
  if (loading === undefined) {
    const promise = loadTemplate()
    loading = promise
    const forget = (): void => {
      loading = undefined
    }
    // Held for openings at the same time only: it is 16 MB.
    promise.then(forget, forget)
  }
  return loading
}

const loadTemplate = async (): Promise<Uint8Array> => {
  const path = await cachePath()
  const cached = await readCache(path)
  if (cached !== undefined) return cached
  const tar = await makeTemplate()
  await writeCache(path, tar)
  return tar
}

const cachePath = async (): Promise<string> => {
  const require = createRequire(import.meta.url)
  const manifest = join(dirname(require.resolve('@electric-sql/pglite')), '../package.json')
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  return join(base, 'duologue', `pglite-${version}-template-${recipe}.tar.gz`)
}

/** The cached template, unless somebody else could have written it or it is damaged (gzip carries a checksum). */
const readCache = async (path: string): Promise<Uint8Array | undefined> => {
  try {
    const { uid, mode } = await stat(path)
    if (process.getuid !== undefined && (uid !== process.getuid() || (mode & 0o022) !== 0)) return undefined
    return await promisify(gunzip)(await readFile(path))
  } catch {
    return undefined
  }
}

const writeCache = async (path: string, tar: Uint8Array): Promise<void> => {
  const draft = `${path}.${randomUUID()}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(draft, await promisify(gzip)(tar), { mode: 0o600 })
    await chmod(draft, 0o600)
    await rename(draft, path)
  } catch {
    // A cache that cannot be written only costs time.
    await rm(draft, { force: true }).catch(() => {})
  }
}

/**
 * Unpacks a tar file of plain files and directories into a new directory and onto the disk. Throws on a name that leads out
 * of it, and when the disk is full.
 */
export const unpackTar = async (tar: Uint8Array, directory: string): Promise<void> => {
  const entries = [...tarEntries(tar)].map(entry => ({ ...entry, path: join(directory, entry.name) }))
  const directories = entries.map(({ path, contents }) => (contents === undefined ? path : dirname(path)))
  for (const path of new Set([directory, ...directories])) await mkdir(path, { recursive: true, mode: 0o700 })
  const files = entries.flatMap(({ path, contents }) => (contents === undefined ? [] : [{ path, contents }]))
  // A few at a time: most of it is waiting for the disk.
  for (let at = 0; at < files.length; at += 16) {
    await Promise.all(files.slice(at, at + 16).map(({ path, contents }) => writeDurably(path, contents)))
  }
}

/** The entries of a tar file; directories have no contents. */
function* tarEntries(tar: Uint8Array): Iterable<{ name: string; contents: Uint8Array | undefined }> {
  const bytes = Buffer.from(tar.buffer, tar.byteOffset, tar.byteLength)
  const textAt = (from: number, length: number): string =>
    bytes.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const name = normalize(join(textAt(at + 345, 155), textAt(at, 100))).replace(/^\/+/, '')
    const size = Number.parseInt(textAt(at + 124, 12).trim() || '0', 8)
    if (name.startsWith('..') || !Number.isSafeInteger(size)) throw new Error('not a template')
    const isDirectory = textAt(at + 156, 1) === '5'
    yield { name, contents: isDirectory ? undefined : bytes.subarray(at + 512, at + 512 + size) }
    at += 512 + Math.ceil(size / 512) * 512
  }
}

const writeDurably = async (path: string, contents: Uint8Array): Promise<void> => {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(contents)
    await file.sync()
  } finally {
    await file.close()
  }
}
