/** Sessions over router sessions that the test makes, answers and ends: what comes too late, and what is bounded. */
import { beforeEach, describe, expect, it } from 'vitest'
import { type AgentConfig, defaultConfig } from '../../src/agent/config.js'
import { defaultNetworkConfig, Network, type NetworkConfig } from '../../src/agent/network.js'
import { Sessions, type SessionsListener, type SubscribedQueue } from '../../src/agent/sessions.js'
import { RouterError, TransportError } from '../../src/errors.js'
import type { RouterEvent, RouterRequest, RouterSession } from '../../src/smp/client.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'

interface Sent {
  readonly request: RouterRequest
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/** One session at the client’s end. */
interface FakeRouterSession {
  readonly session: RouterSession
  readonly sent: Sent[]
  event(entityId: Uint8Array, response: Response, more?: Partial<RouterEvent>): void
  end(): void
}

let clock: VirtualClock
let network: Network
let sessions: Sessions
let made: FakeRouterSession[]
/** Attempts to connect that wait for the test. */
let dialling: Array<{ readonly router: string; accept(): FakeRouterSession; refuse(): void }>
let told: Array<readonly [string, ...unknown[]]>

/** By how much the wall clock was set back. */
let shiftMs: number
const setBack = (ms: number): void => {
  shiftMs += ms
}

const newSession = (): FakeRouterSession => {
  const sent: Sent[] = []
  let onEvent: (event: RouterEvent) => void = () => {}
  const onClose: Array<(reason: TransportError) => void> = []
  let closed = false
  let open = 0
  const end = (): void => {
    if (closed) return
    closed = true
    const reason = new TransportError('TRANSPORT_BROKEN', 'ended')
    for (const { reject } of sent) reject(reason)
    for (const handler of onClose.splice(0)) handler(reason)
  }
  const send = (request: RouterRequest): Promise<Response> =>
    new Promise<Response>((resolve, reject) => {
      if (closed) return reject(new TransportError('TRANSPORT_CLOSED', 'the session has ended'))
      open++
      sent.push({ request, resolve, reject })
    }).finally(() => open--)
  const id = made.length + 1
  const session = {
    id,
    get closed() {
      return closed
    },
    send,
    sendMany: (requests: readonly RouterRequest[]) => Promise.allSettled(requests.map(send)),
    onEvent: (handler: (event: RouterEvent) => void) => {
      onEvent = handler
    },
    onClose: (handler: (reason: TransportError) => void) => void onClose.push(handler),
    counts: () => ({ inFlight: open, queued: 0, timedOut: 0, late: 0, unexpected: 0 }),
    close: end,
  } as unknown as RouterSession
  const fake: FakeRouterSession = {
    session,
    sent,
    end,
    event: (entityId, response, more = {}) => onEvent({ sessionId: id, entityId, response, ...more }),
  }
  made.push(fake)
  return fake
}

const listener: SessionsListener = {
  message: ({ queue, body }) => told.push(['MSG', queue.connectionId, Buffer.from(body).toString()]),
  up: (_userId, _router, connectionIds) => told.push(['UP', ...connectionIds]),
  down: (_userId, _router, connectionIds) => told.push(['DOWN', ...connectionIds]),
  ended: queue => told.push(['END', queue.connectionId]),
  deleted: queue => told.push(['DELD', queue.connectionId]),
  failed: (queue, error) => told.push(['ERR', queue.connectionId, error.code]),
  traced: () => {},
  sessionTraced: () => {},
}

const open = (config: NetworkConfig = defaultNetworkConfig, settings: Partial<AgentConfig> = {}): void => {
  network = new Network({ clock, config, offlineDelayMs: defaultConfig.offlineDelayMs })
  sessions = new Sessions({
    config: { ...defaultConfig, ...settings },
    clock: { ...clock, now: () => clock.now() - shiftMs },
    network,
    isSuspended: () => false,
    listener,
    connect: (_userId, router) =>
      new Promise((resolve, reject) => {
        dialling.push({
          router,
          accept: () => {
            const fake = newSession()
            resolve(fake.session)
            return fake
          },
          refuse: () => reject(new TransportError('TRANSPORT_CONNECT', 'refused')),
        })
      }),
  })
}

beforeEach(() => {
  clock = virtualClock()
  made = []
  dialling = []
  told = []
  shiftMs = 0
  open()
})

const queueOf = (name: string, router = 'smp://router', userId = 1): SubscribedQueue => ({
  queueId: `queue-${name}`,
  connectionId: name,
  userId,
  router,
  rcvId: Buffer.from(name.padEnd(24, '.')),
  rcvPrivateKey: Buffer.alloc(32, 1),
})
const nextDial = async (): Promise<(typeof dialling)[number]> => {
  await clock.settle()
  const dial = dialling.shift()
  if (dial === undefined) throw new Error('nobody connects')
  return dial
}
const accept = async (): Promise<FakeRouterSession> => {
  const fake = (await nextDial()).accept()
  await clock.settle()
  return fake
}
const refuse = async (): Promise<void> => {
  const dial = await nextDial()
  dial.refuse()
  await clock.settle()
}
const confirm = async ({ sent }: FakeRouterSession): Promise<void> => {
  for (const { resolve } of sent.splice(0)) resolve({ type: 'SOK' })
  await clock.settle()
}
/** Queues that are active in a session. */
const subscribed = async (...queues: SubscribedQueue[]): Promise<FakeRouterSession> => {
  void sessions.subscribe(queues)
  const fake = await accept()
  await confirm(fake)
  return fake
}

describe('B63 what an old session still says', () => {
  const a = queueOf('a')

  it('B63 END of the session that is open: the queue was taken over', async () => {
    const session = await subscribed(a)
    session.event(a.rcvId, { type: 'END' })
    expect(told).toEqual([
      ['UP', 'a'],
      ['END', 'a'],
    ])
    expect(sessions.stateOf(a)).toBe('removed')
  })

  it('B63 END of a session that was replaced does nothing, while the queue is subscribed in the new one and after', async () => {
    const old = await subscribed(a)
    old.end()
    await clock.advance(2_000)
    const current = await accept()
    old.event(a.rcvId, { type: 'END' })
    expect(sessions.stateOf(a)).toBe('pending')
    await confirm(current)
    old.event(a.rcvId, { type: 'END' })
    expect(sessions.stateOf(a)).toBe('active')
    expect(told).toEqual([
      ['UP', 'a'],
      ['DOWN', 'a'],
      ['UP', 'a'],
    ])
  })

  it('B63 END of a session that has ended, while there is none, does nothing: the next one subscribes the queue', async () => {
    const old = await subscribed(a)
    old.end()
    old.event(a.rcvId, { type: 'END' })
    expect(sessions.stateOf(a)).toBe('pending')
    await clock.advance(2_000)
    await confirm(await accept())
    expect(told).toEqual([
      ['UP', 'a'],
      ['DOWN', 'a'],
      ['UP', 'a'],
    ])
  })

  it('B63 ENDS is about a service’s subscription, and this agent has none: it does nothing, from whichever session, for whatever entity', async () => {
    const old = await subscribed(a)
    const ends = { type: 'ENDS', count: 1 } as const
    for (const entity of [a.rcvId, Buffer.alloc(24, 7), Buffer.alloc(0)]) old.event(entity, ends)
    old.end()
    await clock.advance(2_000)
    await confirm(await accept())
    for (const entity of [a.rcvId, Buffer.alloc(24, 7), Buffer.alloc(0)]) old.event(entity, ends)
    expect(sessions.stateOf(a)).toBe('active')
    expect(told).toEqual([
      ['UP', 'a'],
      ['DOWN', 'a'],
      ['UP', 'a'],
    ])
  })
})

describe('B61 results of an old session', () => {
  it('B61 OK that comes with the end of its session counts for nothing, and whoever called subscribe is told at once', async () => {
    const a = queueOf('a')
    const [answer] = sessions.subscribe([a])
    const old = await accept()
    for (const { resolve } of old.sent) resolve({ type: 'SOK' })
    old.end()
    await clock.settle()
    expect(sessions.stateOf(a)).toBe('pending')
    expect(sessions.ignored).toBe(1)
    expect(await answer).toMatchObject({ code: 'TRANSPORT_BROKEN' })
    expect(told).toEqual([])
  })

  it('B61 an answer that comes after its deadline, in a session that was replaced, counts for nothing', async () => {
    const a = queueOf('a')
    void sessions.subscribe([a])
    const old = await accept()
    old.end()
    await clock.advance(2_000)
    await accept()
    old.event(a.rcvId, { type: 'SOK' }, { answerTo: { type: 'SUB' } })
    expect(sessions.stateOf(a)).toBe('pending')
    expect(told).toEqual([])
  })

  it('B61 OK that answers another command after its deadline says nothing about SUB', async () => {
    const a = queueOf('a')
    void sessions.subscribe([a])
    const { event } = await accept()
    event(a.rcvId, { type: 'OK' }, { answerTo: { type: 'ACK', messageId: Buffer.alloc(24) } })
    expect(sessions.stateOf(a)).toBe('pending')
    expect(told).toEqual([])
    event(a.rcvId, { type: 'OK' }, { answerTo: { type: 'SUB' } })
    expect(sessions.stateOf(a)).toBe('active')
    expect(sessions.ignored).toBe(0)
  })

  it('B62 an answer to SUB that is none is an error, and the queue is not up', async () => {
    const a = queueOf('a')
    const [answer] = sessions.subscribe([a])
    const { sent } = await accept()
    sent[0]?.resolve({ type: 'PONG' })
    expect(await answer).toMatchObject({ code: 'SMP_UNEXPECTED' })
    expect(told).toEqual([['ERR', 'a', 'SMP_UNEXPECTED']])
    expect(sessions.stateOf(a)).toBe('removed')
  })

  it('B61 the late refusal of a queue that was taken over does not touch its next subscription', async () => {
    const a = queueOf('a')
    void sessions.subscribe([a])
    const { sent, event } = await accept()
    event(a.rcvId, { type: 'END' })
    void sessions.subscribe([a])
    sent[0]?.reject(new RouterError('AUTH', 'no'))
    await clock.settle()
    expect(sessions.stateOf(a)).toBe('pending')
    sent[1]?.resolve({ type: 'SOK' })
    await clock.settle()
    expect(sessions.stateOf(a)).toBe('active')
    event(a.rcvId, { type: 'MSG', messageId: Buffer.alloc(24), body: Buffer.from('one') })
    expect(told).toEqual([
      ['END', 'a'],
      ['UP', 'a'],
      ['MSG', 'a', 'one'],
    ])
  })

  it('B61 what comes for a queue that is deleted here is for nobody, and nothing of it is left', async () => {
    const [a, b] = [queueOf('a'), queueOf('b')]
    const { event } = await subscribed(a, b)
    sessions.remove(a)
    event(a.rcvId, { type: 'MSG', messageId: Buffer.alloc(24), body: Buffer.from('one') })
    expect(told).toEqual([['UP', 'a', 'b']])
    expect([...sessions.actors()].map(({ machine, state }) => [machine, state])).toEqual([
      ['routerSession', 'open.watched'],
      ['subscription', 'active'],
    ])
  })

  it('B62 a message that answers SUB after its deadline says that the queue is up, and is delivered once', async () => {
    const a = queueOf('a')
    void sessions.subscribe([a])
    const { event } = await accept()
    const message = { type: 'MSG', messageId: Buffer.alloc(24), body: Buffer.from('late') } as const
    event(a.rcvId, message, { answerTo: { type: 'SUB' } })
    expect(told).toEqual([
      ['MSG', 'a', 'late'],
      ['UP', 'a'],
    ])
  })
})

describe('what waits is bounded, and what is over is gone', () => {
  it('B69 a link that nobody uses is forgotten, its session closed', async () => {
    const request = sessions.request(queueOf('a'), { command: { type: 'PING' }, entityId: Buffer.alloc(0) })
    const session = await accept()
    for (const { resolve } of session.sent) resolve({ type: 'PONG' })
    await request
    await clock.advance(299_999)
    expect(session.session.closed).toBe(false)
    await clock.advance(1)
    expect(session.session.closed).toBe(true)
    expect(sessions.size).toBe(0)
    expect(clock.pendingTimers).toBe(0)
  })

  it('B69 a session with a subscription or with a request under way is not closed; when both are over, it is', async () => {
    const a = queueOf('a')
    const session = await subscribed(a)
    await clock.advance(3_600_000)
    expect(session.session.closed).toBe(false)
    const request = sessions.request(a, { command: { type: 'PING' }, entityId: Buffer.alloc(0) })
    sessions.remove(a)
    await clock.advance(3_600_000)
    expect(session.session.closed).toBe(false)
    session.sent[0]?.resolve({ type: 'PONG' })
    await request
    await clock.advance(600_000)
    expect(session.session.closed).toBe(true)
  })

  it('B61 a session that was given up and ends late does not end its successor', async () => {
    void sessions.subscribe([queueOf('a')])
    const old = await accept()
    const late: Array<() => void> = []
    old.session.close = () => {
      Object.defineProperty(old.session, 'closed', { value: true })
      late.push(old.end)
    }
    old.sent[0]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'not answered'))
    await clock.advance(2_000)
    const next = await accept()
    await confirm(next)
    expect(late).toHaveLength(1)
    for (const end of late) end()
    await clock.advance(60_000)
    expect(told).toEqual([['UP', 'a']])
    expect(next.session.closed).toBe(false)
    expect(dialling).toEqual([])
  })

