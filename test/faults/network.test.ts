/**
 * Agents on Postgres whose network fails while they talk: real sockets, a fault proxy between one agent and its router. What must hold
 * under every fault: no message is lost, twice or out of order, each is told as sent once, and the talk goes on by itself.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/runtime/clock.js'
import { tlsDialer } from '../../src/smp/transport/tls.js'
import { type FaultDirection, type FaultProxy, startFaultProxy } from '../../src/testing/index.js'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'
import { Exchange, kept } from './exchange.js'
import { pause } from './killer.js'
import { type PrivatePostgres, startPostgres } from './privatePostgres.js'
import { report } from './report.js'

/** Bytes of a block, the unit of the wire; TLS adds a little to each. */
const block = 16_384
/** Deadlines of commands and connections, so that a test need not wait for those of the defaults (10 to 45 s). */
const deadlineMs = 1_500
const config = {
  interactiveCommandMs: deadlineMs,
  backgroundCommandMs: deadlineMs,
  interactiveConnectMs: deadlineMs,
  backgroundConnectMs: deadlineMs,
}

let postgres: PrivatePostgres
let world: TlsWorld
let proxy: FaultProxy
/** Alice is behind the proxy, bob is not. */
let alice: TlsAgent
let bob: TlsAgent
let ids: { initiatorId: string; joinerId: string }
beforeAll(async () => {
  postgres = await startPostgres()
  world = await tlsWorld({ databaseUrl: postgres.url })
  proxy = await startFaultProxy({ port: world.router.port })
  const direct = tlsDialer()
  alice = await world.startAgent({
    config,
    dialer: { dial: (router, options) => direct.dial({ ...router, port: String(proxy.port) }, options) },
  })
  bob = await world.startAgent({ config })
  ids = await world.connect(alice, bob)
})
afterAll(async () => {
  await world?.close()
  await proxy?.close()
  await postgres?.remove()
})

afterEach(() => {
  proxy.set({ type: 'pass' })
  proxy.refuse(false)
})

interface NetworkFault {
  readonly name: string
  /** Begins it; what is awaited is part of it. */
  readonly begin: () => void | Promise<void>
  /** Ends it; default: the proxy passes again. */
  readonly end?: () => void
  /** The code of a call to the router that is made meanwhile. */
  readonly code?: string
  /** Whether sessions break, so that the agent says DOWN, then UP. */
  readonly breaks: boolean
}

const both = undefined
const faults: readonly NetworkFault[] = [
  {
    name: 'blackhole: nothing gets through, in both directions',
    begin: () => proxy.set({ type: 'blackhole' }, both),
    code: 'TRANSPORT_TIMEOUT',
    breaks: false,
  },
  {
    name: 'blackhole towards the router only',
    begin: () => proxy.set({ type: 'blackhole' }, 'toServer'),
    code: 'TRANSPORT_TIMEOUT',
    breaks: false,
  },
  {
    name: 'blackhole towards the agent only: what it sends arrives, and no answer comes',
    begin: () => proxy.set({ type: 'blackhole' }, 'toClient'),
    code: 'TRANSPORT_TIMEOUT',
    breaks: false,
  },
  {
    name: 'stalled in the middle of a block, towards the router',
    begin: () => stalled('toServer'),
    code: 'TRANSPORT_TIMEOUT',
    breaks: false,
  },
  {
    name: 'stalled in the middle of a block, towards the agent',
    begin: () => stalled('toClient'),
    code: 'TRANSPORT_TIMEOUT',
    breaks: false,
  },
  {
    name: 'latency: every byte comes 200 ms late',
    begin: () => proxy.set({ type: 'latency', ms: 200 }),
    breaks: false,
  },
  {
    name: 'slow drip: half a block every 20 ms',
    begin: () => proxy.set({ type: 'drip', bytes: block / 2, everyMs: 20 }),
    breaks: false,
  },
  { name: 'RST on every connection', begin: () => proxy.break('reset'), breaks: true },
  {
    name: 'half-open: the router does not know that the agent has gone',
    begin: () => proxy.halfOpen('server'),
    breaks: true,
  },
  {
    name: 'RST in the middle of a block, three times in a row',
    begin: async () => {
      for (let times = 0; times < 3; times++) {
        const { accepted } = proxy
        proxy.set({ type: 'reset', after: 4.5 * block }, times === 1 ? 'toServer' : 'toClient')
        await until(() => proxy.accepted > accepted)
      }
    },
    breaks: true,
  },
  {
    name: 'TLS cut in the middle of a block: the end of the stream without its close',
    begin: () => proxy.set({ type: 'cut', after: 2.5 * block }, 'toClient'),
    breaks: true,
  },
  {
    name: 'cut in the middle of each TLS handshake',
    begin: async () => {
      for (let times = 0; times < 3; times++) {
        const { accepted } = proxy
        proxy.break('reset')
        await until(() => proxy.accepted > accepted)
        proxy.set({ type: 'cut', after: 300 }, 'toClient')
      }
    },
    breaks: true,
  },
  {
    name: 'every connection is refused',
    begin: () => {
      proxy.refuse(true)
      proxy.break('reset')
    },
    end: () => proxy.refuse(false),
    code: 'TRANSPORT_CONNECT',
    breaks: true,
  },
]

