import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bot, signalWorld, type SignalWorld } from '../support/signal/world.js'

let world: SignalWorld
let bot: Bot
beforeAll(async () => {
  world = await signalWorld()
  bot = await world.startBot()
})
afterAll(() => world.close())

describe('linking', () => {
  it('S01 links as a secondary device by the link; prekeys for aci and pni are at the server', async () => {
    expect(bot.account.aci).toBe(world.botPrimary.aci)
    expect(bot.account.deviceId).toBe(2)
    const counts = await world.mock.call<Record<string, { ec: number; kyber: number }>>('keyCounts', {
      aci: bot.account.aci,
      deviceId: 2,
    })
    expect(counts['ACI']).toMatchObject({ ec: 100, kyber: 100 })
    expect(counts['PNI']).toMatchObject({ ec: 100, kyber: 100 })
  })
})
