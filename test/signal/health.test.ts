import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { signalAccounts } from '../../src/store/signal/account.js'
import { signalOutbox } from '../../src/store/signal/messages.js'
import { type Bot, eventually, signalWorld, type SignalWorld } from '../support/signal/world.js'

let world: SignalWorld
let bot: Bot
beforeAll(async () => {
  world = await signalWorld()
  bot = await world.startBot()
  await eventually('healthy', () => bot.signal.health().state === 'healthy')
})
afterEach(async () => {
  world.identified.mode = world.unidentified.mode = 'pass'
  await world.mock.setRules()
})
afterAll(() => world.close())

const healthOf = () => bot.signal.health()
const becomes = (state: string, reason?: string): Promise<void> =>
  eventually(`health is ${state} ${reason ?? ''}`, () => {
    const { state: now, reasons } = healthOf()
    return now === state && (reason === undefined || reasons.includes(reason))
  }).catch(error => {
    throw new Error(`${error.message}: it is ${JSON.stringify(healthOf())}`)
  })
/** The server closes the identified socket, again if it was just coming back. */
const closedWith = (code: number, reason: string): Promise<void> =>
  eventually(reason, async () => {
    await world.mock.call('closeOpenSockets', { ...bot.account, code })
    return healthOf().reasons.includes(reason)
  })
const restart = async (config = {}) => {
  const rows = bot.store
  await bot.close()
  bot = await world.startBot({ open: rows.reopen(), config })
}
/** Waits until each of these sockets has been kept alive so often from now on. */
const keptAlive = async (identified: readonly boolean[], times: number): Promise<void> => {
  await world.mock.clearRequests()
  await eventually('keepalives', async () => {
    const seen = (await world.mock.requests()).filter(({ path }) => path === '/v1/keepalive')
    return identified.every(which => seen.filter(one => one.identified === which).length >= times)
  })
}

