import { describe, expect, it } from 'vitest'
import { RouterLink, type RouterLinkOptions } from '../../src/agent/routerLink.js'
import { TransportError } from '../../src/errors.js'
import { isTemporaryError, type RouterSession } from '../../src/smp/client.js'
import { type VirtualClock, virtualClock } from '../../src/testing/index.js'

const linkOf = (clock: VirtualClock, options: Pick<RouterLinkOptions, 'connect'> & Partial<RouterLinkOptions>) =>
  new RouterLink({
    router: 'smp://router',
    clock,
    reconnect: { initial: 2_000, growAfter: 10_000, max: 180_000 },
    failedConnectMs: 3_000,
    offlineRetryMs: 1_800_000,
    idleMs: 300_000,
    isOffline: () => false,
    isSuspended: () => false,
    hasSubscriptions: () => false,
    opened: async () => {},
    lost: () => {},
    failed: () => {},
    event: () => {},
    unused: () => {},
    ...options,
  })
const closed = new TransportError('TRANSPORT_CLOSED', 'the test is over')

describe('RouterLink', () => {
  it('whoever meets a session that is just ending hears of that, not of an older failure to connect', async () => {
    const clock = virtualClock()
    let ended = false
    let tellEnd: () => void = () => {}
    const session = {
      get closed() {
        return ended
      },
      onEvent: () => {},
      onClose: (handler: () => void) => {
        tellEnd = handler
      },
      close: () => {},
    } as unknown as RouterSession
    const attempts = [
      () => Promise.reject(new TransportError('TRANSPORT_HANDSHAKE', 'a hello that cannot be read')),
      () => Promise.resolve(session),
    ]
    const link = linkOf(clock, { connect: () => (attempts.shift() as () => Promise<RouterSession>)() })
    await expect(link.open(1_000)).rejects.toMatchObject({ code: 'TRANSPORT_HANDSHAKE' })
    await clock.advance(3_000)
    await expect(link.open(1_000)).resolves.toBe(session)
    ended = true
    const refused = link.open(1_000).catch((error: unknown) => error)
    tellEnd()
    const error = await refused
    expect(error).toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect(isTemporaryError(error)).toBe(true)
    link.close(closed)
  })

  it('many that wait for a dead router do not knock again within 3 s of a failed attempt', async () => {
    const clock = virtualClock()
    let attempts = 0
    const link = linkOf(clock, {
      connect: () => {
        attempts++
        return Promise.reject(new TransportError('TRANSPORT_CONNECT', 'refused'))
      },
    })
    const open = () => link.open(1_000).catch((error: unknown) => (error as TransportError).code)
    for (let ms = 0; ms < 9_000; ms += 100) {
      expect(await open()).toBe('TRANSPORT_CONNECT')
      await clock.advance(100)
    }
    expect(attempts).toBe(3)
    link.close(closed)
  })
})
