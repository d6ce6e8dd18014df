import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { readLines } from '../../src/service/lines.js'
import { type StdioOptions, serveStdio } from '../../src/service/stdio.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { FakeAgent } from '../support/fakeAgent.js'

const setUp = (options: StdioOptions = {}, highWaterMark = 16_384) => {
  const agent = new FakeAgent('alice')
  const input = new PassThrough()
  const output = new PassThrough({ highWaterMark })
  const served = serveStdio(agent, input, output, options)
  served.catch(() => {})
  const lines = readLines(output, 1_000_000)
  const next = async () => {
    const { value } = await lines.next()
    return value !== undefined && 'text' in value ? JSON.parse(value.text) : undefined
  }
  const send = (method: string, id: number, params = {}) =>
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
  return { agent, input, output, served, next, send }
}

/** A call that is answered when the test says so. */
const heldCall = () => {
  let release = (): void => {}
  const held = new Promise<{ results: [] }>(resolve => {
    release = () => resolve({ results: [] })
  })
  return { held, release }
}

describe('serving an agent on streams', () => {
  it('answers requests and writes events as they come, one JSON object a line', async () => {
    const { agent, next, send } = setUp()
    send('createConnection', 1)
    expect(await next()).toMatchObject({ id: 1, result: { connectionId: 'alice-1' } })
    agent.emit('alice-1', { type: 'CON', pqEncryption: false })
    expect(await next()).toMatchObject({ method: 'event', params: { cursor: 1, type: 'CON', pqEncryption: false } })
  })

  it('writes the events of the chosen consumer in cursor order', async () => {
    const { agent, next } = setUp({ consumer: 'archive' })
    const events = vi.spyOn(agent, 'events')
    for (let n = 0; n < 300; n++) agent.emit('c', { type: 'SENT', messageId: n, pqEncryption: false })
    for (let n = 0; n < 300; n++) expect(await next()).toMatchObject({ params: { cursor: n + 1, messageId: n } })
    const second = serveStdio(agent, new PassThrough().end(), new PassThrough(), { consumer: 'archive' })
    await second
    expect(events).toHaveBeenCalledWith(expect.objectContaining({ consumer: 'archive' }))
  })

  it('answers a line above the bound with a typed error and goes on', async () => {
    const { input, next, send } = setUp({ maxLineLength: 200 })
    input.write('x'.repeat(150))
    input.write(`${'x'.repeat(150)}\n`)
    send('listConnections', 2)
    expect(await next()).toMatchObject({
      id: null,
      error: { code: -32_600, data: { code: 'RPC_LINE', facts: { limit: 200 } } },
    })
    expect(await next()).toMatchObject({ id: 2, result: {} })
  })

  it('answers a line that is no UTF-8 as one that is no JSON', async () => {
    const { input, next } = setUp()
    input.write(Buffer.from([0x22, 0xff, 0x22, 0x0a]))
    expect(await next()).toMatchObject({ id: null, error: { code: -32_700 } })
  })
})

