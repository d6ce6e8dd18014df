import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { generateKeyPair, verify } from '../../../src/crypto/index.js'
import { DuologueError, RouterError, TransportError } from '../../../src/errors.js'
import { isTemporaryError, type RouterEvent, type RouterRequest } from '../../../src/smp/client.js'
import { verifyAuthorization } from '../../../src/smp/protocol/authorization.js'
import type { SmpError } from '../../../src/smp/protocol/routerErrors.js'
import type { ReceivedCommand } from '../../support/fakeRouter.js'
import { clientWorld, id, none, outcome } from './world.js'

const ping: RouterRequest = { command: { type: 'PING' }, entityId: none }
const sub = (n: number): RouterRequest => ({ command: { type: 'SUB' }, entityId: id(n) })
const message = (n: number) => ({ type: 'MSG' as const, messageId: id(n), body: new Uint8Array(100) })
const sendOf = (n: number, bytes: number): RouterRequest => ({
  command: { type: 'SEND', flags: { notification: false }, body: new Uint8Array(bytes) } as RouterRequest['command'],
  entityId: id(n),
})

describe('requests and answers', () => {
  it('resolves each request with its own answer, whatever the order', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const [a, b] = [session.send(sub(1)), session.send(sub(2))]
    await clock.settle()
    const [first, second] = atRouter.received as [ReceivedCommand, ReceivedCommand]
    atRouter.send({ to: second, response: { type: 'SOK' } }, { to: first, response: { type: 'OK' } })
    await expect(a).resolves.toEqual({ type: 'OK' })
    await expect(b).resolves.toEqual({ type: 'SOK' })
    expect(session.counts()).toEqual({ inFlight: 0, queued: 0, timedOut: 0, late: 0, unexpected: 0 })
  })

  it('sends requests of one turn in one block, with different random correlation ids of 24 bytes', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    for (let n = 0; n < 100; n++) outcome(session.send(sub(n)))
    await clock.settle()
    expect(atRouter.received.length).toBe(100)
    expect(new Set(atRouter.received.map(({ block }) => block)).size).toBe(1)
    const corrIds = atRouter.received.map(({ corrId }) => Buffer.from(corrId).toString('hex'))
    expect(new Set(corrIds).size).toBe(100)
    expect(corrIds.every(hex => hex.length === 48)).toBe(true)
    expect(atRouter.received.map(({ entityId }) => entityId[0])).toEqual(Array.from({ length: 100 }, (_, n) => n))
  })

  it('sendMany fills blocks: 135 signed SUBs fit, and each has its own result in the order of the requests', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect({ maxInFlight: 1_000 })
    const { privateKey } = generateKeyPair('ed25519')
    const requests = Array.from({ length: 270 }, (_, n) => ({
      ...sub(n % 200),
      key: { algorithm: 'ed25519' as const, privateKey },
    }))
    const results = session.sendMany(requests)
    await clock.settle()
    expect(new Set(atRouter.received.map(({ block }) => block)).size).toBe(2)
    atRouter.send(
      ...atRouter.received.map((to, n) => ({
        to,
        response: n % 2 === 0 ? { type: 'SOK' as const } : { type: 'ERR' as const, error: { type: 'AUTH' as const } },
      })),
    )
    const settled = await results
    expect(settled.length).toBe(270)
    settled.forEach((result, n) => {
      if (n % 2 === 0) expect(result).toEqual({ status: 'fulfilled', value: { type: 'SOK' } })
      else expect(result).toMatchObject({ status: 'rejected', reason: { code: 'AUTH' } })
    })
  })

  it.each(['ed25519', 'ed448', 'x25519'] as const)(
    'authorizes with %s over the TLS session id and the transmission',
    async algorithm => {
      const { clock, connect } = await clientWorld()
      const { session, atRouter } = await connect()
      const keys = generateKeyPair(algorithm)
      outcome(session.send({ ...sub(1), key: { algorithm, privateKey: keys.privateKey } }))
      await clock.settle()
      const { corrId, authorization, authorized } = atRouter.received[0] as ReceivedCommand
      const { privateKey: routerPrivateKey } = atRouter
      const publicKey = { algorithm, raw: keys.publicKey }
      expect(verifyAuthorization(publicKey, authorization, authorized, { corrId, routerPrivateKey })).toBe(true)
      if (algorithm === 'ed25519') expect(verify(algorithm, keys.publicKey, authorized, authorization)).toBe(true)
      expect(Buffer.from(authorized.subarray(1, 33))).toEqual(Buffer.from(session.tlsSessionId))
    },
  )

  it('uses the correlation id that the caller chose, and refuses one that is open or no id', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const first = session.send({ ...ping, corrId: id(9) })
    await expect(session.send({ ...ping, corrId: id(9) })).rejects.toMatchObject({
      code: 'CMD_INVALID',
      field: 'corrId',
    })
    await expect(session.send({ ...ping, corrId: none })).rejects.toMatchObject({ code: 'CMD_INVALID' })
    await clock.settle()
    expect(atRouter.received.map(({ corrId }) => Buffer.from(corrId))).toEqual([Buffer.from(id(9))])
    atRouter.send({ to: atRouter.received[0] as ReceivedCommand, response: { type: 'PONG' } })
    await expect(first).resolves.toEqual({ type: 'PONG' })
  })

  it.each([
    [{ type: 'AUTH' }, 'AUTH'],
    [{ type: 'QUOTA' }, 'QUOTA'],
    [{ type: 'NO_MSG' }, 'NO_MSG'],
    [{ type: 'CMD', error: 'NO_ENTITY' }, 'CMD_NO_ENTITY'],
    [{ type: 'BLOCKED', info: { reason: 'spam' } }, 'BLOCKED'],
  ] satisfies [SmpError, string][])('rejects with the wire word of ERR %o', async (error, code) => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    atRouter.onCommand = to => atRouter.send({ to, response: { type: 'ERR', error } })
    const result = outcome(session.send(sub(1)))
    await clock.settle()
    expect(result.current).toBeInstanceOf(RouterError)
    expect(result.current).toMatchObject({ code, field: 'SUB' })
    expect(isTemporaryError(result.current)).toBe(false)
  })

  it('fails a command that fits no block, alone: LARGE_MSG', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    atRouter.onCommand = to => atRouter.send({ to, response: { type: 'OK' } })
    const [before, large, after] = [sub(1), sendOf(2, 20_000), sub(3)].map(request => outcome(session.send(request)))
    await clock.settle()
    expect(large?.current).toMatchObject({ name: 'EncodeError', code: 'LARGE_MSG' })
    expect([before?.current, after?.current]).toEqual([{ type: 'OK' }, { type: 'OK' }])
  })

  it('fails a command with a bad key, alone', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    atRouter.onCommand = to => atRouter.send({ to, response: { type: 'OK' } })
    const bad = outcome(session.send({ ...sub(1), key: { algorithm: 'ed25519', privateKey: new Uint8Array(5) } }))
    const good = outcome(session.send(sub(2)))
    await clock.settle()
    expect(bad.current).toBeInstanceOf(DuologueError)
    expect(good.current).toEqual({ type: 'OK' })
    expect(session.counts().inFlight).toBe(0)
  })
})

