import { createPrivateKey } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../src/crypto/hash.js'
import { decodePrivateKey } from '../../src/crypto/keys.js'
import { concat, fromBase64url, Reader } from '../../src/encoding/index.js'
import { TransportError } from '../../src/errors.js'
import { padBlock, unpadBlock } from '../../src/smp/protocol/block.js'
import * as handshake from '../../src/smp/protocol/handshake.js'
import { encodeSignedRouterKey } from '../../src/smp/protocol/responses.js'
import { signKey, verifySignedKey } from '../../src/smp/protocol/signedKey.js'
import {
  encodeTransportError,
  readTransportError,
  transportErrorOf,
  transportErrorWord,
} from '../../src/smp/protocol/transportErrors.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('smp_handshake')
const certificates = (vectors['certChainDer'] as string[]).map(hex)
const signedKey = hex(vectors['signedServerKeyDer'])
const routerKey = { certificates, signedKey }
const sessionId = hex(vectors['sessionId'])
const keyHash = hex(vectors['caFingerprint'])
const clientKey = hex(vectors['clientSessionKey'].pubRaw)
const leafCertificate = certificates[0] as Uint8Array
const leafKey = decodePrivateKey(createPrivateKey(vectors['serverKeyPem']).export({ type: 'pkcs8', format: 'der' }))
const signer = { algorithm: 'ed448', privateKey: leafKey.raw } as const

/** Every hello ends with bytes that a later version may add. */
const withTail = (bytes: Uint8Array) => concat(bytes, Buffer.from('later'))

describe('smp_handshake.json identity and signed keys', () => {
  it('the identity is the hash of the second certificate', () => {
    expect(toHex(handshake.identityHash(certificates) as Uint8Array)).toBe(vectors['caFingerprint'])
    expect(toHex(fromBase64url(vectors['serverAddressKeyHash'], 'keyHash'))).toBe(vectors['caFingerprint'])
  })

  it('the leaf signs the session key byte for byte, and the signature is accepted', () => {
    expect(leafKey.algorithm).toBe('ed448')
    const signed = signKey('x25519', hex(vectors['serverSessionKey'].pubRaw), signer)
    expect(toHex(signed)).toBe(vectors['signedServerKeyDer'])
    expect(toHex(verifySignedKey(signed, leafCertificate, 'x25519').raw)).toBe(vectors['serverSessionKey'].pubRaw)
  })

  it('chain and chain with key', () => {
    expect(toHex(encodeSignedRouterKey(routerKey))).toBe(vectors['certChainPubKeyEncoded'])
    expect(vectors['certChainPubKeyEncoded'].startsWith(vectors['certChainEncoded'])).toBe(true)
    const reader = new Reader(hex(vectors['certChainEncoded']))
    expect(reader.nonEmptyList(item => toHex(item.large('certificate')))).toEqual(vectors['certChainDer'])
    reader.end()
  })
})

describe('smp_handshake.json router hellos', () => {
  const cases = (vectors['serverHandshake'] as Vector[]).map(
    vector => [`${vector['min']}-${vector['max']}`, vector] as const,
  )

  it.each(cases)('versions %s', (_, vector) => {
    const hello = {
      versionRange: { min: vector['min'], max: vector['max'] },
      sessionId,
      ...(vector['max'] < 7 ? {} : { routerKey }),
    }
    const encoded = handshake.encodeRouterHello(hello)
    expect(toHex(encoded)).toBe(vector['encoded'])
    expect(toHex(sha256(padBlock(encoded)))).toBe(vector['paddedBlockSha256'])
    const decoded = handshake.decodeRouterHello(withTail(hex(vector['encoded'])))
    expect(toHex(handshake.encodeRouterHello(decoded))).toBe(vector['encoded'])
    expect(decoded.versionRange).toEqual(hello.versionRange)
    expect(toHex(decoded.sessionId)).toBe(vectors['sessionId'])
  })

  it('a whole block, accepted by a client', () => {
    const block = hex(vectors['serverHandshakeBlockExample'])
    expect(block).toHaveLength(vectors['blockSize'])
    const content = unpadBlock(block)
    const hello = handshake.decodeRouterHello(content)
    expect(toHex(padBlock(handshake.encodeRouterHello(hello)))).toBe(vectors['serverHandshakeBlockExample'])
    const key = handshake.verifyRouterHello(hello, keyHash, { sessionId, leafCertificate })
    expect(toHex(key)).toBe(vectors['serverSessionKey'].pubRaw)
    expect(handshake.agreeVersion(hello.versionRange, { min: 14, max: 18 })).toBe(18)
  })
})