describe('health', () => {
  it('S02 S15 each socket has its own state; without the unidentified one the channel is degraded, without the identified one unhealthy', async () => {
    world.unidentified.mode = 'refuse'
    world.unidentified.reset()
    await becomes('degraded', 'UNIDENTIFIED_DISCONNECTED')
    expect(healthOf().sockets.identified).toMatch(/^open/)
    world.identified.mode = 'refuse'
    world.identified.reset()
    await becomes('unhealthy', 'IDENTIFIED_DISCONNECTED')
    world.unidentified.mode = world.identified.mode = 'pass'
    await becomes('healthy')
  })

  it('S15 every change is an event, once, in order', async () => {
    const before = bot.events.length
    world.unidentified.reset()
    await eventually('degraded was told', () =>
      bot.events.slice(before).some(event => event.type === 'HEALTH' && event.state === 'degraded'),
    )
    await becomes('healthy')
    await eventually('healthy was told', () => bot.events.at(-1)?.type === 'HEALTH')
    const told = bot.events
      .slice(before)
      .flatMap(event => (event.type === 'HEALTH' ? [`${event.state} ${event.reasons.join()}`] : []))
    expect(told).toEqual(['degraded UNIDENTIFIED_DISCONNECTED', 'healthy '])
  })

  it('S09 422 on account attributes: degraded with the reason, and nothing else changes', async () => {
    await world.mock.setRules({ verb: 'PUT', path: '/v1/accounts/attributes', answer: { status: 422 } })
    await restart()
    await becomes('degraded', 'ATTRIBUTES_422')
    await eventually('both are open', () => healthOf().reasons.join() === 'ATTRIBUTES_422')
    expect(healthOf().sockets).toEqual({ identified: 'open.quiet', unidentified: 'open.quiet' })
    await world.mock.setRules()
    await restart()
    await becomes('healthy')
  })

  it('S02 S15 4409: another process uses the device; it does not fight back, and comes back when it is told to', async () => {
    await closedWith(4409, 'IDENTIFIED_REPLACED')
    expect(healthOf()).toMatchObject({ state: 'unhealthy', sockets: { identified: 'closed.replaced' } })
    // Meanwhile the other socket is kept alive, and this one is left alone.
    const accepted = world.identified.accepted
    await keptAlive([false], 2)
    expect([healthOf().sockets.identified, world.identified.accepted]).toEqual(['closed.replaced', accepted])
    bot.signal.reconnect()
    await becomes('healthy')
  })

  it('S03 the server closes idle sockets: keepalives hold both open', async () => {
    await world.mock.call('setIdle', { ms: 3_000 })
    await restart({ keepaliveMs: 300 })
    await becomes('healthy')
    const accepted = world.identified.accepted + world.unidentified.accepted
    const since = Date.now()
    await eventually('longer than a socket may be idle', async () => {
      await keptAlive([false, true], 5)
      return Date.now() - since > 3_500
    })
    expect(world.identified.accepted + world.unidentified.accepted).toBe(accepted)
    await becomes('healthy')
    await world.mock.call('setIdle', { ms: 0 })
  })

  it('S15 suspended nothing is open and nothing is sent; resumed everything goes on', async () => {
    const bob = await world.person('Bob', 1)
    bot.signal.suspend()
    await becomes('unhealthy')
    const { messageId, recipientId } = await bot.signal.send({ to: bob.primary.aci, text: 'while suspended' })
    expect(healthOf().sockets).toEqual({ identified: 'stopped', unidentified: 'stopped' })
    // Others go on: whatever the bot had sent would be there before their requests.
    for (let turn = 0; turn < 5; turn++) await bob.devices[0]?.request('GET', '/v1/keepalive')
    expect((await world.mock.messageRequests()).filter(({ path }) => path.includes(bob.primary.aci))).toEqual([])
    bot.signal.resume()
    await bot.next('SENT', event => event.messageId === messageId && event.connectionId === recipientId)
    expect(await bob.devices[0]?.nextText()).toBe('while suspended')
    await becomes('healthy')
  })

  it('S15 4401: logged out, stored, and no restart knocks again; linked again it works', async () => {
    const carol = await world.person('Carol', 1)
    await bot.signal.send({ to: carol.primary.aci, text: 'before' })
    expect(await carol.devices[0]?.nextText()).toBe('before')
    // A ciphertext of the old device is stored when the device is logged out.
    await world.mock.setRules({ path: `/v1/messages/${carol.primary.aci}`, drop: true })
    await bot.signal.send({ to: carol.primary.aci, text: 'waits for the new link' })
    await eventually('it is encrypted', async () =>
      (await bot.store.find(signalOutbox, {})).some(({ encrypted }) => encrypted !== null),
    )
    await closedWith(4401, 'IDENTIFIED_INVALIDATED')
    await eventually('it is stored', async () => (await bot.store.find(signalAccounts, {}))[0]?.status === 'loggedOut')
    const accepted = world.identified.accepted
    const rows = bot.store
    await bot.close()
    bot = await world.startBot({ open: rows.reopen() })
    expect(healthOf()).toMatchObject({ state: 'loggedOut' })
    expect(world.identified.accepted).toBe(accepted)
    await bot.signal.link({ onLink: link => void world.mock.call('provision', { aci: world.botPrimary.aci, link }) })
    await world.mock.setRules()
    await becomes('healthy')
    // It goes out of the new device, under sessions of its own.
    expect(await carol.devices[0]?.nextText()).toBe('waits for the new link')
    expect(carol.devices[0]?.received.at(-1)?.sourceDevice).toBe(bot.signal.account()?.deviceId)
    const bob = await world.person('Bob', 1)
    await bot.signal.send({ to: bob.primary.aci, text: 'linked again' })
    expect(await bob.devices[0]?.nextText()).toBe('linked again')
  })

  it('S15 403 when it connects: logged out', async () => {
    const { deviceId = 0 } = bot.signal.account() ?? {}
    await world.mock.call('setPassword', { aci: bot.account.aci, deviceId, password: 'another' })
    world.identified.reset()
    await becomes('loggedOut', 'IDENTIFIED_REFUSED')
    expect(healthOf().sockets.identified).toBe('closed.refused')
  })
})
