/**
 * The thread that PGlite runs in. It gets Postgres protocol bytes and answers with protocol bytes; see pgliteStream.ts for
 * the other end. Plain JavaScript, so that the same file runs from the sources and from the build.
 */
import { fsyncSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { NodeFS } from '@electric-sql/pglite/nodefs'

/**
 * @typedef {{ task: 'template' } | { task: 'serve', directory?: string | undefined, template?: Uint8Array | undefined }} Task
 */

/** Small WAL segments and buffers: a smaller directory, a faster start and half the memory. */
const initdbParams = ['--wal-segsize=1']
const memoryParams = [
  '-c',
  'shared_buffers=16MB',
  '-c',
  'jit=off',
  '-c',
  'min_wal_size=16MB',
  '-c',
  'max_wal_size=64MB',
]
/** PGlite turns fsync off (-F); with a directory it is on, and done by `DurableFs`. */
const diskParams = ['-c', 'fsync=on', '-c', 'wal_sync_method=fsync']

/** Why the database can no longer be trusted, once something has ended it from inside. */
let /** @type {unknown} */ dead

/** @param {unknown} reason */
const die = reason => {
  dead ??= reason
}

/** PGlite's file system on a directory, with an fsync that reaches the disk, and word of it when the database gives up. */
class DurableFs extends NodeFS {
  /**
   * @override
   * @param {PGlite} pg
   * @param {Parameters<NodeFS['init']>[1]} options
   */
  async init(pg, options) {
    const { emscriptenOpts } = await super.init(pg, options)
    emscriptenOpts.preRun?.push(mod => {
      const streamOps = /** @type {any} */ (mod).NODEFS.stream_ops
      streamOps.fsync = (/** @type {{ nfd: number }} */ stream) => {
        try {
          fsyncSync(stream.nfd)
          return 0
        } catch (error) {
          die(error)
          throw error
        }
      }
    })
    emscriptenOpts.onAbort = die
    return { emscriptenOpts }
  }
}

/** @param {boolean} durable */
const startParams = durable => [
  ...PGlite.defaultStartParams.filter(param => !durable || param !== '-F'),
  ...memoryParams,
  ...(durable ? diskParams : []),
]

/** An initialised, empty database as a tar file. Without the template databases it is half the size and half the files. */
const makeTemplate = async () => {
  const db = await PGlite.create({ initDbStartParams: initdbParams, startParams: startParams(false) })
  await db.exec('UPDATE pg_database SET datistemplate = false')
  for (const script of ['DROP DATABASE template0', 'DROP DATABASE template1', 'CHECKPOINT']) await db.exec(script)
  const tar = new Uint8Array(await (await db.dumpDataDir('none')).arrayBuffer())
  await db.close()
  return tar
}

/** @param {{ directory?: string | undefined, template?: Uint8Array | undefined }} options */
const open = async ({ directory, template }) => {
  const db = new PGlite({
    startParams: startParams(directory !== undefined),
    ...(directory === undefined ? {} : { fs: new DurableFs(directory) }),
    ...(template === undefined ? {} : { loadDataDir: new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (template)]) }),
  })
  await db.waitReady
  return db
}

/** @param {Uint8Array} bytes */
const send = bytes => parentPort?.postMessage(bytes, [/** @type {ArrayBuffer} */ (bytes.buffer)])

/** @param {PGlite} db */
const serve = db => {
  /** @param {Uint8Array} request */
  const answer = async request => {
    /** @type {Buffer[]} */
    const chunks = []
    await db.execProtocolRawStream(request, { syncToFs: false, onRawData: data => void chunks.push(Buffer.from(data)) })
    // PGlite swallows what ends it from inside and may say "ready" after: nothing that follows counts.
    if (dead !== undefined) throw new Error('the database stopped', { cause: dead })
    send(new Uint8Array(Buffer.concat(chunks)))
  }
  let queue = Promise.resolve()
  parentPort?.on('message', message => {
    queue = queue.then(async () => {
      if (message !== 'close') return answer(message)
      await db.close()
      parentPort?.postMessage('closed', [])
      parentPort?.close()
    })
    queue.catch(error => {
      throw error
    })
  })
}

const task = /** @type {Task} */ (workerData)
if (task.task === 'template') send(await makeTemplate())
else {
  serve(await open(task))
  parentPort?.postMessage('ready', [])
}
