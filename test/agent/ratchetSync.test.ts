import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Router } from '../../src/router/router.js'
import { connections, ratchetKeyHashes, skippedKeys } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { type AgentWorld, agentWorld, type TestAgent, textOf } from '../support/agentWorld.js'
import { backupOf } from '../support/restoredStore.js'

let world: AgentWorld
let router: Router
let alice: TestAgent
let bob: TestAgent
let ids: { initiatorId: string; joinerId: string }

beforeEach(async () => {
  world = agentWorld()
  router = await world.startRouter()
  alice = await world.startAgent('alice', [router])
  bob = await world.startAgent('bob', [router])
  ids = await world.connect(alice, bob)
})
afterEach(() => {
  world.network.setLatency(0)
  return world.close()
})

const connectionOf = (side: TestAgent): string => (side.name === 'alice' ? ids.initiatorId : ids.joinerId)
const say = (side: TestAgent, body: string) => side.agent.sendMessage({ connectionId: connectionOf(side), body })
const synchronize = (side: TestAgent, force = true) =>
  side.agent.synchronizeRatchet({ connectionId: connectionOf(side), force })
const states = ({ events }: TestAgent): string[] =>
  events.flatMap(event => (event.type === 'RSYNC' ? [event.state] : []))
const errors = ({ events }: TestAgent): string[] =>
  events.flatMap(event => (event.type === 'ERR' ? [event.error.code] : []))
const stateOf = async (side: TestAgent): Promise<string | undefined> =>
  (await side.store.find(connections, {}))[0]?.ratchetSync

/** Reads and acknowledges everything that comes to one side, in the order in which it came. */
const reading = (side: TestAgent): { text: string; integrity: string }[] => {
  const got: { text: string; integrity: string }[] = []
  void (async () => {
    for await (const event of side.agent.events()) {
      if (event.type !== 'MSG') continue
      got.push({ text: textOf(event.body), integrity: event.integrity.result })
      const { connectionId, messageId } = event
      await side.agent.ackMessage({ connectionId, messageId }).catch(() => {})
    }
  })().catch(() => {})
  return got
}
const texts = (got: readonly { text: string }[]): string[] => got.map(({ text }) => text)

const bothOk = (since = { alice: 0, bob: 0 }) =>
  world.until(
    () =>
      states(alice).length > since.alice &&
      states(bob).length > since.bob &&
      states(alice).at(-1) === 'ok' &&
      states(bob).at(-1) === 'ok',
    `ok at both (alice ${states(alice).join()} ${errors(alice).join()}, bob ${states(bob).join()} ${errors(bob).join()})`,
  )

const exchange = async (): Promise<void> => {
  const [atAlice, atBob] = [reading(alice), reading(bob)]
  await say(alice, 'to bob')
  await say(bob, 'to alice')
  await world.until(
    () => texts(atAlice).includes('to alice') && texts(atBob).includes('to bob'),
    `an exchange (${texts(atAlice).join()}; ${texts(atBob).join()}; ${errors(alice).join()}; ${errors(bob).join()})`,
  )
  expect(atAlice.at(-1)).toEqual({ text: 'to alice', integrity: 'ok' })
  expect(atBob.at(-1)).toEqual({ text: 'to bob', integrity: 'ok' })
}

