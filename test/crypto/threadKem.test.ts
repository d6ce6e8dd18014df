import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { inlineKem, KEM_BYTES, ThreadKem, type ThreadKemOptions } from '../../src/crypto/index.js'

const publicKey = Buffer.alloc(KEM_BYTES.publicKey, 1)
const privateKey = Buffer.alloc(KEM_BYTES.privateKey, 2)
const ciphertext = Buffer.alloc(KEM_BYTES.ciphertext, 3)
const codesOf = async (operations: ReadonlyArray<Promise<unknown>>): Promise<unknown[]> =>
  (await Promise.allSettled(operations)).map(outcome =>
    outcome.status === 'rejected' ? outcome.reason.code : outcome.status,
  )
const failed = (code: string) => expect.objectContaining({ code })

const opened: ThreadKem[] = []
const open = (options: ThreadKemOptions = {}): ThreadKem => {
  const kem = new ThreadKem(options)
  opened.push(kem)
  return kem
}
afterEach(async () => {
  vi.useRealTimers()
  for (const kem of opened.splice(0)) await kem.close()
})

const realThread = (): Worker =>
  new Worker(new URL('../../src/crypto/kem/worker.mjs', import.meta.url), { execArgv: [] })

/** A thread that answers with what `answer` makes of a request: source text, since a thread shares nothing. */
const thread = (answer: string): Worker =>
  new Worker(
    `const { parentPort } = require('node:worker_threads')
     parentPort.on('message', request => { ${answer} })`,
    { eval: true, execArgv: [] },
  )

/** Answers a byte of the request's key. */
const echo = `parentPort.postMessage([Uint8Array.of((request.publicKey ?? request.privateKey)[0]), new Uint8Array(1)])`

/** Starts what the scripts say, one after the other, then echoing threads. */
const threads = (...scripts: string[]): { start: () => Worker; started: () => number } => {
  let count = 0
  return { start: () => thread(scripts[count++] ?? echo), started: () => count }
}

describe('the KEM in a thread', () => {
  it('gives the secrets that the KEM gives', async () => {
    const [kem, inline] = [open(), inlineKem()]
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const own = await kem.generateKeyPair()
        const { ciphertext, sharedSecret } = await kem.encapsulate(own.publicKey)
        expect(await kem.decapsulate(ciphertext, own.privateKey)).toEqual(sharedSecret)
        expect(await inline.decapsulate(ciphertext, own.privateKey)).toEqual(sharedSecret)
      }),
    )
  })

  it('never gives the same keys twice', async () => {
    const kem = open({ keyPairsAhead: 2 })
    const pairs = []
    for (let index = 0; index < 10; index++) pairs.push(await kem.generateKeyPair())
    expect(new Set(pairs.map(pair => Buffer.from(pair.privateKey).toString('hex'))).size).toBe(pairs.length)
  })

  it('lets the event loop turn while it works', async () => {
    const kem = open({ keyPairsAhead: 0 })
    let turns = 0
    let working = true
    const count = (): void => {
      turns++
      if (working) setImmediate(count)
    }
    setImmediate(count)
    await Promise.all(Array.from({ length: 10 }, () => kem.generateKeyPair()))
    working = false
    expect(turns).toBeGreaterThan(20)
  })

  it('makes key pairs ahead when nothing waits: as many as asked, and again those that were taken', async () => {
    let worker: Worker | undefined
    const kem = open({ keyPairsAhead: 3, start: () => (worker = realThread()) })
    const answers = async (count: number): Promise<Uint8Array[]> => {
      const lengths = []
      for (let index = 0; index < count; index++) lengths.push((await once(worker as Worker, 'message'))[0][0])
      return lengths
    }
    const first = kem.encapsulate((await inlineKem().generateKeyPair()).publicKey)
    const [, ...ahead] = await answers(4)
    expect(ahead.map(({ length }) => length)).toEqual([1158, 1158, 1158])
    await first
    // The next answer is the one of the next operation: no fourth pair was made.
    const [second] = await Promise.all([answers(1), kem.decapsulate(ciphertext, privateKey)])
    expect(second.map(({ length }) => length)).toEqual([32])
    const [again] = await Promise.all([answers(1), kem.generateKeyPair()])
    expect(again.map(({ length }) => length)).toEqual([1158])
  })

  it('takes copies of the bytes, not the blocks that they stand in', async () => {
    const kem = open({
      start: () => thread('parentPort.postMessage([new Uint8Array(request.publicKey.buffer), new Uint8Array(1)])'),
    })
    const block = Buffer.alloc(16_384, 7)
    const { ciphertext } = await kem.encapsulate(block.subarray(100, 100 + KEM_BYTES.publicKey))
    expect(ciphertext).toHaveLength(KEM_BYTES.publicKey)
  })

  it('refuses bytes of a wrong size', async () => {
    const kem = open(threads())
    const short = Buffer.alloc(5)
    for (const port of [kem, inlineKem()]) {
      const refused = [
        port.encapsulate(short),
        port.decapsulate(short, privateKey),
        port.decapsulate(ciphertext, short),
      ]
      expect(await codesOf(refused)).toEqual(refused.map(() => 'CRYPTO_KEY_SIZE'))
    }
  })
})

