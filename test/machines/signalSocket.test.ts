import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { type SignalConnectOutcome, type SignalProbeOutcome, signalSocketMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = () => {
  const clock = virtualClock(0)
  const connecting = controlledWork<SignalConnectOutcome>(clock)
  const probing = controlledWork<SignalProbeOutcome>(clock)
  let dropped = 0
  const machine = signalSocketMachine.provide({
    actors: {
      connect: fromPromise<SignalConnectOutcome>(() => connecting.run()),
      probe: fromPromise<SignalProbeOutcome>(() => probing.run()),
    },
    actions: { dropSession: () => void dropped++ },
  })
  const input = { socket: 'identified' as const, keepaliveMs: 30_000, backoff: { initial: 1_000, max: 30_000 } }
  return { ...startWorker(machine, input, clock), connecting, probing, dropped: () => dropped }
}

describe('signalSocket', () => {
  it('S02 stopped → connecting → open; a stop ends everything, with no timer left', async () => {
    const { send, state, connecting, clock } = start()
    expect(state()).toBe('stopped')
    send({ type: 'socket.start' })
    await connecting.end('open')
    expect(state()).toBe('open.quiet')
    send({ type: 'socket.stop' })
    expect(state()).toBe('stopped')
    expect(clock.pendingTimers).toBe(0)
  })

  it('S03 a probe that is not answered drops the session; one that fails by itself as well', async () => {
    for (const end of ['dead', 'failed'] as const) {
      const { send, state, connecting, probing, clock, dropped } = start()
      send({ type: 'socket.start' })
      await connecting.end('open')
      await clock.advance(30_000)
      expect(state()).toBe('open.probing')
      if (end === 'dead') await probing.end('dead')
      else await probing.fail()
      expect(state()).toBe('backingOff')
      expect(dropped()).toBe(1)
    }
  })

  it('S04 a probe that is asked for begins at once, and puts off the next keepalive', async () => {
    const { send, state, connecting, probing, clock } = start()
    send({ type: 'socket.start' })
    await connecting.end('open')
    await clock.advance(20_000)
    send({ type: 'probe.requested' })
    expect(state()).toBe('open.probing')
    send({ type: 'probe.requested' })
    expect(probing.calls()).toBe(1)
    await probing.end('alive')
    await clock.advance(29_999)
    expect(state()).toBe('open.quiet')
    await clock.advance(1)
    expect(state()).toBe('open.probing')
  })

  it('S02 a socket that is lost while it connects is not taken for open', async () => {
    const { send, state, connecting } = start()
    send({ type: 'socket.start' })
    send({ type: 'socket.lost' })
    expect(state()).toBe('backingOff')
    await connecting.end('open')
    expect(state()).toBe('backingOff')
  })

  it('S02 not reached: again after 1 s, then twice as long, up to 30 s; an open socket begins anew', async () => {
    const { send, state, connecting, clock } = start()
    send({ type: 'socket.start' })
    const delays: number[] = []
    for (const end of ['failed', 'error', 'failed', 'error', 'failed', 'failed', 'failed']) {
      if (end === 'error') await connecting.fail()
      else await connecting.end('failed')
      expect(state()).toBe('backingOff')
      const from = clock.now()
      await clock.next()
      delays.push((clock.now() - from) / 1000)
    }
    expect(delays).toEqual([1, 2, 4, 8, 16, 30, 30])
    await connecting.end('open')
    send({ type: 'socket.lost' })
    const from = clock.now()
    await clock.next()
    expect([clock.now() - from, state()]).toEqual([1000, 'connecting'])
    await connecting.fail()
    send({ type: 'socket.stop' })
    expect([state(), clock.pendingTimers]).toEqual(['stopped', 0])
  })

  it('S02 S15 credentials that are refused, a device that is not linked any more or used elsewhere: closed until a start from outside', async () => {
    const closings = [
      ['refused', undefined, 'closed.refused'],
      ['open', 'socket.invalidated', 'closed.invalidated'],
      ['open', 'socket.replaced', 'closed.replaced'],
      ['connecting', 'socket.invalidated', 'closed.invalidated'],
      ['connecting', 'socket.replaced', 'closed.replaced'],
    ] as const
    for (const [outcome, event, closed] of closings) {
      for (const way of ['socket.start', 'socket.stop'] as const) {
        const { send, state, connecting, clock, dropped } = start()
        send({ type: 'socket.start' })
        if (outcome !== 'connecting') await connecting.end(outcome)
        if (event !== undefined) send({ type: event })
        expect([state(), dropped()]).toEqual([closed, event === undefined ? 0 : 1])
        await clock.advance(3_600_000)
        expect([state(), connecting.calls(), clock.pendingTimers]).toEqual([closed, 1, 0])
        send({ type: way })
        expect(state()).toBe(way === 'socket.start' ? 'connecting' : 'stopped')
      }
    }
  })

  it('S02 an open socket that is lost comes back by itself; one that is not wanted while it connects does not', async () => {
    const lost = start()
    lost.send({ type: 'socket.start' })
    await lost.connecting.end('open')
    lost.send({ type: 'socket.lost' })
    expect([lost.state(), lost.dropped()]).toEqual(['backingOff', 1])
    const unwanted = start()
    unwanted.send({ type: 'socket.start' })
    unwanted.send({ type: 'socket.stop' })
    await unwanted.connecting.end('open')
    expect([unwanted.state(), unwanted.dropped(), unwanted.clock.pendingTimers]).toEqual(['stopped', 1, 0])
  })
})

takesEveryTransition(signalSocketMachine)