  it('B69 in entity mode a connection that is deleted leaves no link behind, and a dead router’s links go when their failure is old', async () => {
    open({ ...defaultNetworkConfig, sessionMode: 'entity' })
    const queues = ['a', 'b', 'c'].map(name => queueOf(name))
    void sessions.subscribe(queues)
    for (const _ of queues) await confirm(await accept())
    expect(sessions.size).toBe(3)
    for (const queue of queues) sessions.remove(queue)
    await clock.advance(300_001)
    expect(sessions.size).toBe(0)
    const refused = sessions.request(queueOf('d'), { command: { type: 'PING' }, entityId: Buffer.alloc(0) })
    refused.catch(() => {})
    await refuse()
    await expect(refused).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    expect(sessions.size).toBe(1)
    await clock.advance(3_000)
    expect(sessions.size).toBe(0)
    expect(clock.pendingTimers).toBe(0)
  })

  it('B68 in entity mode at most 32 connections to one router are being made at once, and no router waits for another', async () => {
    open({ ...defaultNetworkConfig, sessionMode: 'entity' })
    const queues = Array.from({ length: 100 }, (_, index) => queueOf(`a${index}`))
    void sessions.subscribe(queues)
    await clock.settle()
    expect(dialling).toHaveLength(32)
    await confirm(await accept())
    void sessions.subscribe([queueOf('c')])
    await clock.settle()
    expect(dialling).toHaveLength(32)
    void sessions.subscribe([queueOf('b', 'smp://other')])
    await clock.settle()
    expect(dialling.map(({ router }) => router).filter(router => router === 'smp://other')).toHaveLength(1)
    for (let index = 0; index < 101; index++) await confirm(await accept())
    expect(told.filter(([type]) => type === 'UP')).toHaveLength(102)
    expect(dialling).toHaveLength(0)
  })

