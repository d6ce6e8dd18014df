import { describe, expect, it } from 'vitest'
import { boxSecret } from '../../src/crypto/box.js'
import { x25519 } from '../../src/crypto/dh.js'
import { ascii, concat } from '../../src/encoding/index.js'
import { createRelaySession } from '../../src/smp/client/relay.js'
import { openProxy, type RouterRequest, type RouterSession } from '../../src/smp/client.js'
import { openForwarded } from '../../src/router/forwarded.js'
import { authorize, verifyAuthorization } from '../../src/smp/protocol/authorization.js'
import { decodeCommand, encodeCommand } from '../../src/smp/protocol/commands.js'
import * as proxy from '../../src/smp/protocol/proxy.js'
import {
  authorizedBytes,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../src/smp/protocol/transmission.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { signKey } from '../../src/smp/protocol/signedKey.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { makeChain } from '../support/certificates.js'
import { decodePrivateKey } from '../../src/crypto/index.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('smp_proxy')
const value = (name: string) => hex(vectors[name])
const keys: Record<string, Vector> = vectors['keys']
const raw = (name: string, part: 'privRaw' | 'pubRaw') => hex(keys[name]?.[part])
const clientToRelay = boxSecret(x25519(raw('command', 'privRaw'), raw('relaySession', 'pubRaw')))
const relayToClient = boxSecret(x25519(raw('relaySession', 'privRaw'), raw('command', 'pubRaw')))
const proxyToRelay = boxSecret(x25519(raw('proxySession', 'privRaw'), raw('relaySession', 'pubRaw')))
const relayToProxy = boxSecret(x25519(raw('relaySession', 'privRaw'), raw('proxySession', 'pubRaw')))
const corrId = value('corrIdNonce')
const fwdCorrId = value('fwdNonce')
const entityId = value('queueId')

const onlyBatch = (transmission: Uint8Array): Uint8Array => {
  const [batch] = batchTransmissions([transmission])
  if (batch === undefined || 'error' in batch) throw new Error('must fit')
  return batch.block
}

describe('smp_proxy.json', () => {
  const command = encodeCommand(proxy.MAX_PROXIED_VERSION, {
    type: 'SEND',
    flags: { notification: false },
    body: value('body'),
  })
  const authorized = authorizedBytes(value('relaySessionId'), { corrId, entityId, command })

  it('the client authorizes and batches for the destination', () => {
    expect(toHex(authorized)).toBe(vectors['tForAuth'])
    const privateKey = raw('senderAuthX25519', 'privRaw')
    const authorization = authorize('x25519', privateKey, authorized, {
      corrId,
      routerKey: raw('relaySession', 'pubRaw'),
    })
    const transmission = encodeTransmission(proxy.MAX_PROXIED_VERSION, { authorization, corrId, entityId, command })
    expect(toHex(onlyBatch(transmission))).toBe(vectors['batch'])
  })

  it('the client boxes the batch, the proxy forwards it', () => {
    expect(toHex(proxy.sealProxiedTransmission(clientToRelay, corrId, value('batch')))).toBe(vectors['encTransmission'])
    const forwarded = {
      corrId,
      version: proxy.MAX_PROXIED_VERSION,
      key: raw('command', 'pubRaw'),
      transmission: value('encTransmission'),
    }
    expect(toHex(proxy.encodeForwardedTransmission(forwarded))).toBe(vectors['fwdTransmission'])
    expect(proxy.decodeForwardedTransmission(value('fwdTransmission'))).toEqual(forwarded)
    const body = proxy.sealForwardedTransmission(proxyToRelay, fwdCorrId, forwarded)
    expect(toHex(concat(ascii('RFWD '), body))).toBe(vectors['rfwdEncoded'])
    const { corrId: _, ...pfwd } = forwarded
    expect(toHex(encodeCommand(18, { type: 'PFWD', ...pfwd }))).toBe(vectors['pfwdEncoded'])
    expect(decodeCommand(18, value('pfwdEncoded'))).toEqual({ type: 'PFWD', ...pfwd })
  })

  it('the destination opens and verifies it', () => {
    const forwarded = proxy.openForwardedTransmission(relayToProxy, fwdCorrId, value('rfwdEncoded').subarray(5))
    expect(toHex(forwarded.corrId)).toBe(vectors['corrIdNonce'])
    const batch = proxy.openProxiedTransmission(relayToClient, forwarded.corrId, forwarded.transmission)
    expect(toHex(batch)).toBe(vectors['batch'])
    const [bytes, ...more] = readBatch(batch)
    expect(more).toEqual([])
    const transmission = decodeTransmission(forwarded.version, bytes as Uint8Array)
    expect(toHex(authorizedBytes(value('relaySessionId'), transmission))).toBe(vectors['tForAuth'])
    const publicKey = { algorithm: 'x25519', raw: raw('senderAuthX25519', 'pubRaw') } as const
    const session = { corrId: transmission.corrId, routerPrivateKey: raw('relaySession', 'privRaw') }
    expect(verifyAuthorization(publicKey, transmission.authorization, authorized, session)).toBe(true)
  })

  it('the answer goes back under reversed nonces', () => {
    const ok = { authorization: new Uint8Array(), corrId, entityId, command: ascii('OK') }
    const batch = onlyBatch(encodeTransmission(proxy.MAX_PROXIED_VERSION, ok))
    expect(toHex(batch)).toBe(vectors['responseBatch'])
    const response = proxy.sealProxiedResponse(relayToClient, corrId, batch)
    expect(toHex(response)).toBe(vectors['encResponse'])
    expect(toHex(proxy.encodeForwardedResponse({ corrId, response }))).toBe(vectors['fwdResponse'])
    expect(proxy.decodeForwardedResponse(value('fwdResponse'))).toEqual({ corrId, response })
    const body = proxy.sealForwardedResponse(relayToProxy, fwdCorrId, { corrId, response })
    expect(toHex(concat(ascii('RRES '), body))).toBe(vectors['rresEncoded'])

    const opened = proxy.openForwardedResponse(proxyToRelay, fwdCorrId, value('rresEncoded').subarray(5))
    expect(toHex(concat(ascii('PRES '), opened.response))).toBe(vectors['presEncoded'])
    expect(toHex(proxy.openProxiedResponse(clientToRelay, corrId, opened.response))).toBe(vectors['responseBatch'])
  })
})

/** Randomness that was given: what the reference drew when it made the vectors. */
const given = (...draws: Uint8Array[]) => {
  const left = [...draws]
  return (length: number): Uint8Array => {
    const draw = left.shift()
    if (draw?.length !== length) throw new Error('another draw of randomness than the reference makes')
    return draw
  }
}

/** A session that answers with a script and keeps what it was asked. */
const scripted = (answer: (request: RouterRequest) => Response) => {
  const asked: RouterRequest[] = []
  const router = { keyHash: Buffer.alloc(32), hosts: ['proxy'], port: '' }
  const send = async (request: RouterRequest): Promise<Response> => {
    asked.push(request)
    return answer(request)
  }
  return { asked, session: { router, tlsSessionId: Buffer.alloc(32), send } as unknown as RouterSession }
}

describe('smp_proxy.json: the three parties as they are built', () => {
  it('the client sends PFWD as the reference does and reads PRES', async () => {
    const chain = await makeChain()
    const signer = { algorithm: 'ed25519', privateKey: decodePrivateKey(chain.privateKey).raw } as const
    const signedKey = signKey('x25519', raw('relaySession', 'pubRaw'), signer)
    const { asked, session } = scripted(({ command }) =>
      command.type === 'PRXY'
        ? {
            type: 'PKEY',
            sessionId: value('relaySessionId'),
            versionRange: proxy.PROXIED_VERSIONS,
            routerKey: { certificates: chain.certificates, signedKey },
          }
        : { type: 'PRES', response: value('presEncoded').subarray(5) },
    )
    const random = given(raw('command', 'privRaw'), corrId)
    const sender = openProxy(session, { clock: virtualClock(), random })
    const answer = await sender.send(
      { keyHash: chain.keyHash, hosts: ['relay'], port: '' },
      {
        command: { type: 'SEND', flags: { notification: false }, body: value('body') },
        entityId,
        key: { algorithm: 'x25519', privateKey: raw('senderAuthX25519', 'privRaw') },
      },
    )
    expect(answer).toEqual({ type: 'OK' })
    const [, pfwd] = asked as [RouterRequest, RouterRequest]
    expect(toHex(encodeCommand(18, pfwd.command))).toBe(vectors['pfwdEncoded'])
    expect([toHex(pfwd.entityId), toHex(pfwd.corrId as Uint8Array)]).toEqual([
      vectors['relaySessionId'],
      vectors['corrIdNonce'],
    ])
  })

  it('the proxy sends RFWD as the reference does and reads RRES', async () => {
    const { asked, session } = scripted(() => ({ type: 'RRES', response: value('rresEncoded').subarray(5) }))
    const secret = x25519(raw('proxySession', 'privRaw'), raw('relaySession', 'pubRaw'))
    const offered = {
      versionRange: { min: 6, max: 18 },
      routerKey: { certificates: [], signedKey: Buffer.alloc(0) },
    }
    const relay = createRelaySession(session, { secret, offered }, given(fwdCorrId))
    const pfwd = decodeCommand(18, value('pfwdEncoded'))
    if (pfwd.type !== 'PFWD') throw new Error('must be PFWD')
    expect(toHex(await relay.forward({ ...pfwd, corrId }))).toBe(toHex(value('presEncoded').subarray(5)))
    expect(toHex(encodeCommand(18, (asked[0] as RouterRequest).command))).toBe(vectors['rfwdEncoded'])
    expect(relay.versionRange).toEqual({ min: 8, max: 17 })
  })

  it('the relay opens RFWD and answers RRES as the reference does', () => {
    const routerPrivateKey = raw('relaySession', 'privRaw')
    const secret = x25519(routerPrivateKey, raw('proxySession', 'pubRaw'))
    const opened = openForwarded({ secret, routerPrivateKey }, fwdCorrId, value('rfwdEncoded').subarray(5))
    if ('error' in opened || 'error' in opened.request) throw new Error('must open')
    expect(opened.request.command).toMatchObject({ type: 'SEND', body: value('body') })
    expect(toHex(opened.request.entityId)).toBe(toHex(entityId))
    const answer = opened.seal({ type: 'OK' })
    expect(answer.type === 'RRES' && toHex(concat(ascii('RRES '), answer.response))).toBe(vectors['rresEncoded'])
  })
})