describe('bounds and deadlines', () => {
  it('keeps at most maxInFlight requests unanswered, and sends the rest as answers come', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect({ maxInFlight: 3 })
    const results = Array.from({ length: 8 }, (_, n) => outcome(session.send(sub(n))))
    await clock.settle()
    expect(atRouter.received.length).toBe(3)
    expect(session.counts()).toMatchObject({ inFlight: 3, queued: 5 })
    for (let n = 0; n < 8; n++) {
      atRouter.send({ to: atRouter.received[n] as ReceivedCommand, response: { type: 'OK' } })
      await clock.settle()
    }
    expect(results.map(({ current }) => current)).toEqual(Array.from({ length: 8 }, () => ({ type: 'OK' })))
  })

  it('refuses what does not fit into the queue: TRANSPORT_BUSY', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect({ maxInFlight: 1, maxQueued: 2 })
    const results = [1, 2, 3].map(n => outcome(session.send(sub(n))))
    await clock.settle()
    expect(results.map(({ current }) => current)).toMatchObject([
      'pending',
      'pending',
      { code: 'TRANSPORT_BUSY', facts: { limit: 2, sent: false } },
    ])
    // One is in flight now and one waits: there is room for one more.
    outcome(session.send(sub(4)))
    await expect(session.send(sub(5))).rejects.toMatchObject({ code: 'TRANSPORT_BUSY' })
    expect(atRouter.received.length).toBe(1)
  })

  it('times each request out at its own deadline, and says whether it had left', async () => {
    const { clock, connect } = await clientWorld()
    const { session } = await connect({ maxInFlight: 1, requestTimeoutMs: 30_000 })
    const [sent, waiting, short] = [
      outcome(session.send(sub(1))),
      outcome(session.send(sub(2), { timeoutMs: 10_000 })),
      outcome(session.send(sub(3), { timeoutMs: 100 })),
    ]
    await clock.advance(100)
    expect(short.current).toMatchObject({ code: 'TRANSPORT_TIMEOUT', field: 'SUB', facts: { sent: false } })
    expect(waiting.current).toBe('pending')
    await clock.advance(29_899)
    expect(waiting.current).toMatchObject({ facts: { sent: false } })
    expect(sent.current).toBe('pending')
    await clock.advance(1)
    expect(sent.current).toMatchObject({ code: 'TRANSPORT_TIMEOUT', facts: { sent: true } })
    expect(isTemporaryError(sent.current)).toBe(true)
    expect(session.counts()).toMatchObject({ inFlight: 0, queued: 0, timedOut: 3 })
  })

  it('gives the place of a timed-out request to the next', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect({ maxInFlight: 1 })
    outcome(session.send(sub(1), { timeoutMs: 1_000 }))
    outcome(session.send(sub(2), { timeoutMs: 9_000 }))
    await clock.advance(1_000)
    await clock.settle()
    expect(atRouter.received.map(({ entityId }) => entityId[0])).toEqual([1, 2])
  })

  it('passes an answer that comes after the deadline on as an event with its command, once', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const events: RouterEvent[] = []
    const unexpected = vi.fn()
    session.onEvent(event => events.push(event))
    session.onUnexpected(unexpected)
    outcome(session.send(sub(1), { timeoutMs: 1_000 }))
    await clock.advance(1_000)
    const [to] = atRouter.received as [ReceivedCommand]
    atRouter.send({ to, response: message(5) })
    await clock.settle()
    expect(events).toMatchObject([{ sessionId: session.id, response: { type: 'MSG' }, answerTo: { type: 'SUB' } }])
    expect(session.counts().late).toBe(1)
    atRouter.send({ to, response: message(5) })
    await clock.settle()
    expect(events.length).toBe(1)
    expect(unexpected).toHaveBeenCalledTimes(1)
  })

  it('waits for the network: what a half-open connection does not take stays queued, bounded, and times out', async () => {
    const { clock, router, connect } = await clientWorld()
    const { session } = await connect({ maxInFlight: 1_000 })
    router.network.links()[0]?.halt()
    const results = Array.from({ length: 600 }, () => outcome(session.send(sendOf(1, 16_000))))
    await clock.settle()
    expect(session.closed).toBe(false)
    expect(session.counts().queued).toBeGreaterThan(500)
    await clock.advance(30_000)
    expect(results.every(({ current }) => (current as DuologueError).code === 'TRANSPORT_TIMEOUT')).toBe(true)
  })
})

