import { Duplex } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { StoreError } from '../errors.js'

const startDeadlineMs = 60_000
const closeDeadlineMs = 15_000
const sync = 0x53
const simpleQuery = 0x51

/** PGlite in a worker thread, seen as the socket of a pg client. One thread, one database, one connection. */
export class PgliteStream extends Duplex {
  readonly #worker: Worker
  /** Protocol bytes of a transaction that has not come to its Sync yet. */
  #unsent: Buffer[] = []
  #ended: (() => void) | undefined

  private constructor(worker: Worker) {
    super()
    this.#worker = worker
    worker.on('message', message => this.#receive(message))
    worker.on('error', error => this.destroy(error))
    worker.on('exit', () => {
      if (this.#ended === undefined) this.destroy(new Error('the database thread ended'))
      else this.#ended()
    })
  }

  /**
   * Starts the thread and waits until the database is ready. `directory` is where it lives (memory otherwise), `template`
   * the tar file that a database in memory starts from. Throws StoreError STORE_OPEN.
   */
  static async start(options: { readonly directory?: string; readonly template?: Uint8Array }): Promise<PgliteStream> {
    const worker = startWorker({ task: 'serve', ...options })
    await firstMessage(worker, options.directory ?? 'memory')
    return new PgliteStream(worker)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#send([chunk])
    done()
  }

  override _writev(chunks: ReadonlyArray<{ chunk: Buffer }>, done: () => void): void {
    this.#send(chunks.map(({ chunk }) => chunk))
    done()
  }

  override _read(): void {}

  /** The client said goodbye: the database shuts down, then its thread ends. */
  override _final(done: () => void): void {
    const deadline = setTimeout(() => void this.#worker.terminate(), closeDeadlineMs)
    this.#ended = () => {
      clearTimeout(deadline)
      this.push(null)
      done()
    }
    this.#worker.postMessage('close', [])
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    void this.#worker.terminate()
    done(error)
  }

  /** What the pg client asks of a socket. */
  connect(): this {
    process.nextTick(() => this.emit('connect'))
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    this.#worker.ref()
    return this
  }
  unref(): this {
    this.#worker.unref()
    return this
  }

  /**
   * Passes complete transactions on: PGlite must not see half a message, and answers one call at a time. The pg client
   * writes whole messages, so it is enough to look at the last one.
   */
  #send(messages: readonly Buffer[]): void {
    this.#unsent.push(...messages)
    const [kind] = messages.at(-1) ?? []
    // 0 begins the startup packet, which has no kind.
    if (kind !== sync && kind !== simpleQuery && kind !== 0) return
    const bytes = new Uint8Array(Buffer.concat(this.#unsent))
    this.#unsent = []
    this.#worker.postMessage(bytes, [bytes.buffer])
  }

  #receive(message: unknown): void {
    if (message instanceof Uint8Array) this.push(Buffer.from(message.buffer, message.byteOffset, message.byteLength))
  }
}

/** An initialised, empty database as a tar file, made in a thread of its own so that its memory goes with it. */
export const makeTemplate = async (): Promise<Uint8Array> => {
  const worker = startWorker({ task: 'template' })
  try {
    return (await firstMessage(worker, 'template')) as Uint8Array
  } finally {
    await worker.terminate()
  }
}

const startWorker = (task: object): Worker =>
  new Worker(new URL('./pgliteWorker.mjs', import.meta.url), { workerData: task, execArgv: [], stdout: false })

const firstMessage = (worker: Worker, field: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => {
      clearTimeout(deadline)
      void worker.terminate()
      reject(
        new StoreError('STORE_OPEN', 'the embedded database does not start', {
          field,
          hint: 'the directory may be damaged, full or made by another version; restore it or choose an empty one',
          cause,
        }),
      )
    }
    const deadline = setTimeout(() => fail(new Error('it took too long')), startDeadlineMs)
    worker.once('error', fail)
    worker.once('exit', fail)
    worker.once('message', message => {
      clearTimeout(deadline)
      worker.off('error', fail)
      worker.off('exit', fail)
      resolve(message)
    })
  })