describe('the end of serving on streams', () => {
  it('finishes the answers in flight after the end of the input', async () => {
    const { agent, input, output, served, send } = setUp()
    const { held, release } = heldCall()
    vi.spyOn(agent, 'subscribe').mockReturnValue(held)
    send('subscribe', 1)
    input.end()
    await once(input, 'end')
    expect(output.readableLength).toBe(0)
    release()
    await served
    expect(JSON.parse(output.read().toString())).toMatchObject({ id: 1, result: { results: [] } })
  })

  it('stops in order when it is told to', async () => {
    const stop = new AbortController()
    const { agent, input, output, served, send } = setUp({ stop: stop.signal })
    const { held, release } = heldCall()
    const subscribe = vi.spyOn(agent, 'subscribe').mockReturnValue(held)
    send('subscribe', 1)
    await vi.waitFor(() => expect(subscribe).toHaveBeenCalled())
    stop.abort()
    release()
    await served
    expect(JSON.parse(output.read().toString())).toMatchObject({ id: 1 })
    expect(input.destroyed).toBe(true)
  })

  it('does not wait for ever for an answer that does not come', async () => {
    const timers: Array<() => void> = []
    const clock = {
      now: () => 0,
      elapsed: () => 0,
      setTimeout: (run: () => void) => timers.push(run),
      clearTimeout: () => {},
    }
    const { agent, input, served, send } = setUp({ clock, graceMs: 1 })
    const subscribe = vi.spyOn(agent, 'subscribe').mockReturnValue(heldCall().held)
    send('subscribe', 1)
    await vi.waitFor(() => expect(subscribe).toHaveBeenCalled())
    input.end()
    await vi.waitFor(() => expect(timers).toHaveLength(1))
    timers[0]?.()
    await served
  })

  it('ends when the reader of the output goes away', async () => {
    const { agent, output, served } = setUp()
    output.destroy()
    agent.emit('c', { type: 'CON', pqEncryption: false })
    await served
  })

  it('fails with the typed error when the event log cannot be read any more', async () => {
    const agent = new FakeAgent('alice')
    vi.spyOn(agent, 'events').mockImplementation(() => {
      throw new StoreError('STORE_NOT_OWNER', 'another process has the database')
    })
    await expect(serveStdio(agent, new PassThrough(), new PassThrough())).rejects.toMatchObject({
      code: 'STORE_NOT_OWNER',
    })
  })

  it('waits for a database that is away, and goes on with the next event', async () => {
    const clock = virtualClock()
    const noticed: string[] = []
    const { agent, next, served, input } = setUp({
      clock,
      onUnexpected: (error, what) => noticed.push(`${what} ${(error as StoreError).code}`),
    })
    agent.emit('c', { type: 'CON', pqEncryption: false })
    expect((await next()).params.cursor).toBe(1)
    const events = vi.spyOn(agent, 'events').mockImplementationOnce(() => {
      throw new StoreError('STORE_UNAVAILABLE', 'the database is away')
    })
    agent.fail(new StoreError('STORE_UNAVAILABLE', 'the database is away'))
    await clock.advance(999)
    expect(events).not.toHaveBeenCalled()
    await clock.advance(1)
    expect(events).toHaveBeenCalledOnce()
    await clock.advance(1_000)
    agent.emit('c', { type: 'SENT', messageId: 7, pqEncryption: false })
    expect((await next()).params).toMatchObject({ cursor: 2, type: 'SENT' })
    expect(noticed).toEqual(['events STORE_UNAVAILABLE', 'events STORE_UNAVAILABLE'])
    input.end()
    await served
  })
})

describe('backpressure of serving on streams', () => {
  it('takes no more events from the log than a reader reads', async () => {
    const { agent, output, next } = setUp({}, 512)
    const taken: number[] = []
    const log = agent.log
    const read = log.find.bind(log)
    vi.spyOn(log, 'find').mockImplementation(predicate => {
      const found = read(predicate)
      if (found !== undefined) taken.push(found.cursor)
      return found
    })
    for (let n = 0; n < 500; n++) agent.emit('c', { type: 'CON', pqEncryption: false })
    await vi.waitFor(() => expect(output.writableNeedDrain).toBe(true))
    // Both halves of the stream hold 512 bytes, an event takes more than 100.
    expect(taken.length).toBeLessThan(20)
    for (let n = 0; n < 500; n++) expect(await next()).toMatchObject({ params: { cursor: n + 1 } })
  })

  it('reads no further requests while the bound of calls in flight is reached', async () => {
    const { agent, send, next } = setUp({ maxInFlight: 3 })
    const { held, release } = heldCall()
    const subscribe = vi.spyOn(agent, 'subscribe').mockReturnValue(held)
    for (let id = 0; id < 5; id++) send('subscribe', id)
    await vi.waitFor(() => expect(subscribe).toHaveBeenCalledTimes(3))
    release()
    for (let id = 0; id < 5; id++) expect(await next()).toMatchObject({ id })
    expect(subscribe).toHaveBeenCalledTimes(5)
  })
})

describe('lines', () => {
  it('are the same however the bytes are cut', async () => {
    const lines = fc.array(fc.string({ unit: 'grapheme', minLength: 1 }).filter(text => !/[\r\n]/.test(text)))
    await fc.assert(
      fc.asyncProperty(
        lines,
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom('\n', '\r\n'),
        async (texts, size, end) => {
          const bytes = Buffer.from(texts.map(text => text + end).join(''))
          const stream = new PassThrough()
          for (let at = 0; at < bytes.length; at += size) stream.write(bytes.subarray(at, at + size))
          stream.end()
          const read: string[] = []
          for await (const line of readLines(stream, 10_000)) if ('text' in line) read.push(line.text)
          expect(read).toEqual(texts)
        },
      ),
    )
  })

  it('have a bound on what is kept of them', async () => {
    const stream = new PassThrough()
    stream.end(`${'a'.repeat(11)}\n${'b'.repeat(10)}\n${'c'.repeat(12)}`)
    const read = []
    for await (const line of readLines(stream, 10)) read.push(line)
    expect(read).toEqual([{ problem: 'tooLong' }, { text: 'b'.repeat(10) }, { problem: 'tooLong' }])
  })
})