describe('events', () => {
  it('misses none that the router sends right after the handshake', async () => {
    const { clock, connect } = await clientWorld({
      onSession: atRouter => atRouter.send({ entityId: id(1), response: { type: 'END' } }),
    })
    const { session } = await connect()
    const events: RouterEvent[] = []
    session.onEvent(event => events.push(event))
    await clock.settle()
    expect(events.map(({ response }) => response.type)).toEqual(['END'])
    expect(session.closed).toBe(false)
  })

  it('hands events out in order, with the session and the entity they belong to', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const events: RouterEvent[] = []
    session.onEvent(event => events.push(event))
    atRouter.send(
      { entityId: id(1), response: message(1) },
      { entityId: id(2), response: { type: 'END' } },
      { entityId: id(3), response: { type: 'DELD' } },
    )
    atRouter.send({ response: { type: 'ERR', error: { type: 'BLOCK' } } })
    await clock.settle()
    expect(events.map(({ sessionId, entityId, response }) => [sessionId, entityId[0], response.type])).toEqual([
      [session.id, 1, 'MSG'],
      [session.id, 2, 'END'],
      [session.id, 3, 'DELD'],
      [session.id, undefined, 'ERR'],
    ])
  })

  it.each(['one block', 'two blocks'])(
    'lets the promise work of an answer run before the event behind it (%s)',
    async blocks => {
      const { clock, connect } = await clientWorld()
      const { session, atRouter } = await connect()
      const log: string[] = []
      session.onEvent(({ response }) => log.push(response.type))
      atRouter.onCommand = to => {
        const items = [
          { to, response: { type: 'SOK' as const } },
          { entityId: to.entityId, response: message(1) },
        ]
        if (blocks === 'one block') atRouter.send(...items)
        else for (const item of items) atRouter.send(item)
      }
      const subscribe = async (): Promise<void> => {
        const answer = await session.send(sub(1))
        for (let i = 0; i < 10; i++) await Promise.resolve()
        log.push(`subscribed by ${answer.type}`)
      }
      void subscribe()
      await clock.settle()
      expect(log).toEqual(['subscribed by SOK', 'MSG'])
    },
  )

  it('keeps the order of answers behind an event that waits', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const log: string[] = []
    session.onEvent(({ response }) => log.push(response.type))
    for (const n of [1, 2]) void session.send(sub(n)).then(() => log.push(`answer ${n}`))
    await clock.settle()
    const [first, second] = atRouter.received as [ReceivedCommand, ReceivedCommand]
    atRouter.send({ to: first, response: { type: 'SOK' } }, { entityId: id(1), response: message(1) })
    atRouter.send({ to: second, response: { type: 'SOK' } })
    await clock.settle()
    expect(log).toEqual(['answer 1', 'MSG', 'answer 2'])
  })

  it('keeps events that come before anyone takes them, and ends the session when there are too many', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    atRouter.send({ entityId: id(1), response: message(1) })
    await clock.settle()
    const events: RouterEvent[] = []
    session.onEvent(event => events.push(event))
    expect(events.length).toBe(1)

    const other = await connect()
    const closed = vi.fn()
    other.session.onClose(closed)
    const many = Array.from({ length: 1_100 }, () => ({ entityId: id(1), response: { type: 'END' as const } }))
    other.atRouter.send(...many)
    await clock.settle()
    expect(closed.mock.calls).toMatchObject([[{ code: 'TRANSPORT_HANDLER' }]])
  })

  it('ends the session, not the process, when the receiver of events throws', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const closed = vi.fn()
    session.onClose(closed)
    session.onEvent(() => {
      throw new Error('a bug in the receiver')
    })
    atRouter.send({ entityId: id(1), response: message(1) })
    await clock.settle()
    expect(closed.mock.calls).toMatchObject([[{ code: 'TRANSPORT_HANDLER' }]])
  })
})