describe('smp_handshake.json client hellos', () => {
  const cases = (vectors['clientHandshake'] as Vector[]).map(
    vector => [`v${vector['version']} key ${vector['withKey']} proxy ${vector['proxyServer']}`, vector] as const,
  )

  it.each(cases)('%s', (_, vector) => {
    const hello = {
      version: vector['version'] as number,
      keyHash,
      proxy: vector['proxyServer'] as boolean,
      ...(vector['withKey'] ? { clientKey } : {}),
    }
    expect(toHex(handshake.encodeClientHello(hello))).toBe(vector['encoded'])
    expect(asHex(handshake.decodeClientHello(hex(vector['encoded'])))).toEqual(asHex(hello))
    expect(asHex(handshake.decodeClientHello(withTail(hex(vector['encoded']))))).toEqual(asHex(hello))
  })

  it('of a service', () => {
    const serviceRaw = hex(vectors['serviceSessionKey'].pubRaw)
    const serviceKey = { certificates, signedKey: signKey('ed25519', serviceRaw, signer) }
    const hello = { version: 18, keyHash, clientKey, proxy: false, service: { role: 'messaging', serviceKey } } as const
    expect(toHex(handshake.encodeClientHello(hello))).toBe(vectors['clientHandshakeWithService'])
    const decoded = handshake.decodeClientHello(withTail(hex(vectors['clientHandshakeWithService'])))
    expect(asHex(decoded)).toEqual(asHex(hello))
    const key = verifySignedKey(decoded.service?.serviceKey.signedKey as Uint8Array, leafCertificate, 'ed25519')
    expect(toHex(key.raw)).toBe(vectors['serviceSessionKey'].pubRaw)
  })

  /** The same value with bytes as hex. */
  const asHex = (value: object): unknown =>
    JSON.parse(JSON.stringify(value, (_, field) => (field?.type === 'Buffer' ? toHex(Buffer.from(field.data)) : field)))
})

describe('smp_handshake.json answers and errors', () => {
  it.each((vectors['serverHandshakeResponse'] as Vector[]).map(vector => [vector['encoded'], vector] as const))(
    'answer to a service %s',
    (encoded, vector) => {
      const answer: handshake.ServiceAnswer =
        vector['error'] === undefined ? { serviceId: hex(vector['serviceId']) } : { error: vector['error'] }
      expect(toHex(handshake.encodeServiceAnswer(answer))).toBe(encoded)
      expect(handshake.decodeServiceAnswer(hex(encoded))).toEqual(answer)
    },
  )

  it.each((vectors['transportErrors'] as Vector[]).map(vector => [vector['encoded'], vector['error']] as const))(
    'transport error %s',
    (encoded, name) => {
      const reader = new Reader(Buffer.from(encoded))
      const word = readTransportError(reader)
      reader.end()
      expect(word).toBe(encoded)
      const error = transportErrorOf(word)
      expect(error).toBeInstanceOf(TransportError)
      expect(transportErrorWord(error)).toBe(word)
      expect(Buffer.from(encodeTransportError(word)).toString()).toBe(encoded)
      const codes: Record<string, string> = {
        TEBadBlock: 'TRANSPORT_BLOCK',
        TEVersion: 'TRANSPORT_VERSION',
        TELargeMsg: 'TRANSPORT_LARGE_MSG',
        TEBadSession: 'TRANSPORT_SESSION',
        TENoServerAuth: 'TRANSPORT_NO_AUTH',
        'TEHandshake {handshakeErr = IDENTITY}': 'TRANSPORT_IDENTITY',
      }
      expect(error.code).toBe(codes[name] ?? 'TRANSPORT_HANDSHAKE')
    },
  )
})
