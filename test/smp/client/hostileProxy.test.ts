import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boxSecret, decodePrivateKey, generateKeyPair, systemRandom, x25519 } from '../../../src/crypto/index.js'
import { DuologueError, ProxyError, RouterError } from '../../../src/errors.js'
import { isHostError, isTemporaryError, openProxy, type ProxySession } from '../../../src/smp/client.js'
import { openProxiedTransmission, sealProxiedResponse } from '../../../src/smp/protocol/proxy.js'
import type { Response } from '../../../src/smp/protocol/responses.js'
import type { RouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import type { SmpError } from '../../../src/smp/protocol/routerErrors.js'
import { signKey } from '../../../src/smp/protocol/signedKey.js'
import {
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../../src/smp/protocol/transmission.js'
import { encodeResponse } from '../../../src/smp/protocol/responses.js'
import { anyChain, makeChain, type TestChain } from '../../support/certificates.js'
import type { FakeSession, ReceivedCommand } from '../../support/fakeRouter.js'
import { clientWorld, none, outcome } from './world.js'

const relaySessionId = Buffer.alloc(32, 7)
const relayKeys = generateKeyPair('x25519')

/** PKEY of a relay with this chain. */
const keyOf = (chain: TestChain, signer: TestChain = chain): Extract<Response, { type: 'PKEY' }> => ({
  type: 'PKEY',
  sessionId: relaySessionId,
  versionRange: { min: 8, max: 17 },
  routerKey: {
    certificates: chain.certificates,
    signedKey: signKey('x25519', relayKeys.publicKey, {
      algorithm: 'ed25519',
      privateKey: decodePrivateKey(signer.privateKey).raw,
    }),
  },
})

/** Answers PRXY with `pkey` and PFWD with `answer`. */
const script =
  (pkey: Response, answer: (pfwd: Pfwd) => Response | undefined = () => undefined) =>
  (session: FakeSession): void => {
    session.onCommand = received => {
      const { command } = received
      if (command.type === 'PRXY') session.send({ to: received, response: pkey })
      if (command.type !== 'PFWD') return
      const response = answer({ ...received, command })
      if (response !== undefined) session.send({ to: received, response })
    }
  }

type Pfwd = ReceivedCommand & { readonly command: Extract<ReceivedCommand['command'], { type: 'PFWD' }> }

const world = async (onSession: (session: FakeSession) => void) => {
  const chain = await anyChain()
  const { connect, clock } = await clientWorld({ onSession })
  const { session, atRouter } = await connect()
  const relay: RouterAddress = { keyHash: chain.keyHash, hosts: ['relay'], port: '' }
  const sender = openProxy(session, { clock, random: systemRandom })
  const send = (to: ProxySession = sender): Promise<Response> =>
    to.send(relay, { command: { type: 'SEND', flags: { notification: false }, body: Buffer.from('x') }, entityId: id })
  return { chain, clock, session, atRouter, sender, send }
}
const id = Buffer.alloc(24, 3)

const failed = async (promise: Promise<unknown>): Promise<DuologueError> => {
  const error = await promise.then(
    value => Object.assign(new Error('not refused'), { value }),
    error => error,
  )
  expect(error).toBeInstanceOf(DuologueError)
  return error
}

/** The relay's boxes around an answer. */
const boxed = ({ command, corrId }: Pfwd, response: Response, times = 1): Response => {
  const key = boxSecret(x25519(relayKeys.privateKey, command.key))
  const [batch] = readBatch(openProxiedTransmission(key, corrId, command.transmission))
  const asked = decodeTransmission(command.version, batch as Uint8Array)
  const answer = encodeTransmission(command.version, {
    authorization: none,
    corrId: asked.corrId,
    entityId: asked.entityId,
    command: encodeResponse(command.version, response),
  })
  const [block] = batchTransmissions(Array.from({ length: times }, () => answer)) as unknown as [{ block: Uint8Array }]
  return { type: 'PRES', response: sealProxiedResponse(key, corrId, block.block) }
}

describe('B49 a proxy that does not prove the relay', () => {
  const cases: [name: string, pkey: (own: TestChain) => Promise<Response>][] = [
    ['shows the chain of another router', async () => keyOf(await makeChain())],
    ['shows a chain that has expired', async own => ({ ...keyOf(own), routerKey: keyOf(await expired()).routerKey })],
    ['has the session key signed by somebody else', async own => keyOf(own, await makeChain())],
    ['shows the leaf of another router', async own => mixed(own, await makeChain())],
    ['shows one certificate only', async own => single(own)],
    ['shows rubbish', async own => ({ ...keyOf(own), routerKey: { certificates: [id, id], signedKey: id } })],
  ]

  it.each(cases)('B49 %s: nothing is sent, and a temporary error tells', async (_, pkey) => {
    const own = await anyChain()
    const { atRouter, send } = await world(script(await pkey(own)))
    const error = await failed(send())
    expect(error).toBeInstanceOf(ProxyError)
    expect(error.code).toBe('PROXY_BROKER_TRANSPORT_HANDSHAKE_IDENTITY')
    expect([isTemporaryError(error), isHostError(error)]).toEqual([true, false])
    expect(atRouter.received.map(({ command }) => command.type)).toEqual(['PRXY'])
  })

  const expired = () => makeChain({ notAfter: new Date('2025-06-01T00:00:00Z') })
  const mixed = (own: TestChain, other: TestChain): Response => {
    const { routerKey } = keyOf(other)
    const certificates = [other.certificates[0] as Uint8Array, own.certificates[1] as Uint8Array]
    return { ...keyOf(own), routerKey: { ...routerKey, certificates } }
  }
  const single = (own: TestChain): Response => {
    const pkey = keyOf(own)
    return { ...pkey, routerKey: { ...pkey.routerKey, certificates: own.certificates.slice(0, 1) } }
  }
})

describe('B49 versions through a proxy', () => {
  it.each([
    [{ min: 8, max: 17 }, 17],
    [{ min: 8, max: 16 }, 16],
    [{ min: 14, max: 21 }, 17],
    [{ min: 17, max: 18 }, 17],
  ])('B49 of a relay with %o: %d', async (versionRange, version) => {
    const own = await anyChain()
    const versions: number[] = []
    const answer = (pfwd: Pfwd): Response => {
      versions.push(pfwd.command.version)
      return boxed(pfwd, { type: 'OK' })
    }
    const { send } = await world(script({ ...keyOf(own), versionRange }, answer))
    expect(await send()).toEqual({ type: 'OK' })
    expect(versions).toEqual([version])
  })

  it.each([
    { min: 8, max: 13 },
    { min: 18, max: 21 },
  ])('B49 of a relay with %o: none, and the direct way is allowed', async versionRange => {
    const { send } = await world(script({ ...keyOf(await anyChain()), versionRange }))
    const error = await failed(send())
    expect([error.code, isTemporaryError(error), isHostError(error)]).toEqual([
      'PROXY_BROKER_TRANSPORT_VERSION',
      false,
      true,
    ])
  })
})

describe('B49 the errors of a proxy', () => {
  const cases: [error: SmpError, code: string, temporary: boolean, host: boolean][] = [
    [{ type: 'PROXY', error: { type: 'PROTOCOL', error: { type: 'AUTH' } } }, 'PROXY_PROTOCOL_AUTH', false, false],
    [
      { type: 'PROXY', error: { type: 'BROKER', error: { type: 'NETWORK', error: { type: 'FAILED' } } } },
      'PROXY_BROKER_NETWORK_FAILED',
      true,
      false,
    ],
    [{ type: 'PROXY', error: { type: 'BROKER', error: { type: 'TIMEOUT' } } }, 'PROXY_BROKER_TIMEOUT', true, false],
    [{ type: 'PROXY', error: { type: 'BROKER', error: { type: 'HOST' } } }, 'PROXY_BROKER_HOST', false, true],
    [
      { type: 'PROXY', error: { type: 'BROKER', error: { type: 'TRANSPORT', error: 'VERSION' } } },
      'PROXY_BROKER_TRANSPORT_VERSION',
      false,
      true,
    ],
    [
      { type: 'PROXY', error: { type: 'BROKER', error: { type: 'RESPONSE', text: 'BLOCK' } } },
      'PROXY_BROKER_RESPONSE',
      false,
      false,
    ],
    [{ type: 'PROXY', error: { type: 'NO_SESSION' } }, 'PROXY_NO_SESSION', true, false],
    [{ type: 'PROXY', error: { type: 'BASIC_AUTH' } }, 'PROXY_BASIC_AUTH', false, false],
    // An AUTH of the proxy says nothing of the queue at the relay.
    [{ type: 'AUTH' }, 'PROXY_ANSWER_AUTH', false, false],
    [{ type: 'CMD', error: 'UNKNOWN' }, 'PROXY_ANSWER_CMD_UNKNOWN', false, false],
  ]

  it.each(cases)('B49 %o is %s', async (error, code, temporary, host) => {
    const { send } = await world(script(keyOf(await anyChain()), () => ({ type: 'ERR', error })))
    const told = await failed(send())
    expect(told).toBeInstanceOf(ProxyError)
    expect([told.code, isTemporaryError(told), isHostError(told)]).toEqual([code, temporary, host])
  })

  it.each(cases)('B49 %o in answer to PRXY is %s as well', async (error, code) => {
    const { send } = await world(script({ type: 'ERR', error }))
    expect((await failed(send())).code).toBe(code)
  })

  it('B49 NO_SESSION twice is told, after one more PRXY and one more PFWD', async () => {
    const error: SmpError = { type: 'PROXY', error: { type: 'NO_SESSION' } }
    const { send, atRouter } = await world(script(keyOf(await anyChain()), () => ({ type: 'ERR', error })))
    expect((await failed(send())).code).toBe('PROXY_NO_SESSION')
    expect(atRouter.received.map(({ command }) => command.type)).toEqual(['PRXY', 'PFWD', 'PRXY', 'PFWD'])
  })

  it('B49 what is no answer to PRXY or PFWD is PROXY_UNEXPECTED', async () => {
    const pong = await world(script({ type: 'PONG' }))
    expect((await failed(pong.send())).code).toBe('PROXY_UNEXPECTED')
    const ok = await world(script(keyOf(await anyChain()), () => ({ type: 'OK' })))
    expect((await failed(ok.send())).code).toBe('PROXY_UNEXPECTED')
  })

  it('B49 what cannot be read is PROXY_RESPONSE', async () => {
    const { send } = await world(session => {
      session.onCommand = received => session.send({ to: received, raw: Buffer.from('WHAT IS THIS') })
    })
    const error = await failed(send())
    expect([error.code, error instanceof ProxyError]).toEqual(['PROXY_RESPONSE', true])
  })

  it('B49 a proxy that is silent: PRXY waits 75 s, PFWD 60 s', async () => {
    const silent = await world(() => {})
    const first = outcome(silent.send())
    await silent.clock.advance(74_999)
    expect(first.current).toBe('pending')
    await silent.clock.advance(1)
    expect(first.current).toMatchObject({ code: 'TRANSPORT_TIMEOUT', field: 'PRXY' })
    const half = await world(script(keyOf(await anyChain())))
    const second = outcome(half.send())
    await half.clock.advance(59_999)
    expect(second.current).toBe('pending')
    await half.clock.advance(1)
    expect(second.current).toMatchObject({ code: 'TRANSPORT_TIMEOUT', field: 'PFWD' })
  })
})

describe('B49 the answers of a relay through a proxy', () => {
  const answered = async (answer: (pfwd: Pfwd) => Response) =>
    failed((await world(script(keyOf(await anyChain()), answer))).send())

  it('B49 an error is the one of a direct session', async () => {
    const error = await answered(pfwd => boxed(pfwd, { type: 'ERR', error: { type: 'AUTH' } }))
    expect([error.code, error.field, error instanceof ProxyError]).toEqual(['AUTH', 'SEND', false])
  })

  it('B49 two transmissions, or none that can be read, are SMP_RESPONSE', async () => {
    const error = await answered(pfwd => boxed(pfwd, { type: 'OK' }, 2))
    expect([error.code, error instanceof RouterError, error instanceof ProxyError]).toEqual([
      'SMP_RESPONSE',
      true,
      false,
    ])
    const none = await answered(pfwd => ({
      type: 'PRES',
      response: sealProxiedResponse(boxSecret(x25519(relayKeys.privateKey, pfwd.command.key)), pfwd.corrId, id),
    }))
    expect(none.code).toBe('SMP_RESPONSE')
  })

  it('B49 that a proxy has changed in any bit do not open', async () => {
    const chain = await anyChain()
    let flip = 0
    const { send } = await world(
      script(keyOf(chain), pfwd => {
        const answer = boxed(pfwd, { type: 'OK' }) as Extract<Response, { type: 'PRES' }>
        const response = Buffer.from(answer.response)
        const at = flip % (response.length * 8)
        response[at >> 3] = (response[at >> 3] as number) ^ (1 << (at & 7))
        return { type: 'PRES', response }
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.nat(), async bit => {
        flip = bit
        expect((await failed(send())).code).toBe('CRYPTO_BOX')
      }),
      { numRuns: 50 },
    )
  })
})
