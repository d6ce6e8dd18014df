import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../../src/crypto/index.js'
import { TransportError } from '../../../src/errors.js'
import { isHostError, isTemporaryError } from '../../../src/smp/client.js'
import type { RouterHello } from '../../../src/smp/protocol/handshake.js'
import type { SignedRouterKey } from '../../../src/smp/protocol/responses.js'
import { signKey } from '../../../src/smp/protocol/signedKey.js'
import { makeChain } from '../../support/certificates.js'
import { clientWorld, outcome } from './world.js'

const failure = async (
  hello: (hello: RouterHello) => RouterHello | Uint8Array | undefined,
): Promise<TransportError> => {
  const { router, connect, clock } = await clientWorld({ hello })
  const error = await connect().then(
    () => 'connected',
    error => error,
  )
  expect(error).toBeInstanceOf(TransportError)
  await clock.settle()
  expect(router.network.links()).toEqual([])
  expect(clock.pendingTimers).toBe(0)
  return error as TransportError
}

describe('the SMP handshake of a client', () => {
  it('agrees on the highest common version and names the router by its key hash', async () => {
    const { router, connect } = await clientWorld()
    const { session, atRouter } = await connect()
    expect(session.version).toBe(18)
    expect(atRouter.hello.proxy).toBe(false)
    expect(atRouter.hello.clientKey?.length).toBe(32)
    expect(Buffer.from(atRouter.hello.keyHash)).toEqual(Buffer.from(router.address.keyHash))
    expect(Buffer.from(session.tlsSessionId)).toEqual(Buffer.from(atRouter.channel.sessionId))
  })

  it.each([
    [{ min: 6, max: 14 }, 14],
    [{ min: 16, max: 16 }, 16],
    [{ min: 17, max: 21 }, 18],
  ])('agrees with a router of versions %o on %d', async (versionRange, version) => {
    const { connect } = await clientWorld({ versionRange })
    expect((await connect()).session.version).toBe(version)
  })

  it('gives every session a larger id than those before', async () => {
    const { connect } = await clientWorld()
    const ids = [(await connect()).session.id, (await connect()).session.id, (await connect()).session.id]
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b))
  })

  it.each([
    { min: 6, max: 13 },
    { min: 19, max: 21 },
  ])('refuses a router of versions %o: TRANSPORT_VERSION', async versionRange => {
    const error = await failure(hello => ({ ...hello, versionRange }))
    expect(error.code).toBe('TRANSPORT_VERSION')
    expect([isHostError(error), isTemporaryError(error)]).toEqual([true, false])
  })

  it('refuses a hello for another TLS session: TRANSPORT_SESSION', async () => {
    expect((await failure(hello => ({ ...hello, sessionId: new Uint8Array(32) }))).code).toBe('TRANSPORT_SESSION')
  })

  it('refuses a hello with the chain of another router: TRANSPORT_IDENTITY', async () => {
    const other = await makeChain()
    const error = await failure(hello => ({
      ...hello,
      routerKey: {
        certificates: other.certificates,
        signedKey: (hello.routerKey as SignedRouterKey).signedKey,
      },
    }))
    expect(error.code).toBe('TRANSPORT_IDENTITY')
  })

  it('refuses a session key that the leaf of the TLS session did not sign: TRANSPORT_HANDSHAKE', async () => {
    const [session, stranger] = [generateKeyPair('x25519'), generateKeyPair('ed25519')]
    const error = await failure(hello => ({
      ...hello,
      routerKey: {
        certificates: (hello.routerKey as SignedRouterKey).certificates,
        signedKey: signKey('x25519', session.publicKey, { algorithm: 'ed25519', privateKey: stranger.privateKey }),
      },
    }))
    expect(error.code).toBe('TRANSPORT_HANDSHAKE')
  })

  it('refuses a hello without a session key: blocks would not be encrypted', async () => {
    expect((await failure(({ versionRange, sessionId }) => ({ versionRange, sessionId }))).code).toBe(
      'TRANSPORT_HANDSHAKE',
    )
  })

  it('answers any bytes in place of a hello with a TransportError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async bytes => {
        expect((await failure(() => bytes)).code).toMatch(/^TRANSPORT_(HANDSHAKE|SESSION|VERSION)$/)
      }),
      { numRuns: 40 },
    )
  })

  it('gives up on a router that sends no hello at the deadline: TRANSPORT_TIMEOUT', async () => {
    const { router, connect, clock } = await clientWorld({ hello: () => undefined })
    const connecting = outcome(connect({ connectTimeoutMs: 7_000 }))
    await clock.advance(6_999)
    expect(connecting.current).toBe('pending')
    await clock.advance(1)
    expect(connecting.current).toMatchObject({ code: 'TRANSPORT_TIMEOUT' })
    await clock.settle()
    expect(router.network.links()).toEqual([])
  })

  it('says why when the router hangs up instead of a hello', async () => {
    const { router, connect, clock } = await clientWorld({ hello: () => undefined })
    const connecting = outcome(connect())
    await clock.settle()
    router.network.links()[0]?.router.close()
    await clock.settle()
    expect(connecting.current).toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect(clock.pendingTimers).toBe(0)
  })

  it('stops when told to, before and during the handshake', async () => {
    const { router, connect, clock } = await clientWorld({ hello: () => undefined })
    await expect(connect({}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    const stop = new AbortController()
    const connecting = outcome(connect({}, { signal: stop.signal }))
    await clock.settle()
    stop.abort()
    await clock.settle()
    expect(connecting.current).toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect(router.network.links()).toEqual([])
    expect(clock.pendingTimers).toBe(0)
  })
})