describe('ratchet synchronisation', { timeout: 60_000 }, () => {
  it('B80 B81 B83 a forced synchronisation: started and agreed at one side, agreed at the other, ok at both; EREADY of each', async () => {
    const before = (await alice.store.find(connections, {}))[0]?.ratchet
    await synchronize(alice)
    await bothOk()
    expect(states(alice)).toEqual(['started', 'agreed', 'ok'])
    expect(states(bob)).toEqual(['agreed', 'ok'])
    expect([...errors(alice), ...errors(bob)]).toEqual([])
    for (const { events } of [alice, bob])
      for (const event of events) if (event.type === 'RSYNC') expect(event).not.toHaveProperty('error')
    const [after] = await alice.store.find(connections, {})
    expect(after?.x3dhKeys).toBeNull()
    expect(after?.ratchet).not.toEqual(before)
    await exchange()
  })

  it('B81 B83 either side may start, and either role comes out: both directions decrypt', async () => {
    for (let n = 0; n < 12; n++) {
      const since = { alice: states(alice).length, bob: states(bob).length }
      await synchronize(n % 2 === 0 ? alice : bob)
      await bothOk(since)
    }
    await exchange()
    expect([...errors(alice), ...errors(bob)]).toEqual([])
  })

  it('B81 both starting at once converge, with one ratchet', async () => {
    for (let n = 0; n < 6; n++) {
      world.network.setLatency(100)
      const since = { alice: states(alice).length, bob: states(bob).length }
      await Promise.all([synchronize(alice), synchronize(bob)])
      await bothOk(since)
      expect(states(alice).slice(since.alice)).toEqual(['started', 'agreed', 'ok'])
      expect(states(bob).slice(since.bob)).toEqual(['started', 'agreed', 'ok'])
    }
    world.network.setLatency(0)
    await exchange()
    expect([...errors(alice), ...errors(bob)]).toEqual([])
  })

  it('B80 without force it is refused where the ratchets fit and where it is under way', async () => {
    const refused = { code: 'CMD_PROHIBITED' }
    await expect(synchronize(alice, false)).rejects.toMatchObject(refused)
    world.network.setLatency(500)
    await synchronize(alice)
    await expect(synchronize(alice, false)).rejects.toMatchObject(refused)
    await bothOk()
    world.network.setLatency(0)
    await world.clock.advance(1_000)
    const { connectionId } = await alice.agent.createConnection({})
    await expect(alice.agent.synchronizeRatchet({ connectionId, force: true })).rejects.toMatchObject(refused)
  })

  it('B80 a repeated call under one idempotency key starts one synchronisation', async () => {
    const call = { connectionId: ids.initiatorId, force: true, idempotencyKey: 'once' }
    await alice.agent.synchronizeRatchet(call)
    await alice.agent.synchronizeRatchet(call)
    await bothOk()
    await alice.agent.synchronizeRatchet(call)
    await world.clock.advance(60_000)
    expect(states(alice)).toEqual(['started', 'agreed', 'ok'])
  })

  it('B80 a key that comes while agreed makes it required, with an error; the next start is answered', async () => {
    world.network.setLatency(100)
    await synchronize(alice)
    await world.until(() => states(bob).includes('agreed'), 'agreed')
    await synchronize(alice)
    await world.until(() => states(bob).includes('required'), 'required')
    expect(bob.events.find(event => event.type === 'RSYNC' && event.state === 'required')).toMatchObject({
      error: { code: 'CRYPTO_SYNC' },
    })
    await expect(say(bob, 'refused')).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
    world.network.setLatency(0)
    await world.clock.advance(10_000)
    const since = { alice: states(alice).length, bob: states(bob).length }
    await synchronize(alice)
    await bothOk(since)
    await exchange()
  })

  it('B19 B80 with pq the new ratchet uses the KEM, as far as both sides wish it', async () => {
    const call = { connectionId: ids.initiatorId, force: true, pq: true }
    await alice.agent.synchronizeRatchet(call)
    await bothOk()
    await exchange()
    const since = { alice: states(alice).length, bob: states(bob).length }
    await bob.agent.synchronizeRatchet({ ...call, connectionId: ids.joinerId })
    await bothOk(since)
    for (let n = 0; n < 4; n++) await exchange()
    const [last] = [alice, bob].map(side => side.events.findLast(event => event.type === 'MSG'))
    expect(last).toMatchObject({ pqEncryption: true })
    expect([...errors(alice), ...errors(bob)]).toEqual([])
  })

  it('B84 messages and receipts are refused until it is ok, and nothing is queued', async () => {
    await say(bob, 'before')
    const { messageId } = await alice.next('MSG')
    world.network.setLatency(300)
    await synchronize(alice)
    const refused = { code: 'CMD_PROHIBITED' }
    const waiting = await alice.store.count(deliveries)
    await expect(say(alice, 'no')).rejects.toMatchObject(refused)
    const { results } = await alice.agent.sendMessages({ items: [{ connectionId: ids.initiatorId, body: 'no' }] })
    expect(results).toMatchObject([{ error: refused }])
    const ack = { connectionId: ids.initiatorId, messageId, receipt: 'read' }
    await expect(alice.agent.ackMessage(ack)).rejects.toMatchObject(refused)
    expect(await alice.store.count(deliveries)).toBe(waiting)
    await world.until(() => states(bob).includes('agreed'), 'agreed')
    await expect(say(bob, 'no')).rejects.toMatchObject(refused)
    await bothOk()
    world.network.setLatency(0)
    await alice.agent.ackMessage(ack)
    expect((await bob.next('RCVD')).receipts).toMatchObject([{ result: 'ok' }])
  })

  it('B82 a key that comes again, of a sender that was killed before it knew of its delivery, is processed once', async () => {
    world.network.setLatency(200)
    await synchronize(alice)
    // The router has the key, and its answer is on its way.
    await world.clock.advance(300)
    const rows = alice.crash()
    await world.until(() => states(bob).includes('agreed'), 'the key')
    world.network.setLatency(0)
    expect(await rows.find(deliveries, {})).toHaveLength(1)
    alice = await world.startAgent('alice', [router], { store: { open: rows } })
    await alice.agent.subscribe({})
    await bothOk()
    expect(states(bob)).toEqual(['agreed', 'ok'])
    expect(await bob.store.count(ratchetKeyHashes)).toBe(1)
    expect(errors(bob)).toEqual([])
    await exchange()
  })

  it('B07 B82 the hashes of processed keys go with age', async () => {
    const config = { storedDataMs: 5_000, cleanupInitialMs: 1_000, cleanupIntervalMs: 1_000 }
    bob = await world.startAgent('bob', [router], { store: { open: bob.crash() }, config })
    await bob.agent.subscribe({})
    await synchronize(alice)
    await bothOk()
    expect(await bob.store.count(ratchetKeyHashes)).toBe(1)
    await world.clock.advance(10_000)
    expect(await bob.store.count(ratchetKeyHashes)).toBe(0)
  })

  it('B80 B83 a kill of either side at any step: it goes on with the same keys and comes right', async () => {
    for (const name of ['alice', 'bob'] as const) {
      for (const ms of [0, 100, 250, 400, 600]) {
        const since = { alice: states(alice).length, bob: states(bob).length }
        world.network.setLatency(100)
        await synchronize(alice)
        await world.clock.advance(ms)
        world.network.setLatency(0)
        const killed = name === 'alice' ? alice : bob
        const again = await world.startAgent(name, [router], { store: { open: killed.crash() } })
        if (name === 'alice') alice = again
        else bob = again
        await again.agent.subscribe({})
        await bothOk({ ...since, [name]: 0 })
        await exchange()
      }
    }
    expect([...errors(alice), ...errors(bob)]).toEqual([])
  })

  it('B36 B37 B85 a restored backup of either side: the first message that does not decrypt says required, a synchronisation makes it right', async () => {
    for (const name of ['bob', 'alice'] as const) {
      const broken = name === 'bob' ? bob : alice
      const restore = await backupOf(broken.store)
      // So often that the ratchet has turned more than once since.
      for (let n = 0; n < 4; n++) await exchange()
      broken.crash()
      const again = await world.startAgent(name, [router], { store: { open: await restore() } })
      const other = name === 'bob' ? alice : bob
      if (name === 'bob') bob = again
      else alice = again
      await again.agent.subscribe({})
      await say(other, 'unreadable')
      await world.until(() => states(again).at(-1) === 'required', 'required')
      const told = again.events.findLast(event => event.type === 'RSYNC')
      expect(told).toMatchObject({ state: 'required', error: { code: 'CRYPTO_HEADER' } })
      await expect(say(again, 'refused')).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
      const since = { alice: states(alice).length, bob: states(bob).length }
      await synchronize(again, false)
      await bothOk(since)
      const [atAlice, atBob] = [reading(alice), reading(bob)]
      await say(alice, 'heard')
      await say(bob, 'heard')
      await world.until(() => texts(atAlice).includes('heard') && texts(atBob).includes('heard'), 'an exchange')
      await exchange()
    }
  })

  it('B85 a sidecar tells of a restored backup at the start: every ratchet is required, nothing is sent before', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duologue-sidecar-'))
    const sidecar = join(directory, 'bob.sidecar')
    try {
      bob = await world.startAgent('bob', [router], { store: { open: bob.crash() }, sidecar })
      await bob.agent.subscribe({})
      const restore = await backupOf(bob.store)
      await exchange()
      await bob.agent.close()
      // An orderly restart is none.
      bob = await world.startAgent('bob', [router], { store: { open: bob.store.reopen() }, sidecar })
      await world.clock.advance(1_000)
      expect(bob.events.map(event => event.type)).not.toContain('RESTORED')
      await bob.agent.close()
      bob = await world.startAgent('bob', [router], { store: { open: await restore() }, sidecar })
      expect(await bob.next('RESTORED')).toMatchObject({ reason: 'sidecar' })
      expect(await bob.next('RSYNC')).toMatchObject({ state: 'required', connectionId: ids.joinerId })
      await expect(say(bob, 'refused')).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
      await synchronize(bob, false)
      await bob.agent.subscribe({})
      await bothOk()
      const [atAlice, atBob] = [reading(alice), reading(bob)]
      await Promise.all([say(alice, 'heard'), say(bob, 'heard')])
      await world.until(() => texts(atAlice).includes('heard') && texts(atBob).includes('heard'), 'an exchange')
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('B37 B85 after a restored backup a message that decrypts changes nothing: the old ratchet never sends again', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'duologue-sidecar-'))
    const sidecar = join(directory, 'bob.sidecar')
    try {
      bob = await world.startAgent('bob', [router], { store: { open: bob.crash() }, sidecar })
      await bob.agent.subscribe({})
      await exchange()
      const restore = await backupOf(bob.store)
      const atAlice = reading(alice)
      await say(bob, 'after the backup')
      await world.until(() => texts(atAlice).includes('after the backup'), 'a message')
      await bob.agent.close()
      bob = await world.startAgent('bob', [router], { store: { open: await restore() }, sidecar })
      await bob.agent.subscribe({})
      const atBob = reading(bob)
      // The backup still has the key that Alice answers to.
      await say(alice, 'readable')
      await world.until(() => texts(atBob).includes('readable'), 'a message')
      expect(states(bob)).toEqual(['required'])
      await expect(say(bob, 'the same key again')).rejects.toMatchObject({ code: 'CMD_PROHIBITED' })
      const since = { alice: states(alice).length, bob: states(bob).length }
      await synchronize(bob, false)
      await bothOk(since)
      await Promise.all([say(alice, 'heard'), say(bob, 'heard')])
      await world.until(() => texts(atAlice).includes('heard') && texts(atBob).includes('heard'), 'an exchange')
      expect([...errors(alice), ...errors(bob)]).toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('B80 B85 an offline, a restarted and a suspended party answer when they are back', async () => {
    bob.crash()
    await synchronize(alice)
    await world.clock.advance(60_000)
    expect(states(alice)).toEqual(['started'])
    bob = await world.startAgent('bob', [router], { store: { open: bob.store.reopen() } })
    await bob.agent.subscribe({})
    await bothOk()
    await bob.agent.suspendAgent({ maxDelayMs: 1000 })
    await synchronize(alice)
    await world.clock.advance(60_000)
    expect(states(alice).at(-1)).toBe('started')
    const since = { alice: states(alice).length, bob: states(bob).length }
    await bob.agent.foregroundAgent({})
    await bothOk(since)
    await exchange()
  })

  it('B80 100 forced synchronisations under a running exchange: nothing is lost, twice or out of order', {
    timeout: 300_000,
  }, async () => {
    const [atAlice, atBob] = [reading(alice), reading(bob)]
    const wanted = { alice: [] as string[], bob: [] as string[] }
    let count = 0
    const talk = async (side: TestAgent): Promise<void> => {
      const body = `${side.name} ${count++}`
      // Refused while the ratchet is being synchronised (B84).
      const sent = await say(side, body).catch((error: { code: string }) => error.code)
      if (typeof sent !== 'string') wanted[side.name === 'alice' ? 'bob' : 'alice'].push(body)
      else expect(sent).toBe('CMD_PROHIBITED')
    }
    world.network.setLatency(20)
    for (let n = 0; n < 100; n++) {
      const since = { alice: states(alice).length, bob: states(bob).length }
      await Promise.all([talk(alice), talk(bob), talk(alice)])
      const starters = n % 3 === 0 ? [alice] : n % 3 === 1 ? [bob] : [alice, bob]
      await Promise.all([...starters.map(side => synchronize(side)), talk(alice), talk(bob)])
      await world.clock.advance((n * 7) % 60)
      await Promise.all([talk(alice), talk(bob)])
      await bothOk(since)
    }
    await Promise.all([talk(alice), talk(bob)])
    await world.until(() => atAlice.length >= wanted.alice.length && atBob.length >= wanted.bob.length, 'all messages')
    await world.clock.advance(60_000)
    expect(texts(atAlice)).toEqual(wanted.alice)
    expect(texts(atBob)).toEqual(wanted.bob)
    expect(new Set([...atAlice, ...atBob].map(({ integrity }) => integrity))).toEqual(new Set(['ok']))
    expect([...errors(alice), ...errors(bob)]).toEqual([])
    expect(await alice.store.count(skippedKeys)).toBe(0)
    expect(await stateOf(alice)).toBe('ok')
  })
})
