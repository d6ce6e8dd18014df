import { Worker } from 'node:worker_threads'
import { type Bytes, asBuffer } from '../../encoding/bytes.js'
import { KemError } from '../../errors.js'
import type { KeyPair } from '../keys.js'
import { checkKemSize, type Encapsulation, type Kem } from './port.js'
import type { KemAnswer, KemRequest } from './worker.mjs'

export interface ThreadKemOptions {
  /** Key pairs kept ready (about 3 KB each); the thread makes them when nobody waits for anything else. Default 8. */
  readonly keyPairsAhead?: number
  /** Operations that may wait; further ones are refused with `KEM_OVERLOADED`. Default 10,000. */
  readonly maxWaiting?: number
  /** How long the thread may take for one operation before it is started again, in ms. Default 10,000. */
  readonly deadlineMs?: number
  /** Starts the thread: other ones in tests. */
  readonly start?: () => Worker
}

interface Job {
  readonly request: KemRequest
  readonly resolve: (answer: KemAnswer) => void
  /** Undefined for a key pair made ahead: nobody waits for it. */
  readonly reject: ((error: KemError) => void) | undefined
  /** How often the thread ended while this job was the first in line. */
  attempts: number
}

/** Jobs at the thread at once, so that it need not wait for this one between them. */
const maxSent = 8
/** Times that a job is handed to the thread, and threads that may end without an answer before everything is refused. */
const maxAttempts = 2
const maxFailures = 3

/**
 * The KEM in a thread of its own, which starts with the first operation and starts again when it ends or hangs: a job that was lost with
 * it is done once more. Owns the thread and the key pairs made ahead; close it.
 */
export class ThreadKem implements Kem {
  readonly #options: Required<ThreadKemOptions>
  /** Whoever is first here has waited longest. */
  readonly #waiting: Job[] = []
  /** At the thread, which answers in this order. */
  #sent: Job[] = []
  readonly #ahead: KeyPair[] = []
  #thread: Worker | undefined
  #timer: NodeJS.Timeout | undefined
  /** Threads that ended since the last answer. */
  #failures = 0
  #closed = false

  constructor(options: ThreadKemOptions = {}) {
    this.#options = { keyPairsAhead: 8, maxWaiting: 10_000, deadlineMs: 10_000, start: startThread, ...options }
  }

  async generateKeyPair(): Promise<KeyPair> {
    if (this.#closed) throw closed()
    const ready = this.#ahead.shift()
    if (ready === undefined) return keyPairOf(await this.#done({ type: 'generate' }))
    this.#send()
    return ready
  }

  async encapsulate(publicKey: Bytes): Promise<Encapsulation> {
    checkKemSize('publicKey', publicKey)
    const [ciphertext, sharedSecret] = await this.#done({ type: 'encapsulate', publicKey: copyOf(publicKey) })
    return { ciphertext: asBuffer(ciphertext), sharedSecret: asBuffer(sharedSecret as Bytes) }
  }

  async decapsulate(ciphertext: Bytes, privateKey: Bytes): Promise<Bytes> {
    checkKemSize('ciphertext', ciphertext)
    checkKemSize('privateKey', privateKey)
    const request = { type: 'decapsulate', ciphertext: copyOf(ciphertext), privateKey: copyOf(privateKey) } as const
    const [sharedSecret] = await this.#done(request)
    return asBuffer(sharedSecret)
  }

  /** Refuses what waits with `KEM_CLOSED`, ends the thread and forgets its keys. */
  async close(): Promise<void> {
    this.#closed = true
    this.#refuse([...this.#sent.splice(0), ...this.#waiting.splice(0)], closed())
    for (const { privateKey } of this.#ahead.splice(0)) privateKey.fill(0)
    const thread = this.#thread
    this.#forgetThread()
    await thread?.terminate()
  }

  #done(request: KemRequest): Promise<KemAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closed()
      if (this.#waiting.length >= this.#options.maxWaiting) throw overloaded(this.#options.maxWaiting)
      this.#waiting.push({ request, resolve, reject, attempts: 0 })
      this.#send()
    })
  }

  /** Hands jobs to the thread; when there are none, one key pair at a time is made ahead. */
  #send(): void {
    if (this.#waiting.length === 0 && this.#sent.length === 0 && this.#ahead.length < this.#options.keyPairsAhead) {
      const resolve = (answer: KemAnswer): unknown => this.#ahead.push(keyPairOf(answer))
      this.#waiting.push({ request: { type: 'generate' }, resolve, reject: undefined, attempts: 0 })
    }
    if (this.#waiting.length > 0 && this.#thread === undefined) {
      try {
        this.#thread = this.#started()
      } catch (cause) {
        this.#refuse(this.#waiting.splice(0), unavailable(cause))
      }
    }
    for (const job of this.#waiting.splice(0, maxSent - this.#sent.length)) {
      this.#sent.push(job)
      // Copied, not given away: the job may have to be handed to another thread.
      this.#thread?.postMessage(job.request, [])
    }
    this.#watch()
  }

