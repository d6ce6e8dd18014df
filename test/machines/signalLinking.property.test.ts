import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signalLinkingMachine } from '../../machines/index.js'
import { anySteps, drain, live } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const outcomes = {
  connect: [undefined],
  storeAccount: [undefined],
  register: [undefined],
  uploadKeys: [undefined],
}

describe('signalLinking', () => {
  it('S01 each step is taken once at most and in its order; it ends linked, or failed with nothing left behind', async () => {
    const order = ['connect', 'storeAccount', 'register', 'uploadKeys']
    await fc.assert(
      fc.asyncProperty(anySteps(signalLinkingMachine), async steps => {
        const life = await live(signalLinkingMachine, { deviceName: 'd' }, outcomes, steps, ({ open }) =>
          expect(open().length).toBeLessThanOrEqual(1),
        )
        for (const type of ['address.received', 'provision.received']) await life.take({ event: { type } })
        await drain(life, () => 0)
        for (const type of ['address.received', 'provision.received']) await life.take({ event: { type } })
        await drain(life, () => 0)
        const { did } = life
        const work = did.filter(name => order.includes(name))
        expect(work).toEqual(order.slice(0, work.length))
        for (const once of ['showLink', 'closeSocket', 'forgetAccount']) {
          expect(did.filter(word => word === once).length).toBeLessThanOrEqual(1)
        }
        const state = life.worker.state()
        expect(['linked', 'failed']).toContain(state)
        // The server may know a device that was registered; an account that it does not know is forgotten.
        expect(did.includes('forgetAccount')).toBe(state === 'failed' && work.includes('register'))
        expect(state === 'linked').toBe(work.includes('uploadKeys'))
      }),
      fuzzRuns(40),
    )
  })
})
