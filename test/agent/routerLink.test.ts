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
const refused = new TransportError('TRANSPORT_CONNECT', 'refused')

/** A session of the client, and how it ends. */
const fakeSession = () => {
  let open = true
  let tellEnd: () => void = () => {}
  const end = (): void => {
    if (!open) return
    open = false
    tellEnd()
  }
  const session = {
    get closed() {
      return !open
    },
    counts: () => ({ inFlight: 0, queued: 0 }),
    onEvent: () => {},
    onClose: (handler: () => void) => {
      tellEnd = handler
    },
    close: end,
  } as unknown as RouterSession
  return { session, end }
}

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

  it('B61 giving a session up that was replaced does not touch its successor', async () => {
    const clock = virtualClock()
    const [first, second] = [fakeSession(), fakeSession()]
    const sessions = [first.session, second.session]
    const link = linkOf(clock, { connect: async () => sessions.shift() as RouterSession })
    await link.open(1_000)
    first.end()
    expect(await link.open(1_000)).toBe(second.session)
    link.giveUp(first.session)
    expect(link.session).toBe(second.session)
    link.giveUp(second.session)
    expect([link.session, second.session.closed]).toEqual([undefined, true])
    link.close(closed)
  })

  it('B69 an idle session is closed, and one that is only made when the link was closed is closed at once', async () => {
    const clock = virtualClock()
    const { session } = fakeSession()
    const link = linkOf(clock, { connect: async () => session })
    await link.open(1_000)
    await clock.advance(300_000)
    expect(session.closed).toBe(true)
    link.close(closed)
    const late = fakeSession()
    let made: () => void = () => {}
    const other = linkOf(clock, {
      connect: () =>
        new Promise(resolve => {
          made = () => resolve(late.session)
        }),
    })
    other.open(1_000).catch(() => {})
    await clock.settle()
    other.close(closed)
    made()
    await clock.settle()
    expect(late.session.closed).toBe(true)
  })

  it('B69 a link that is in use again when an old failure is forgotten is not thrown away', async () => {
    const clock = virtualClock()
    const { session } = fakeSession()
    const attempts = [() => Promise.reject(refused), async () => session]
    let unused = 0
    const link = linkOf(clock, {
      connect: () => (attempts.shift() as () => Promise<RouterSession>)(),
      unused: () => unused++,
    })
    await expect(link.open(1_000)).rejects.toBe(refused)
    await clock.advance(1_000)
    link.online()
    expect(await link.open(1_000)).toBe(session)
    await clock.advance(3_000)
    expect(unused).toBe(0)
    link.close(closed)
  })

  it('B68 offline, who subscribes is told of the attempt that has just failed; none is made', async () => {
    const clock = virtualClock()
    let attempts = 0
    const link = linkOf(clock, {
      isOffline: () => true,
      hasSubscriptions: () => true,
      connect: () => {
        attempts++
        return Promise.reject(refused)
      },
    })
    await expect(link.open(1_000)).rejects.toBe(refused)
    await clock.advance(2_500)
    expect([link.state, link.need(), attempts]).toEqual(['offline', refused, 1])
    link.close(closed)
  })
})
