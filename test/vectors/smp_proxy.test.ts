import { describe, expect, it } from 'vitest'
import { boxSecret } from '../../src/crypto/box.js'
import { x25519 } from '../../src/crypto/dh.js'
import { ascii, concat } from '../../src/encoding/index.js'
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
