/** SimpleX and Signal on one Postgres, one runtime and one event log, as a backend runs them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Agent, type AgentEvent, openAgent } from '../../src/agent/index.js'
import { openRouter } from '../../src/router/openRouter.js'
import type { Router } from '../../src/router/router.js'
import { isSignalEvent, type SignalChannel, signalChannel } from '../../src/signal/index.js'
import { asAdmin, dropSchema, newSchema, noPostgres, testDatabaseUrl } from '../store/postgres.js'
import type { Primary } from '../support/signal/mock.js'
import type { RawDevice } from '../support/signal/rawDevice.js'
import { eventually, quickConfig, signalWorld, type SignalWorld } from '../support/signal/world.js'

const missing = await noPostgres()

describe.skipIf(missing !== undefined)(`one log${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  const schema = newSchema()
  let world: SignalWorld
  let directory = ''
  let router: Router
  let agent: Agent
  let channel: SignalChannel
  let bob: { primary: Primary; devices: RawDevice[] }
  let events: AgentEvent[] = []

  const start = async (): Promise<void> => {
    channel = signalChannel({
      server: { url: `https://127.0.0.1:${world.mock.port}`, ca: world.mock.ca, trustRoots: [world.mock.trustRoot] },
      dialer: world.dialer,
      config: quickConfig,
    })
    agent = await openAgent({
      store: { databaseUrl: testDatabaseUrl, schema },
      routers: [router.address],
      channels: [channel],
    })
    const [own, log] = [agent, events]
    void (async () => {
      for await (const event of own.events()) {
        log.push(event)
        // While the agent is suspended it takes no call that changes something; reading goes on.
        await own.ackEvents({ cursor: event.cursor }).catch((error: unknown) => {
          if ((error as { code?: string }).code !== 'AGENT_SUSPENDED') throw error
        })
      }
    })().catch(() => {})
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'duologue-onelog-'))
    world = await signalWorld()
    router = await openRouter({ directory, host: 'localhost', port: 0, memory: true })
    bob = await world.person('Bob', 2)
    await start()
    await channel.link({ onLink: link => void world.mock.call('provision', { aci: world.botPrimary.aci, link }) })
  }, 60_000)
  afterAll(async () => {
    await agent?.close()
    await router?.close()
    await world?.close()
    await dropSchema(schema)
    await rm(directory, { recursive: true, force: true })
  })
  const has = (network: string, type: string): boolean =>
    events.some(event => event.network === network && event.type === type)

  it('S18 a backend reads one stream of events for both networks, in one order of cursors', async () => {
    const guest = await openAgent({ store: { memory: true }, routers: [router.address] })
    const { connectionId, link } = await agent.createConnection({})
    await guest.joinConnection({ link })
    await eventually('CONF', () => has('simplex', 'CONF'))
    const conf = events.find(event => event.type === 'CONF') as Extract<AgentEvent, { type: 'CONF' }>
    await agent.allowConnection({ connectionId, confirmationId: conf.confirmationId })
    await channel.send({ to: bob.primary.aci, text: 'by signal' })
    await eventually('CON and SENT', () => has('simplex', 'CON') && has('signal', 'SENT'))
    for (const device of bob.devices) expect(await device.nextText()).toBe('by signal')
    const cursors = events.map(({ cursor }) => cursor)
    expect(cursors).toEqual(cursors.toSorted((a, b) => a - b))
    expect(new Set(events.filter(isSignalEvent).map(({ type }) => type))).toContain('SENT')
    await guest.close()
  })

  it('S06 the devices of a recipient are rows of Postgres, as the seed asks: aci, device_id, last_seen', async () => {
    const { rows } = await asAdmin(
      `SELECT aci, device_id::int, last_seen::text FROM "${schema}".recipient_devices ORDER BY aci, device_id`,
    )
    const ofBob = rows.filter(({ aci }) => aci === bob.primary.aci)
    expect(ofBob.map(({ device_id }) => device_id)).toEqual([1, 2, 3])
    expect(Number(ofBob[0]?.last_seen)).toBeGreaterThan(Date.now() - 60_000)
  })

  it('S15 B04 suspended with its agent the channel has no sockets and sends nothing; in the foreground it goes on', async () => {
    await eventually('healthy', () => channel.health().state === 'healthy')
    const sentBefore = events.filter(event => event.network === 'signal' && event.type === 'SENT').length
    await agent.suspendAgent({ maxDelayMs: 5_000 })
    expect(channel.health().sockets).toEqual({ identified: 'stopped', unidentified: 'stopped' })
    await expect(channel.send({ to: bob.primary.aci, text: 'x' })).rejects.toMatchObject({ code: 'AGENT_SUSPENDED' })
    await agent.foregroundAgent({})
    await eventually('healthy again', () => channel.health().state === 'healthy')
    await channel.send({ to: bob.primary.aci, text: 'in the foreground' })
    await eventually(
      'SENT',
      () => events.filter(event => event.network === 'signal' && event.type === 'SENT').length > sentBefore,
    )
    for (const device of bob.devices) expect(await device.nextText()).toBe('in the foreground')
  })

  it('S06 S11 after a restart the cache, sessions and account are there: one request for a message, and receiving goes on', async () => {
    await agent.close()
    events = []
    await start()
    await eventually('healthy', () => channel.health().state === 'healthy')
    await world.mock.clearRequests()
    await channel.send({ to: bob.primary.aci, text: 'after the restart' })
    for (const device of bob.devices) expect(await device.nextText()).toBe('after the restart')
    const toBob = (await world.mock.requests()).filter(({ path }) => path.includes(bob.primary.aci))
    expect(toBob.map(({ status }) => status)).toEqual([200])
    const account = { serviceId: world.botPrimary.aci, deviceId: channel.account()?.deviceId ?? 0 }
    await (bob.devices[0] as RawDevice).send(
      account,
      { dataMessage: { body: 'hi', timestamp: Date.now() } },
      { others: [1] },
    )
    await eventually('MSG', () => has('signal', 'MSG'))
  })
})
