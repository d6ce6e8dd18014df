import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { type SignalConnectOutcome, type SignalProbeOutcome, signalSocketMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'

const start = () => {
  const clock = virtualClock(0)
  const connecting = controlledWork<SignalConnectOutcome>(clock)
  const probing = controlledWork<SignalProbeOutcome>(clock)
  let dropped = 0
  const machine = signalSocketMachine.provide({
    actors: {
      connect: fromPromise<SignalConnectOutcome, { socket: string }>(() => connecting.run()),
      probe: fromPromise<SignalProbeOutcome, { socket: string }>(() => probing.run()),
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
})
