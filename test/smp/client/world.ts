import { expect } from 'vitest'
import { systemRandom } from '../../../src/crypto/index.js'
import { type ConnectOptions, connectRouter, type SessionLimits } from '../../../src/smp/client.js'
import { virtualClock } from '../../../src/testing/virtualClock.js'
import { type FakeRouterOptions, type FakeSession, fakeRouter } from '../../support/fakeRouter.js'

/** A fake router and a way to connect to it, on virtual time. */
export const clientWorld = async (options: Partial<FakeRouterOptions> = {}) => {
  const clock = virtualClock()
  const router = await fakeRouter({ clock, ...options })
  const connect = async (limits: Partial<SessionLimits> = {}, more: Partial<ConnectOptions> = {}) => {
    const dialer = router.network.dialer('client')
    const session = await connectRouter({
      dialer,
      router: router.address,
      clock,
      random: systemRandom,
      limits,
      ...more,
    })
    await clock.settle()
    const atRouter = router.sessions.at(-1) as FakeSession
    expect(atRouter.hello.version).toBe(session.version)
    return { session, atRouter }
  }
  return { clock, router, connect }
}

export const id = (n: number): Uint8Array => new Uint8Array(24).fill(n)

export const none = new Uint8Array(0)

/** The outcome of a promise so far. */
export const outcome = (promise: Promise<unknown>): { current: unknown } => {
  const state: { current: unknown } = { current: 'pending' }
  promise.then(
    value => (state.current = value),
    error => (state.current = error),
  )
  return state
}