describe('routers that misbehave', () => {
  it('rejects an answer with the wrong entity id: SMP_UNEXPECTED', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    atRouter.onCommand = to => atRouter.send({ to, entityId: id(77), response: { type: 'OK' } })
    const result = outcome(session.send(sub(1)))
    await clock.settle()
    expect(result.current).toMatchObject({ name: 'RouterError', code: 'SMP_UNEXPECTED', facts: { type: 'OK' } })
  })

  it('rejects an answer that cannot be read: SMP_RESPONSE, and the session goes on', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const [bad, good] = [outcome(session.send(sub(1))), outcome(session.send(sub(2)))]
    await clock.settle()
    const [first, second] = atRouter.received as [ReceivedCommand, ReceivedCommand]
    atRouter.send({ to: first, raw: Buffer.from('WHAT is this') }, { to: second, response: { type: 'OK' } })
    await clock.settle()
    expect(bad.current).toMatchObject({ name: 'RouterError', code: 'SMP_RESPONSE' })
    expect(good.current).toEqual({ type: 'OK' })
    expect(session.closed).toBe(false)
  })

  it('reports unknown correlation ids and events that cannot be read', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const unexpected = vi.fn()
    session.onUnexpected(unexpected)
    atRouter.send(
      { corrId: id(1), entityId: id(2), response: { type: 'OK' } },
      { entityId: id(3), raw: Buffer.from('MSG') },
      { response: message(1) },
    )
    await clock.settle()
    expect(unexpected.mock.calls.map(([{ error }]) => error.code)).toEqual([
      'SMP_UNEXPECTED',
      'SMP_RESPONSE',
      'SMP_RESPONSE',
    ])
    expect(session.counts().unexpected).toBe(3)
    expect(session.closed).toBe(false)
  })

  it('ends the session on a block that does not decrypt: TRANSPORT_BLOCK, open requests stay repeatable', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const closed = vi.fn()
    session.onClose(closed)
    const open = outcome(session.send(sub(1)))
    await clock.settle()
    atRouter.channel.send(new Uint8Array(16_384))
    await clock.settle()
    expect(closed.mock.calls).toMatchObject([[{ code: 'TRANSPORT_BLOCK' }]])
    expect(open.current).toMatchObject({ name: 'TransportError', code: 'TRANSPORT_BROKEN', facts: { sent: true } })
    expect(isTemporaryError(open.current)).toBe(true)
  })

  it('survives any content of a block: an error or nothing, never a crash', async () => {
    const { clock, connect } = await clientWorld()
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc
            .array(fc.uint8Array({ maxLength: 120 }), { minLength: 1, maxLength: 3 })
            .map(items =>
              Buffer.concat([Buffer.of(items.length), ...items.flatMap(item => [Buffer.of(0, item.length), item])]),
            ),
        ),
        async content => {
          const { session, atRouter } = await connect()
          const closed = vi.fn()
          session.onClose(closed)
          const open = outcome(session.send(sub(1)))
          atRouter.sendContent(content)
          await clock.settle()
          if (session.closed) {
            expect(closed.mock.calls).toMatchObject([[{ code: 'TRANSPORT_BLOCK' }]])
            expect(open.current).toBeInstanceOf(TransportError)
          } else {
            expect(open.current).toBe('pending')
            session.close()
            await clock.settle()
            expect(open.current).toMatchObject({ code: 'TRANSPORT_CLOSED' })
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('the end of a session', () => {
  it('rejects every open request, then tells once', async () => {
    const { clock, router, connect } = await clientWorld()
    const { session } = await connect({ maxInFlight: 1 })
    const log: string[] = []
    for (const n of [1, 2])
      session.send(sub(n)).catch((error: TransportError) => log.push(`${error.code} ${error.facts['sent']}`))
    session.onClose(reason => log.push(`closed: ${reason.code}`))
    await clock.settle()
    router.network.links()[0]?.cut()
    await clock.settle()
    session.close()
    await clock.settle()
    expect(log.sort()).toEqual(['TRANSPORT_BROKEN false', 'TRANSPORT_BROKEN true', 'closed: TRANSPORT_BROKEN'])
    expect(session.closed).toBe(true)
    expect(clock.pendingTimers).toBe(0)
    const late = vi.fn()
    session.onClose(late)
    await clock.settle()
    expect(late).toHaveBeenCalledTimes(1)
  })

  it('refuses requests after the end, with nothing sent', async () => {
    const { clock, connect } = await clientWorld()
    const { session } = await connect()
    session.close()
    const result = outcome(session.send(ping))
    const [many] = await session.sendMany([ping])
    expect(many).toMatchObject({ status: 'rejected', reason: { code: 'TRANSPORT_CLOSED', facts: { sent: false } } })
    await clock.settle()
    expect(result.current).toMatchObject({ code: 'TRANSPORT_CLOSED', facts: { sent: false } })
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('keeping a session alive', () => {
  const minute = 60_000

  it('sends a PING after ten minutes of silence, and none while there is traffic', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    const pings = () => atRouter.received.filter(({ command }) => command.type === 'PING').length
    atRouter.onCommand = to => atRouter.send({ to, response: { type: 'PONG' } })
    await clock.advance(9 * minute)
    atRouter.send({ entityId: id(1), response: { type: 'END' } })
    await clock.advance(9.9 * minute)
    expect(pings()).toBe(0)
    await clock.advance(0.2 * minute)
    expect(pings()).toBe(1)
    await clock.advance(60 * minute)
    expect(pings()).toBe(7)
    expect(session.closed).toBe(false)
  })

  it('ends after three unanswered requests in a row and fifteen minutes of silence', async () => {
    const { clock, router, connect } = await clientWorld()
    const { session } = await connect()
    const closed = vi.fn()
    session.onClose(closed)
    router.network.links()[0]?.halt()
    await clock.advance(31 * minute)
    expect(session.closed).toBe(false)
    await clock.advance(minute)
    expect(closed.mock.calls).toMatchObject([[{ code: 'TRANSPORT_TIMEOUT' }]])
    expect(clock.pendingTimers).toBe(0)
  })

  it('does not end before fifteen minutes of silence, however many requests had no answer', async () => {
    const { clock, connect } = await clientWorld()
    const { session } = await connect()
    for (let n = 0; n < 9; n++) outcome(session.send(sub(n)))
    await clock.advance(11 * minute)
    expect(session.counts().timedOut).toBe(10)
    expect(session.closed).toBe(false)
    await clock.advance(11 * minute)
    expect(session.closed).toBe(true)
  })

  it('counts only the requests without an answer since something was received', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    for (let n = 0; n < 9; n++) outcome(session.send(sub(n)))
    await clock.advance(2 * minute)
    atRouter.send({ entityId: id(1), response: { type: 'END' } })
    await clock.advance(30 * minute)
    expect(session.closed).toBe(false)
    await clock.advance(3 * minute)
    expect(session.closed).toBe(true)
  })

  it('does not end for timeouts alone while something is received', async () => {
    const { clock, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    for (let n = 0; n < 30; n++) {
      outcome(session.send(sub(n % 9)))
      await clock.advance(2 * minute)
      if (n % 3 === 2) atRouter.send({ entityId: id(1), response: { type: 'END' } })
    }
    expect(session.counts().timedOut).toBeGreaterThanOrEqual(30)
    expect(session.closed).toBe(false)
  })
})