  it('a request whose session is not made in time is answered; what more than 16,384 requests wait for is refused', async () => {
    const ping = { command: { type: 'PING' }, entityId: Buffer.alloc(0) } as const
    const answers = Array.from({ length: 16_384 }, () =>
      sessions.request(queueOf('a'), ping).catch(error => error.code),
    )
    await expect(sessions.request(queueOf('a'), ping)).rejects.toMatchObject({ code: 'TRANSPORT_BUSY' })
    await clock.advance(45_000)
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['TRANSPORT_TIMEOUT']))
    sessions.close()
    expect(clock.pendingTimers).toBe(0)
  })

  it('a call of subscribe is answered when the router cannot be reached, and when the agent closes', async () => {
    const [first] = sessions.subscribe([queueOf('a')])
    await refuse()
    expect(await first).toMatchObject({ code: 'TRANSPORT_CONNECT' })
    const [second] = sessions.subscribe([queueOf('a')])
    expect(await second).toMatchObject({ code: 'TRANSPORT_CONNECT' })
    await clock.advance(2_000)
    const [third] = sessions.subscribe([queueOf('a')])
    sessions.close()
    expect(await third).toMatchObject({ code: 'AGENT_CLOSED' })
    const [fourth] = sessions.subscribe([queueOf('a')])
    expect(await fourth).toMatchObject({ code: 'AGENT_CLOSED' })
  })

  it('a call of subscribe whose SUB was not sent yet is answered when the session is lost, though the device is offline', async () => {
    open(defaultNetworkConfig, { subscribeBatch: 1 })
    const [first, second] = sessions.subscribe([queueOf('a'), queueOf('b')])
    const session = await accept()
    network.setOnline(false)
    session.end()
    await clock.advance(1_000)
    expect(await first).toMatchObject({ code: 'TRANSPORT_BROKEN' })
    expect(await Promise.race([second, 'not answered'])).toMatchObject({ code: 'TRANSPORT_BROKEN' })
    network.setOnline(true)
    const next = await accept()
    await confirm(next)
    await confirm(next)
    expect(told.toSorted()).toEqual([
      ['UP', 'a'],
      ['UP', 'b'],
    ])
  })

  it('in entity mode, where a router takes no connection, each call of subscribe is answered in the time of one attempt', async () => {
    open({ ...defaultNetworkConfig, sessionMode: 'entity' })
    const answers = sessions.subscribe(Array.from({ length: 40 }, (_, index) => queueOf(`a${index}`)))
    await clock.advance(defaultConfig.backgroundConnectMs)
    expect(dialling).toHaveLength(32)
    expect(await Promise.race([answers[39], 'not answered'])).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    // Who has given up waiting takes no place when there is room again.
    for (const { refuse } of dialling.splice(0)) refuse()
    await clock.advance(3_000)
    expect(dialling).toHaveLength(32)
  })

  it('a failure stands for others for three seconds, whatever the wall clock does', async () => {
    const ping = { command: { type: 'PING' }, entityId: Buffer.alloc(0) } as const
    const failed = sessions.request(queueOf('a'), ping).catch(({ code }) => code)
    await refuse()
    expect(await failed).toBe('TRANSPORT_CONNECT')
    setBack(3_600_000)
    await clock.advance(4_000)
    void sessions.request(queueOf('a'), ping).catch(() => {})
    await clock.settle()
    expect(dialling).toHaveLength(1)
  })

  it('B61 an error that is final removes the queue, one that is not leaves it pending', async () => {
    const queues = [queueOf('a'), queueOf('b'), queueOf('c')]
    const answers = sessions.subscribe(queues)
    const { sent } = await accept()
    sent[0]?.resolve({ type: 'SOK' })
    sent[1]?.reject(new RouterError('AUTH', 'no'))
    sent[2]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    expect((await Promise.all(answers)).map(error => error?.code)).toEqual([undefined, 'AUTH', 'TRANSPORT_TIMEOUT'])
    expect(queues.map(queue => sessions.stateOf(queue))).toEqual(['active', 'removed', 'pending'])
    await clock.advance(2_000)
    expect(sent.slice(3).map(({ request }) => request.entityId)).toEqual([queues[2]?.rcvId])
  })

  it('B61 a session in which some queue is active is not given up when a batch is not answered: SUB is sent again', async () => {
    const [a, b] = [queueOf('a'), queueOf('b')]
    const { session, sent } = await subscribed(a)
    void sessions.subscribe([b])
    sent[0]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    await clock.advance(2_000)
    expect(session.closed).toBe(false)
    expect(sent).toHaveLength(2)
    sent[1]?.resolve({ type: 'SOK' })
    await clock.settle()
    expect(told).toEqual([
      ['UP', 'a'],
      ['UP', 'b'],
    ])
  })

  it('B61 a refusal is an answer: the session stays, for it and for what was not answered beside it', async () => {
    const [a, b] = [queueOf('a'), queueOf('b')]
    void sessions.subscribe([a])
    const { session, sent } = await accept()
    sent[0]?.reject(new RouterError('AUTH', 'no'))
    await clock.settle()
    expect(session.closed).toBe(false)
    void sessions.subscribe([a, b])
    await clock.settle()
    sent[1]?.reject(new RouterError('AUTH', 'no'))
    sent[2]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    await clock.settle()
    expect(session.closed).toBe(false)
    await clock.advance(2_000)
    expect(sent.slice(3).map(({ request }) => request.entityId)).toEqual([b.rcvId])
  })

  it('B61 SUB is not sent again for what was answered, or was subscribed in another session, in the meantime', async () => {
    open(defaultNetworkConfig, { subscribeBatch: 2 })
    const [a, b, c] = [queueOf('a'), queueOf('b'), queueOf('c')]
    const first = await subscribed(a)
    // Answered late, before its repetition is due.
    void sessions.subscribe([b])
    void sessions.subscribe([b])
    first.sent.splice(0)[0]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    await clock.settle()
    expect(first.sent).toEqual([])
    first.event(b.rcvId, { type: 'SOK' }, { answerTo: { type: 'SUB' } })
    await clock.advance(2_000)
    expect(first.sent).toEqual([])
    // Answered late, while its repetition waits for the batch that is on its way.
    void sessions.subscribe([c])
    first.sent.splice(0)[0]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    await clock.advance(1_999)
    void sessions.subscribe([queueOf('d')])
    await clock.advance(1)
    first.event(c.rcvId, { type: 'SOK' }, { answerTo: { type: 'SUB' } })
    await confirm(first)
    expect(first.sent).toEqual([])
    // The session is another one when the repetition is due: it goes on with its own batches, one at a time.
    const e = queueOf('e')
    void sessions.subscribe([e])
    first.sent.splice(0)[0]?.reject(new TransportError('TRANSPORT_TIMEOUT', 'late'))
    await clock.settle()
    first.end()
    sessions.resume()
    const second = await accept()
    const batch = second.sent.length
    await clock.advance(2_000)
    void sessions.subscribe([queueOf('f')])
    await clock.settle()
    expect(batch).toBe(2)
    expect(second.sent).toHaveLength(batch)
    for (let n = 0; n < 3; n++) await confirm(second)
    const [up] = [told.flatMap(([type, ...ids]) => (type === 'UP' ? ids : []))]
    expect(new Set(up)).toEqual(new Set(['a', 'b', 'c', 'd', 'e', 'f']))
  })

  it('B66 what is subscribed while a batch is on its way waits for its end', async () => {
    open(defaultNetworkConfig, { subscribeBatch: 2 })
    void sessions.subscribe([queueOf('a'), queueOf('b')])
    const session = await accept()
    void sessions.subscribe([queueOf('c')])
    void sessions.subscribe([queueOf('d')])
    await clock.settle()
    expect(session.sent).toHaveLength(2)
    await confirm(session)
    expect(session.sent).toHaveLength(2)
    await confirm(session)
    expect(told).toEqual([
      ['UP', 'a', 'b'],
      ['UP', 'c', 'd'],
    ])
  })

  it('B68 a failure from before the device was online does not stand for what is tried after it', async () => {
    const ping = () => sessions.request(queueOf('a'), { command: { type: 'PING' }, entityId: Buffer.alloc(0) })
    const first = ping().catch((error: unknown) => error)
    await refuse()
    await first
    await expect(ping()).rejects.toMatchObject({ code: 'TRANSPORT_CONNECT' })
    network.setOnline(false)
    network.setOnline(true)
    const second = ping()
    const session = await accept()
    for (const { resolve } of session.sent) resolve({ type: 'PONG' })
    await second
  })

  it('B69 what was asked for when the session was lost is not subscribed in the next one', async () => {
    const [a, b] = [queueOf('a'), queueOf('b')]
    const first = await subscribed(b)
    const question = sessions.get(a).catch(({ code }: TransportError) => code)
    await clock.settle()
    first.end()
    expect(await question).toBe('TRANSPORT_BROKEN')
    expect(sessions.stateOf(a)).toBe('removed')
    await clock.advance(2_000)
    const next = await accept()
    expect(next.sent.map(({ request }) => request.entityId)).toEqual([b.rcvId])
  })

  it('B68 a change of who is sent through touches no session', async () => {
    const { session } = await subscribed(queueOf('a'))
    network.configure({ ...defaultNetworkConfig, proxyMode: 'always' })
    await clock.settle()
    expect(session.closed).toBe(false)
    expect(told).toEqual([['UP', 'a']])
  })

  it('B69 the five minutes of an idle session begin when its last request is answered', async () => {
    const request = sessions.request(queueOf('a'), { command: { type: 'PING' }, entityId: Buffer.alloc(0) })
    const { session, sent } = await accept()
    await clock.advance(200_000)
    sent[0]?.resolve({ type: 'PONG' })
    await request
    await clock.advance(299_999)
    expect(session.closed).toBe(false)
    await clock.advance(1)
    expect(session.closed).toBe(true)
  })

  it('B22 the sessions of a user that receives no more end, those of others stay', async () => {
    const mine = await subscribed(queueOf('a'))
    const others = await subscribed(queueOf('b', 'smp://router', 2))
    sessions.removeUser(2)
    expect([mine.session.closed, others.session.closed]).toEqual([false, true])
    expect(sessions.size).toBe(1)
  })

  it('closed, nothing is asked, noted or connected to any more', async () => {
    const { session } = await subscribed(queueOf('a'))
    sessions.close()
    const ping = { command: { type: 'PING' }, entityId: Buffer.alloc(0) } as const
    await expect(sessions.request(queueOf('a'), ping)).rejects.toMatchObject({ code: 'AGENT_CLOSED' })
    await expect(sessions.get(queueOf('a'))).rejects.toMatchObject({ code: 'AGENT_CLOSED' })
    sessions.created(queueOf('b'), session)
    await clock.settle()
    expect(dialling).toEqual([])
    expect(sessions.size).toBe(0)
  })

  it('B69 a question that could not be asked leaves the queue as it was, and one question at a time is asked', async () => {
    const a = queueOf('a')
    const failed = sessions.get(a).catch((error: unknown) => error)
    expect(sessions.stateOf(a)).toBe('getting')
    await refuse()
    expect(await failed).toMatchObject({ code: 'TRANSPORT_CONNECT' })
    expect(sessions.stateOf(a)).toBe('removed')
    await clock.advance(3_000)
    const answers = [sessions.get(a), sessions.get(a)]
    const { sent } = await accept()
    expect(sent.map(({ request }) => request.command.type)).toEqual(['GET'])
    sent[0]?.resolve({ type: 'MSG', messageId: Buffer.alloc(24, 9), body: Buffer.from('one') })
    for (const answer of answers) expect(await answer).toEqual(Buffer.alloc(24, 9))
    expect(told).toEqual([['MSG', 'a', 'one']])
  })
})
