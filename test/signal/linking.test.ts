import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSignal } from '../../src/signal/index.js'
import { signalAccounts, signalPreKeys } from '../../src/store/signal/account.js'
import { put } from '../../src/store/index.js'
import { openMemoryStore } from '../../src/store/memory.js'
import type { RawDevice } from '../support/signal/rawDevice.js'
import { type Bot, eventually, quickConfig, signalWorld, type SignalWorld } from '../support/signal/world.js'

let world: SignalWorld
let bot: Bot
beforeAll(async () => {
  world = await signalWorld()
  bot = await world.startBot()
})
afterAll(() => world.close())

interface Counts {
  readonly ec: number
  readonly kyber: number
  readonly signed: number
  readonly lastResort: number
}
const counts = () => world.mock.call<Record<'ACI' | 'PNI', Counts>>('keyCounts', bot.account)
const restart = async (config = {}) => {
  const rows = bot.store
  await bot.close()
  bot = await world.startBot({ open: rows.reopen(), config })
  await eventually('healthy', () => bot.signal.health().state === 'healthy')
}
const server = () => ({
  url: `https://127.0.0.1:${world.mock.port}`,
  ca: world.mock.ca,
  trustRoots: [world.mock.trustRoot],
})
const unlinked = () =>
  openSignal({ server: server(), dialer: world.dialer, store: { open: openMemoryStore() }, config: quickConfig })