describe('a thread of the KEM that ends or hangs', () => {
  it('loses no operation: those that were lost with it are done by the next thread', async () => {
    const { start, started } = threads('process.exit(1)')
    const kem = open({ keyPairsAhead: 0, start })
    const all = await Promise.all([kem.encapsulate(publicKey), kem.decapsulate(ciphertext, privateKey)])
    expect(all).toEqual([{ ciphertext: Buffer.of(1), sharedSecret: Buffer.of(0) }, Buffer.of(2)])
    expect(started()).toBe(2)
  })

  it('starts again after a long silence of the thread', async () => {
    // The deadline is the test's: however long the next thread takes to start, its own has not come.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { start, started } = threads('for (;;) {}')
    const kem = open({ keyPairsAhead: 0, deadlineMs: 200, start })
    const secret = kem.decapsulate(ciphertext, privateKey)
    vi.advanceTimersByTime(199)
    expect(started()).toBe(1)
    vi.advanceTimersByTime(1)
    expect(started()).toBe(2)
    expect(await secret).toEqual(Buffer.of(2))
    expect(vi.getTimerCount()).toBe(0)
  })

  it('gives up an operation that ended two threads, and does the others', async () => {
    const deadly = `if (request.type === 'encapsulate') process.exit(1); ${echo}`
    const kem = open({ keyPairsAhead: 0, ...threads(deadly, deadly, deadly) })
    const outcomes = await Promise.allSettled([kem.encapsulate(publicKey), kem.decapsulate(ciphertext, privateKey)])
    expect(outcomes).toEqual([
      { status: 'rejected', reason: failed('KEM_UNAVAILABLE') },
      { status: 'fulfilled', value: Buffer.of(2) },
    ])
  })

  it('refuses what waits when no thread comes up, and tries again with the next operation', async () => {
    const { start, started } = threads('throw new Error("no memory")', 'process.exit(1)', 'process.exit(1)')
    const kem = open({ keyPairsAhead: 4, start })
    const waiting = codesOf([1, 2, 3].map(() => kem.decapsulate(ciphertext, privateKey)))
    expect(await waiting).toEqual(['KEM_UNAVAILABLE', 'KEM_UNAVAILABLE', 'KEM_UNAVAILABLE'])
    expect(started()).toBe(3)
    expect(await kem.decapsulate(ciphertext, privateKey)).toEqual(Buffer.of(2))
  })

  it('refuses what waits when a thread cannot even be made', async () => {
    let tries = 0
    const start = (): Worker => {
      if (tries++ === 0) throw new Error('too many threads')
      return thread(echo)
    }
    const kem = open({ keyPairsAhead: 0, start })
    await expect(kem.decapsulate(ciphertext, privateKey)).rejects.toEqual(failed('KEM_UNAVAILABLE'))
    expect(await kem.decapsulate(ciphertext, privateKey)).toEqual(Buffer.of(2))
  })

  it('is not started again for key pairs that nobody waits for', async () => {
    let [count, last]: [number, Worker | undefined] = [0, undefined]
    const start = (): Worker => {
      count++
      last = thread(`if (request.type === 'generate') process.exit(1); ${echo}`)
      return last
    }
    const kem = open({ keyPairsAhead: 4, start })
    await kem.decapsulate(ciphertext, privateKey)
    await once(last as unknown as Worker, 'exit')
    expect(count).toBe(1)
  })
})

describe('bounds of the KEM in a thread', () => {
  it('refuses operations when too many wait', async () => {
    const kem = open({ maxWaiting: 2, ...threads('') })
    const waiting = codesOf(Array.from({ length: 10 }, () => kem.decapsulate(ciphertext, privateKey)))
    await expect(kem.decapsulate(ciphertext, privateKey)).rejects.toEqual(failed('KEM_OVERLOADED'))
    await kem.close()
    expect(await waiting).toEqual(Array.from({ length: 10 }, () => 'KEM_CLOSED'))
  })

  it('ends its thread and refuses everything once it is closed', async () => {
    let worker: Worker | undefined
    const kem = open({ keyPairsAhead: 1, start: () => (worker = realThread()) })
    await kem.generateKeyPair()
    const ended = once(worker as unknown as Worker, 'exit')
    await kem.close()
    await ended
    for (const refused of [
      kem.generateKeyPair(),
      kem.encapsulate(publicKey),
      kem.decapsulate(ciphertext, privateKey),
    ]) {
      await expect(refused).rejects.toEqual(failed('KEM_CLOSED'))
    }
    await kem.close()
  })
})