// The talk itself uses up what may pass: a call that is made then gets nothing through.
const stalled = async (direction: FaultDirection): Promise<void> => {
  const after = 2.5 * block
  const before = proxy.passed[direction]
  proxy.set({ type: 'stall', after }, direction)
  await until(() => proxy.passed[direction] >= before + after)
}

const until = async (holds: () => boolean): Promise<void> => {
  const deadline = Date.now() + 60_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('did not happen')
    await pause(2)
  }
}
const told = (type: string) => alice.events.filter(event => event.type === type).length

describe('a network that fails while two agents talk', { timeout: 180_000 }, () => {
  // Of every fault: nothing lost, twice, out of order or told wrongly (the ledgers), and it is over by itself.
  it.each(faults.map(fault => [fault.name, fault] as const))(
    'B32 B34 B43 %s',
    async (name, { begin, end, code, breaks }) => {
      const exchange = new Exchange([alice, bob], [ids.initiatorId, ids.joinerId])
      await exchange.moved()
      const before = { down: told('DOWN'), up: told('UP') }
      await begin()
      if (code !== undefined) await expect(alice.agent.createConnection({})).rejects.toMatchObject({ code })
      else if (!breaks) await exchange.moved()
      if (breaks) await until(() => told('DOWN') > before.down)
      if (end === undefined) proxy.set({ type: 'pass' })
      else end()
      const recovered = await exchange.moved()
      if (breaks) await until(() => told('UP') > before.up)
      else expect([told('DOWN'), told('UP')]).toEqual([before.down, before.up])
      const [ofAlice, ofBob] = await exchange.finish()
      expect(ofAlice).toEqual(kept(ofAlice.sent))
      expect(ofBob).toEqual(kept(ofBob.sent))
      expect(exchange.refused).toEqual([])
      report(name, { recovered, messages: ofAlice.sent + ofBob.sent, told: code ?? (breaks ? 'DOWN, UP' : 'nothing') })
    },
  )
})

/** A clock that runs `factor` times as fast as the machine's, for what takes half an hour by design. */
const fastClock = (factor: number): Clock => {
  const began = Date.now()
  return {
    now: () => began + (Date.now() - began) * factor,
    elapsed: () => performance.now() * factor,
    setTimeout: (run, ms) => setTimeout(run, Math.min(ms / factor, 2 ** 31 - 1)),
    clearTimeout: handle => clearTimeout(handle as NodeJS.Timeout),
  }
}

describe('a connection that is dead and does not know', { timeout: 180_000 }, () => {
  it('B32 B34 B43 half-open: found dead by PINGs without an answer, after 15 minutes of silence or more, then everything goes on', async () => {
    const factor = 200
    const own = await startFaultProxy({ port: world.router.port })
    const direct = tlsDialer()
    const minute = 60_000
    const carol = await world.startAgent({
      clock: fastClock(factor),
      dialer: { dial: (router, options) => direct.dial({ ...router, port: String(own.port) }, options) },
      // A second of this machine at least, for what this machine must do.
      config: { backgroundConnectMs: 5 * minute, interactiveConnectMs: 5 * minute, backgroundCommandMs: 4 * minute },
    })
    const { initiatorId, joinerId } = await world.connect(carol, bob)
    const exchange = new Exchange([carol, bob], [initiatorId, joinerId])
    await exchange.moved()
    const count = (type: string) => carol.events.filter(event => event.type === type).length
    const before = { down: count('DOWN'), accepted: own.accepted }
    own.halfOpen('client')
    const since = performance.now()
    await exchange.until('the session is given up', () => count('DOWN') > before.down)
    const minutes = ((performance.now() - since) * factor) / minute
    expect(minutes).toBeGreaterThan(15)
    const recovered = await exchange.moved()
    expect(own.accepted).toBeGreaterThan(before.accepted)
    const [ofCarol, ofBob] = await exchange.finish()
    expect(ofCarol).toEqual(kept(ofCarol.sent))
    expect(ofBob).toEqual(kept(ofBob.sent))
    report(`half-open: the agent does not know; given up after ${minutes.toFixed(1)} minutes of its clock`, {
      recovered,
      messages: ofCarol.sent + ofBob.sent,
      told: 'DOWN, UP',
    })
    await own.close()
  })
})