describe('linking', () => {
  it('S01 links as a secondary device by the link; 100 prekeys of both kinds for aci and pni are at the server', async () => {
    expect(bot.account).toMatchObject({ aci: world.botPrimary.aci, deviceId: 2, e164: world.botPrimary.e164 })
    expect(bot.signal.account()).toMatchObject({ pni: world.botPrimary.pni, deviceName: 'bot', status: 'linked' })
    for (const kind of ['ACI', 'PNI'] as const) expect((await counts())[kind]).toMatchObject({ ec: 100, kyber: 100 })
  })

  it('S01 the link is that of a primary device: address and public key', async () => {
    const signal = await unlinked()
    const abort = new AbortController()
    const shown = new Promise<string>(resolve => {
      void signal.link({ onLink: resolve, signal: abort.signal }).catch(() => {})
    })
    const link = new URL(await shown)
    expect(link.protocol).toBe('sgnl:')
    expect(link.searchParams.get('uuid')).toMatch(/^[0-9a-f-]{36}$/)
    expect(Buffer.from(link.searchParams.get('pub_key') ?? '', 'base64')).toHaveLength(33)
    abort.abort()
    await signal.close()
  })

  it('S01 a link that is broken off leaves nothing; calls say that no account is linked', async () => {
    const signal = await unlinked()
    const abort = new AbortController()
    const linking = signal.link({ onLink: () => abort.abort(), signal: abort.signal })
    await expect(linking).rejects.toMatchObject({ code: 'SIGNAL_LINK_FAILED' })
    expect(signal.account()).toBeUndefined()
    await expect(signal.send({ to: world.botPrimary.aci, text: 'x' })).rejects.toMatchObject({
      code: 'SIGNAL_NOT_LINKED',
    })
    expect(signal.health()).toMatchObject({ state: 'loggedOut', reasons: ['NOT_LINKED'] })
    await signal.close()
  })

  it('S01 a refused registration is told with its status, and nothing of it is kept', async () => {
    const store = openMemoryStore()
    const signal = await openSignal({
      server: server(),
      dialer: world.dialer,
      store: { open: store },
      config: quickConfig,
    })
    await world.mock.setRules({ path: '/v1/devices/link', answer: { status: 411 } })
    const other = await world.mock.createPrimary('Other')
    const linking = signal.link({
      onLink: link => void world.mock.call('provision', { aci: other.aci, link }).catch(() => {}),
    })
    await expect(linking).rejects.toMatchObject({ code: 'SIGNAL_LINK_FAILED', facts: { status: 411 } })
    expect(await store.find(signalAccounts, {})).toEqual([])
    expect(await store.count(signalPreKeys)).toBe(0)
    await world.mock.setRules()
    await signal.close()
  })

  it('S01 S15 a device that was logged out is linked again to its own account only; a link that fails changes nothing', async () => {
    const store = openMemoryStore()
    const [row] = await bot.store.find(signalAccounts, {})
    if (row === undefined) throw new Error('the bot has no account')
    const loggedOut = { ...row, status: 'loggedOut' }
    await store.commit([put(signalAccounts, loggedOut)])
    const signal = await openSignal({
      server: server(),
      dialer: world.dialer,
      store: { open: store },
      config: quickConfig,
    })
    const linkTo = (aci: string) =>
      signal.link({ onLink: link => void world.mock.call('provision', { aci, link }).catch(() => {}) })
    // What waits would go out in the name of somebody else.
    const other = await world.mock.createPrimary('Other')
    await expect(linkTo(other.aci)).rejects.toMatchObject({ code: 'SIGNAL_OTHER_ACCOUNT' })
    await world.mock.setRules({ path: '/v1/devices/link', answer: { status: 411 } })
    await expect(linkTo(world.botPrimary.aci)).rejects.toMatchObject({ code: 'SIGNAL_LINK_FAILED' })
    await world.mock.setRules()
    expect(await store.find(signalAccounts, {})).toEqual([loggedOut])
    expect(signal.account()).toMatchObject({ aci: row.aci, status: 'loggedOut' })
    await signal.close()
  })

  it('S01 below 50 one-time keys are topped up to 100, those above are left alone', async () => {
    const before = await counts()
    await world.mock.call('takeKeys', { ...bot.account, count: 40, kind: 'PNI' })
    await restart()
    expect((await counts()).PNI).toMatchObject({ ec: 60 })
    await world.mock.call('takeKeys', { ...bot.account, count: 11, kind: 'PNI' })
    await restart()
    await eventually('they are topped up', async () => (await counts()).PNI.ec === 100)
    expect((await counts()).PNI.kyber).toBe(100)
    expect((await counts()).ACI).toEqual(before.ACI)
  })

  it('S01 signed and last-resort keys rotate; what was encrypted to the old ones still opens', async () => {
    const before = await counts()
    const bob = await world.person('Bob', 1)
    const [device] = bob.devices as [RawDevice]
    const rows = bot.store
    await bot.close()
    // Encrypted to the keys of now, opened after they were replaced.
    await device.send(
      { serviceId: bot.account.aci, deviceId: bot.account.deviceId },
      { dataMessage: { body: 'to the old keys', timestamp: Date.now() } },
      { others: [1] },
    )
    await world.mock.setRules({ path: '/api', drop: true })
    bot = await world.startBot({ open: rows.reopen(), config: { preKeysRotateMs: 1 } })
    await bot.next('MSG')
    await eventually('they are new', async () => {
      const now = await counts()
      return (['ACI', 'PNI'] as const).every(
        kind => now[kind].signed !== before[kind].signed && now[kind].lastResort !== before[kind].lastResort,
      )
    })
    const signed = await bot.store.find(signalPreKeys, { where: { kind: 'signed', own: 'aci' }, orderBy: ['keyId'] })
    expect(signed.map(({ keyId }) => keyId)).toEqual([before.ACI.signed, (await counts()).ACI.signed])
    await world.mock.setRules()
  })

  it('S01 replaced keys go when newer ones have stood for long enough, and not before', async () => {
    const old = await bot.store.find(signalPreKeys, { where: { kind: 'signed', own: 'aci' }, orderBy: ['keyId'] })
    expect(old.length).toBeGreaterThan(1)
    await restart({ preKeysRotateMs: 1, preKeysKeepMs: 0 })
    await eventually('the oldest are gone', async () => {
      const left = await bot.store.find(signalPreKeys, { where: { kind: 'signed', own: 'aci' } })
      return left.every(({ keyId }) => keyId !== old[0]?.keyId)
    })
    const served = (await counts()).ACI
    const kept = await bot.store.find(signalPreKeys, { where: { own: 'aci' } })
    expect(kept.some(({ kind, keyId }) => kind === 'signed' && keyId === served.signed)).toBe(true)
    expect(kept.some(({ kind, keyId }) => kind === 'lastResort' && keyId === served.lastResort)).toBe(true)
  })

  it('S01 an upload that the server refuses degrades health and is tried again', async () => {
    await world.mock.call('takeKeys', { ...bot.account, count: 60, kind: 'ACI' })
    await world.mock.setRules({ verb: 'PUT', path: '/v2/keys', answer: { status: 500 } })
    const rows = bot.store
    await bot.close()
    bot = await world.startBot({ open: rows.reopen(), config: { preKeysCheckMs: 200 } })
    await eventually('health says so', () => bot.signal.health().reasons.includes('PRE_KEYS'))
    await world.mock.setRules()
    await eventually('they are up', async () => (await counts()).ACI.ec === 100)
    await eventually('healthy', () => bot.signal.health().state === 'healthy')
  })
})
