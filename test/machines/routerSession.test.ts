import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { defaultConfig } from '../../src/agent/config.js'
import { routerSessionMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const idleMs = 300_000

const start = (subscriptions: boolean) => {
  const clock = virtualClock(0)
  const connect = controlledWork<void>(clock)
  const resubscribe = controlledWork<void>(clock)
  const did: string[] = []
  const routers: string[] = []
  let has = subscriptions
  let offline = false
  let suspended = false
  let idle = false
  const machine = routerSessionMachine.provide({
    actors: {
      connect: fromPromise<void, { router: string }>(({ input }) => {
        routers.push(`connect ${input.router}`)
        return connect.run()
      }),
      resubscribe: fromPromise<void, { router: string }>(({ input }) => {
        routers.push(`resubscribe ${input.router}`)
        return resubscribe.run()
      }),
    },
    actions: {
      rejectWaiting: () => did.push('reject'),
      resolveWaiting: () => did.push('resolve'),
      closeSession: () => did.push('close'),
    },
    guards: {
      hasSubscriptions: () => has,
      isOffline: () => offline || suspended,
      isSuspended: () => suspended,
      isIdle: () => idle,
    },
    delays: { idle: () => idleMs },
  })
  const { reconnect, offlineRetryMs: offlineRetry } = defaultConfig
  const worker = startWorker(machine, { router: 'r1', reconnect, offlineRetry }, clock)
  return {
    ...worker,
    connect,
    resubscribe,
    did,
    routers,
    subscriptions: (now: boolean) => (has = now),
    offline: (now: boolean) => (offline = now),
    suspended: (now: boolean) => (suspended = now),
    idle: (now: boolean) => (idle = now),
  }
}

describe('routerSession', () => {
  it('B66 connects when it is needed and not before, once for everybody who needs it', async () => {
    const { state, send, connect, did, clock, routers } = start(true)
    expect(state()).toBe('closed')
    await clock.advance(3_600_000)
    expect(connect.calls()).toBe(0)
    send({ type: 'session.needed' })
    send({ type: 'session.needed' })
    expect(connect.calls()).toBe(1)
    await connect.end()
    expect(state()).toBe('open.watched')
    expect(did).toEqual(['resolve'])
    expect(routers).toEqual(['connect r1', 'resubscribe r1'])
  })

  it('B69 an open session that is released is closed, whatever is subscribed, and does not come back by itself', async () => {
    const { state, send, connect, did, clock } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    send({ type: 'session.released' })
    expect(state()).toBe('closed')
    expect(did).toEqual(['resolve', 'close'])
    expect(clock.pendingTimers).toBe(0)
  })

  it('B66 a lost session comes back by itself: 2 s, growing by half after 10 s, to 180 s', async () => {
    const { send, connect, clock, did } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    send({ type: 'session.lost' })
    const delays: number[] = []
    for (let attempt = 0; attempt < 18; attempt++) {
      const from = clock.now()
      await clock.next()
      delays.push(clock.now() - from)
      await connect.fail()
    }
    expect(delays.slice(0, 8)).toEqual([2000, 2000, 2000, 2000, 2000, 3000, 4500, 6750])
    expect(delays.slice(-2)).toEqual([180_000, 180_000])
    expect(did).toEqual(['resolve', 'reject', ...Array.from({ length: 18 }, () => 'reject')])
    await clock.next()
    await connect.end()
    send({ type: 'session.lost' })
    const from = clock.now()
    await clock.next()
    expect(clock.now() - from).toBe(2000)
  })

  it('B66 subscribes again each time the session opens, and a SUB that fails does not close it', async () => {
    const { send, connect, resubscribe, clock, state } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    expect(resubscribe.calls()).toBe(1)
    await resubscribe.fail()
    expect(state()).toBe('open.watched')
    send({ type: 'session.lost' })
    await clock.next()
    await connect.end()
    expect(resubscribe.calls()).toBe(2)
  })

  it('B66 without subscriptions a lost or failed session waits until somebody needs it', async () => {
    const { send, connect, clock, state, did } = start(false)
    send({ type: 'session.needed' })
    await connect.fail()
    expect(state()).toBe('closed')
    expect(did).toEqual(['reject'])
    send({ type: 'session.needed' })
    await connect.end()
    send({ type: 'session.lost' })
    expect(state()).toBe('closed')
    expect(clock.pendingTimers).toBe(0)
  })

  it('B66 work at hand does not wait for the delay, and a released session is not connected again', async () => {
    const { send, connect, clock, state } = start(true)
    send({ type: 'session.needed' })
    await connect.fail()
    expect(state()).toBe('reconnecting')
    send({ type: 'session.needed' })
    expect(connect.calls()).toBe(2)
    await connect.fail()
    send({ type: 'session.released' })
    expect(state()).toBe('closed')
    await clock.advance(3_600_000)
    expect(connect.calls()).toBe(2)
  })

  it('B66 whoever waits is answered when the session is released while connecting, and a session that is made too late is not taken', async () => {
    const { send, connect, state, did } = start(true)
    send({ type: 'session.needed' })
    send({ type: 'session.released' })
    expect(did).toEqual(['reject', 'close'])
    await connect.end()
    expect(state()).toBe('closed')
    expect(did).toEqual(['reject', 'close'])
  })

  it('B66 whoever asked for a session that had ended unnoticed is answered when its end is known', async () => {
    for (const subscriptions of [true, false]) {
      const { send, connect, state, did } = start(subscriptions)
      send({ type: 'session.needed' })
      await connect.end()
      // It is open for the machine, so being needed changes nothing; only the loss can answer.
      send({ type: 'session.needed' })
      send({ type: 'session.lost' })
      expect(did).toEqual(['resolve', 'reject'])
      expect(state()).toBe(subscriptions ? 'reconnecting' : 'closed')
    }
  })

  it('B66 a session that is lost at the moment it opens is connected again, and those who wait are answered', async () => {
    for (const subscriptions of [true, false]) {
      const { send, connect, state, did } = start(subscriptions)
      send({ type: 'session.needed' })
      // The session closes after the handshake, before the machine has heard that it is open.
      send({ type: 'session.lost' })
      await connect.end()
      expect(state()).toBe(subscriptions ? 'reconnecting' : 'closed')
      expect(did).toEqual(['reject'])
      send({ type: 'session.needed' })
      expect(state()).toBe('connecting')
      expect(connect.calls()).toBe(2)
    }
  })

  it('B66 a session that was waited for by nobody any more when its delay is over is not made', async () => {
    const { send, connect, clock, state, subscriptions } = start(true)
    send({ type: 'session.needed' })
    await connect.fail()
    subscriptions(false)
    await clock.advance(3_600_000)
    expect(state()).toBe('closed')
    expect(connect.calls()).toBe(1)
    expect(clock.pendingTimers).toBe(0)
  })

  it('B68 offline, a lost session is not connected again until the device is online, and then at once with a new delay', async () => {
    const { send, connect, clock, state, offline } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    offline(true)
    send({ type: 'session.lost' })
    await clock.advance(1_799_000)
    expect(state()).toBe('offline')
    expect(connect.calls()).toBe(1)
    offline(false)
    send({ type: 'network.online' })
    expect(connect.calls()).toBe(2)
    await connect.fail()
    const from = clock.now()
    await clock.next()
    expect(clock.now() - from).toBe(2000)
  })

  it('B68 offline for half an hour, one attempt is made all the same', async () => {
    const { send, connect, clock, state, offline } = start(true)
    offline(true)
    send({ type: 'session.needed' })
    await connect.fail()
    expect(state()).toBe('reconnecting')
    const attempts: number[] = []
    for (let index = 0; index < 3; index++) {
      while (connect.open() === 0) expect(await clock.next()).toBe(true)
      attempts.push(clock.now())
      await connect.fail()
    }
    expect(attempts).toEqual([1_802_000, 3_604_000, 5_406_000])
  })

  it('B04 suspended, no attempt is made however long it lasts; then at once', async () => {
    const { send, connect, clock, state, suspended } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    suspended(true)
    send({ type: 'session.lost' })
    await clock.advance(24 * 3_600_000)
    expect(state()).toBe('offline')
    expect(connect.calls()).toBe(1)
    suspended(false)
    send({ type: 'network.online' })
    expect(connect.calls()).toBe(2)
  })

  it('B04 B68 a suspension that ends while the device is offline leaves the attempts of each half hour', async () => {
    const { send, connect, clock, state, suspended, offline } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    offline(true)
    suspended(true)
    send({ type: 'session.lost' })
    await clock.advance(5 * 1_800_000)
    expect([state(), connect.calls()]).toEqual(['offline', 1])
    suspended(false)
    await clock.advance(1_800_000)
    expect([state(), connect.calls()]).toEqual(['connecting', 2])
  })

  it('B68 a delay that is under way when the device comes online is cut short and starts anew', async () => {
    const { send, connect, clock } = start(true)
    send({ type: 'session.needed' })
    for (let attempt = 0; attempt < 15; attempt++) {
      await connect.fail()
      await clock.next()
    }
    await connect.fail()
    const calls = connect.calls()
    send({ type: 'network.online' })
    expect(connect.calls()).toBe(calls + 1)
    await connect.fail()
    const from = clock.now()
    await clock.next()
    expect(clock.now() - from).toBe(2000)
  })

  it('B68 online means nothing to a session that nobody waits for', async () => {
    const { send, connect, clock, state, subscriptions, offline } = start(true)
    offline(true)
    send({ type: 'session.needed' })
    await connect.fail()
    await clock.next()
    expect(state()).toBe('offline')
    subscriptions(false)
    send({ type: 'network.online' })
    expect(state()).toBe('closed')
    expect(connect.calls()).toBe(1)
  })

  it('B69 an idle session is closed, one in use is looked after again', async () => {
    const { send, connect, clock, state, did, idle } = start(false)
    send({ type: 'session.needed' })
    await connect.end()
    await clock.advance(3 * idleMs + 1)
    expect(state()).toBe('open.watched')
    idle(true)
    await clock.advance(idleMs)
    expect(state()).toBe('closed')
    expect(did).toEqual(['resolve', 'close'])
    expect(clock.pendingTimers).toBe(0)
    send({ type: 'session.needed' })
    expect(connect.calls()).toBe(2)
  })

  it('B69 looking after the session does not subscribe again', async () => {
    const { send, connect, resubscribe, clock } = start(true)
    send({ type: 'session.needed' })
    await connect.end()
    await resubscribe.end()
    await clock.advance(10 * idleMs)
    expect(resubscribe.calls()).toBe(1)
  })

  it('B68 online while the delay is under way, but nobody waits any more: no attempt', async () => {
    const { send, connect, clock, state, subscriptions } = start(true)
    send({ type: 'session.needed' })
    await connect.fail()
    subscriptions(false)
    send({ type: 'network.online' })
    expect([state(), clock.pendingTimers, connect.calls()]).toEqual(['closed', 0, 1])
  })

  it('B68 offline, work at hand is tried all the same; a released session is not, and one that nobody waits for ends', async () => {
    const offlineSession = async () => {
      const session = start(true)
      session.offline(true)
      session.send({ type: 'session.needed' })
      await session.connect.fail()
      await session.clock.next()
      expect(session.state()).toBe('offline')
      return session
    }
    const needed = await offlineSession()
    needed.send({ type: 'session.needed' })
    expect([needed.state(), needed.connect.calls()]).toEqual(['connecting', 2])
    const released = await offlineSession()
    released.send({ type: 'session.released' })
    expect([released.state(), released.clock.pendingTimers]).toEqual(['closed', 0])
    const forgotten = await offlineSession()
    forgotten.subscriptions(false)
    await forgotten.clock.advance(1_800_000)
    expect([forgotten.state(), forgotten.connect.calls()]).toEqual(['closed', 1])
  })
})

takesEveryTransition(routerSessionMachine)
