import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { defaultSignalConfig } from '../../src/signal/config.js'
import { SignalLink } from '../../src/signal/net/link.js'
import { signalDialer } from '../../src/signal/net/webSocket.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { scriptedServer } from '../support/signal/frames.js'

const second = 1_000

const start = (
  config: Partial<typeof defaultSignalConfig> = {},
  dialing: ReturnType<typeof scriptedServer>['dialing'] = 'open',
) => {
  const clock = virtualClock(0)
  const server = scriptedServer()
  server.dialing = dialing
  const states: string[] = []
  const requested: string[] = []
  const link = new SignalLink({
    socket: 'unidentified',
    clock,
    ...defaultSignalConfig,
    ...config,
    dial: signal => server.dial(signal),
    onRequest: request => {
      requested.push(request.path)
      request.respond(200)
    },
    onState: state => states.push(state),
  })
  link.start()
  return { clock, server, link, states, requested }
}

describe('a socket', () => {
  it('S02 connects, is probed, backs off 1 s, 2 s … 30 s while the server is away, and begins anew after a success', async () => {
    const { clock, server, states, link } = start({}, 'fail')
    await clock.settle()
    expect(states).toEqual(['connecting', 'backingOff'])
    const waits: number[] = []
    for (let attempt = 0; attempt < 8; attempt++) {
      const [before, dials] = [clock.now(), server.dials]
      while (server.dials === dials) await clock.next()
      waits.push((clock.now() - before) / second)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 30, 30, 30])
    server.dialing = 'open'
    await clock.advance(30 * second)
    expect(link.state).toBe('open.quiet')
    server.close(1006)
    await clock.settle()
    expect(link.state).toBe('backingOff')
    await clock.advance(1 * second)
    expect(link.state).toBe('open.quiet')
  })

  it.each([
    [4401, 'closed.invalidated'],
    [4409, 'closed.replaced'],
  ])('S02 closed with %d it stays closed, until a start from outside', async (code, state) => {
    const { clock, server, link } = start()
    await clock.settle()
    server.close(code)
    await clock.advance(3_600 * second)
    expect(link.state).toBe(state)
    expect(server.dials).toBe(1)
    link.start()
    await clock.settle()
    expect(link.state).toBe('open.quiet')
  })

  it('S02 refused with 403 it does not knock again', async () => {
    const { clock, server, link } = start({}, 'refuse')
    await clock.advance(3_600 * second)
    expect(link.state).toBe('closed.refused')
    expect(server.dials).toBe(1)
  })

  it('S02 a 403 refuses credentials where there are any; without, it is a server that cannot be reached now', async () => {
    const server = createServer()
    server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const dialer = signalDialer({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
    const { signal } = new AbortController()
    const facts = { status: 403 }
    await expect(
      dialer.dial({ socket: 'identified', path: '/', authorization: 'Basic x' }, signal),
    ).rejects.toMatchObject({ code: 'SIGNAL_REFUSED', facts })
    await expect(dialer.dial({ socket: 'unidentified', path: '/' }, signal)).rejects.toMatchObject({
      code: 'SIGNAL_UNREACHABLE',
      facts,
    })
    server.close()
  })

  it('S03 a keepalive every 30 s; nothing else is sent on a quiet socket', async () => {
    const { clock, server } = start()
    await clock.advance(125 * second)
    expect(server.requests).toEqual(Array(4).fill('GET /v1/keepalive'))
    expect(server.dials).toBe(1)
  })

  it('S03 a blackholed socket is found within one keepalive and its deadline: 42 s, not 110 s', async () => {
    const { clock, server, link } = start()
    await clock.advance(31 * second)
    server.answering = false
    const since = clock.now()
    while (link.isOpen) await clock.next()
    expect(clock.now() - since).toBeLessThanOrEqual(42 * second)
    expect(link.state).toBe('backingOff')
    server.answering = true
    await clock.advance(1 * second)
    expect(link.state).toBe('open.quiet')
  })

  it('S03 55 s between keepalives is a setting', async () => {
    const { clock, server } = start({ keepaliveMs: 55 * second })
    await clock.advance(54 * second)
    expect(server.requests).toEqual([])
    await clock.advance(1 * second)
    expect(server.requests).toHaveLength(1)
  })

  it('S03 every request has a deadline; one that nobody answers fails at it and leaves the socket to the next probe', async () => {
    const { clock, server, link } = start()
    await clock.settle()
    server.answering = false
    const failed = link.request({ verb: 'GET', path: '/v1/accounts/whoami' }).catch((error: unknown) => error)
    await clock.advance(defaultSignalConfig.requestTimeoutMs)
    expect(await failed).toMatchObject({ code: 'SIGNAL_TIMEOUT', field: 'unidentified' })
    expect(link.isOpen).toBe(true)
  })

  it('S03 connecting has a deadline as well', async () => {
    const { clock, link } = start({}, 'hang')
    await clock.settle()
    expect(link.state).toBe('connecting')
    await clock.advance(defaultSignalConfig.connectTimeoutMs)
    expect(link.state).toBe('backingOff')
  })

  it('S03 whoever waits for an answer hears of a lost socket at once', async () => {
    const { clock, server, link } = start()
    await clock.settle()
    server.answering = false
    const failed = link.request({ verb: 'GET', path: '/x' }).catch((error: unknown) => error)
    await clock.settle()
    server.close(1006)
    expect(await failed).toMatchObject({ code: 'SIGNAL_CLOSED', facts: { closeCode: 1006 } })
    await expect(link.request({ verb: 'GET', path: '/y' })).rejects.toMatchObject({ code: 'SIGNAL_CLOSED' })
  })

  it('S04 before a send a socket is probed when nothing was received on it for 5 s, and not otherwise', async () => {
    const { clock, server, link } = start()
    await clock.advance(5 * second)
    expect(await link.ensureAlive(5 * second, 0)).toBe(true)
    expect(server.requests).toEqual([])
    await clock.advance(1)
    expect(await link.ensureAlive(5 * second, 0)).toBe(true)
    expect(server.requests).toEqual(['GET /v1/keepalive'])
    // What the server says by itself shows that it is alive.
    await clock.advance(6 * second)
    server.push('/api/v1/message')
    expect(await link.ensureAlive(5 * second, 0)).toBe(true)
    expect(server.requests).toHaveLength(1)
  })

  it('S04 a dead socket is told as dead after the deadline of the probe; many that ask at once share one probe', async () => {
    const { clock, server, link } = start()
    await clock.advance(6 * second)
    server.answering = false
    const asked = Promise.all(Array.from({ length: 10 }, () => link.ensureAlive(5 * second, 0)))
    await clock.advance(defaultSignalConfig.probeDeadlineMs)
    expect(await asked).toEqual(Array(10).fill(false))
    expect(server.requests).toHaveLength(1)
  })

  it('S03 many requests at once wait for their turn: so many are unanswered at a time, and a lost socket fails all of them', async () => {
    const { clock, server, link } = start({ requestsInFlight: 8 })
    await clock.settle()
    const answered = await Promise.all(Array.from({ length: 50 }, () => link.request({ verb: 'GET', path: '/x' })))
    expect(answered).toHaveLength(50)
    server.answering = false
    const failed = Array.from({ length: 50 }, () =>
      link.request({ verb: 'GET', path: '/y' }).catch((error: unknown) => error),
    )
    await clock.settle()
    expect(server.requests.filter(path => path === 'GET /y')).toHaveLength(8)
    server.close(1006)
    for (const error of await Promise.all(failed)) expect(error).toMatchObject({ code: 'SIGNAL_CLOSED' })
    expect(server.requests.filter(path => path === 'GET /y')).toHaveLength(8)
  })

  it('S02 an answer of an older session changes nothing for the next one', async () => {
    const { clock, server, link, requested } = start()
    await clock.settle()
    server.answering = false
    const old = link.request({ verb: 'GET', path: '/old' }).catch((error: unknown) => error)
    await clock.settle()
    server.close(1006)
    server.answering = true
    await clock.advance(1 * second)
    expect(await old).toMatchObject({ code: 'SIGNAL_CLOSED' })
    expect(await link.request({ verb: 'GET', path: '/new' })).toMatchObject({ status: 200 })
    server.push('/api/v1/queue/empty')
    expect(requested).toEqual(['/api/v1/queue/empty'])
    link.stop()
    expect(clock.pendingTimers).toBe(0)
  })
})