  #started(): Worker {
    const thread = this.#options.start()
    let cause: unknown
    thread.on('message', (answer: KemAnswer) => this.#answered(thread, answer))
    thread.on('error', error => {
      cause = error
    })
    thread.on('exit', () => this.#ended(thread, cause))
    return thread
  }

  #answered(thread: Worker, answer: KemAnswer): void {
    const job = thread === this.#thread ? this.#sent.shift() : undefined
    if (job === undefined) return
    this.#failures = 0
    job.resolve(answer)
    this.#send()
  }

  /** Only an operation that somebody waits for keeps the process alive, and only the first in line has a deadline. */
  #watch(): void {
    clearTimeout(this.#timer)
    const thread = this.#thread
    if (thread === undefined) return
    if (this.#sent.some(job => job.reject !== undefined)) thread.ref()
    else thread.unref()
    if (this.#sent.length === 0) return
    this.#timer = setTimeout(() => {
      void thread.terminate()
      this.#ended(thread, undefined)
    }, this.#options.deadlineMs).unref()
  }

  /** The thread is lost: its jobs are handed to another one, unless the first of them was lost before. */
  #ended(thread: Worker, cause: unknown): void {
    if (thread !== this.#thread) return
    this.#forgetThread()
    this.#failures++
    const lost = this.#sent.splice(0).filter(job => job.reject !== undefined)
    const [first] = lost
    if (first !== undefined) first.attempts++
    const given = first !== undefined && first.attempts >= maxAttempts ? lost.splice(0, 1) : []
    this.#waiting.unshift(...lost)
    const refused = this.#failures >= maxFailures ? this.#waiting.splice(0) : []
    this.#refuse([...given, ...refused], unavailable(cause))
    // Key pairs are made ahead again after the next answer: a thread that cannot start is not started for them.
    if (this.#waiting.length > 0) this.#send()
  }

  #forgetThread(): void {
    this.#thread = undefined
    clearTimeout(this.#timer)
  }

  #refuse(jobs: readonly Job[], error: KemError): void {
    for (const { reject } of jobs) reject?.(error)
  }
}

const startThread = (): Worker =>
  new Worker(new URL('./worker.mjs', import.meta.url), { execArgv: [], stdout: false, name: 'kem' })

const keyPairOf = ([publicKey, privateKey]: KemAnswer): KeyPair => ({
  publicKey: asBuffer(publicKey),
  privateKey: asBuffer(privateKey as Bytes),
})

/** Out of the block or pool that it may be a part of: a message to a thread takes all the memory behind a view. */
const copyOf = (bytes: Bytes): Uint8Array => new Uint8Array(bytes)

const closed = (): KemError => new KemError('KEM_CLOSED', 'the KEM is closed', { field: 'kem' })

const overloaded = (limit: number): KemError =>
  new KemError('KEM_OVERLOADED', 'too many KEM operations wait', {
    field: 'kem',
    facts: { limit },
    hint: 'Try again later, or with fewer operations at once.',
  })

const unavailable = (cause: unknown): KemError =>
  new KemError('KEM_UNAVAILABLE', 'the thread of the KEM ended or took too long', {
    field: 'kem',
    hint: 'Try again: the thread is started anew.',
    cause,
  })
