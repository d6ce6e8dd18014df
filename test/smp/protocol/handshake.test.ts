import { describe, expect, it } from 'vitest'
import { decodePrivateKey, generateKeyPair } from '../../../src/crypto/keys.js'
import type { SignAlgorithm } from '../../../src/crypto/sign.js'
import type { Bytes } from '../../../src/encoding/index.js'
import * as handshake from '../../../src/smp/protocol/handshake.js'
import { signKey, verifySignedKey } from '../../../src/smp/protocol/signedKey.js'
import { transportErrorOf, transportErrorWord } from '../../../src/smp/protocol/transportErrors.js'
import { TransportError } from '../../../src/errors.js'
import { codeOf, onlyTypedErrors } from '../../encoding/fuzz.js'
import { makeChain } from '../../support/certificates.js'

const sessionId = Buffer.alloc(32, 1)
const session = generateKeyPair('x25519')
const chains = { ed25519: await makeChain({ algorithm: 'ed25519' }), ed448: await makeChain({ algorithm: 'ed448' }) }

const signerOf = (algorithm: SignAlgorithm) => ({
  algorithm,
  privateKey: decodePrivateKey(chains[algorithm].privateKey).raw,
})

const helloOf = (algorithm: SignAlgorithm) => ({
  versionRange: { min: 14, max: 18 },
  sessionId,
  routerKey: {
    certificates: chains[algorithm].certificates,
    signedKey: signKey('x25519', session.publicKey, signerOf(algorithm)),
  },
})
const { keyHash } = chains.ed25519
const hello = helloOf('ed25519')
const leafCertificate = chains.ed25519.certificates[0] as Bytes
const tls = { sessionId, leafCertificate }

/** The code and the wire's word of the error. */
const errorOf = (run: () => unknown): [code: string, word: string | undefined] => {
  try {
    run()
  } catch (error) {
    if (error instanceof TransportError) return [error.code, transportErrorWord(error)]
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the hello of a router', () => {
  it.each(['ed25519', 'ed448'] as const)('with an %s certificate gives the session key to a client', algorithm => {
    const read = handshake.decodeRouterHello(handshake.encodeRouterHello(helloOf(algorithm)))
    const leaf = chains[algorithm].certificates[0] as Bytes
    const key = handshake.verifyRouterHello(read, chains[algorithm].keyHash, { sessionId, leafCertificate: leaf })
    expect(key).toEqual(session.publicKey)
  })

  it('for another TLS session is TRANSPORT_SESSION', () => {
    const other = { ...tls, sessionId: Buffer.alloc(32) }
    expect(errorOf(() => handshake.verifyRouterHello(hello, keyHash, other))).toEqual(['TRANSPORT_SESSION', 'SESSION'])
  })

  it.each<[string, Bytes, readonly Bytes[]]>([
    ['of another router', chains.ed448.keyHash, hello.routerKey.certificates],
    ['with a lone certificate', keyHash, hello.routerKey.certificates.slice(1)],
    [
      'with five certificates',
      keyHash,
      [...hello.routerKey.certificates, leafCertificate, leafCertificate, leafCertificate],
    ],
  ])('%s is TRANSPORT_IDENTITY', (_, expectedHash, certificates) => {
    const changed = { ...hello, routerKey: { ...hello.routerKey, certificates } }
    const run = () => handshake.verifyRouterHello(changed, expectedHash, tls)
    expect(errorOf(run)).toEqual(['TRANSPORT_IDENTITY', 'HANDSHAKE IDENTITY'])
  })

  it('whose key is missing, or signed by another key, is TRANSPORT_HANDSHAKE', () => {
    const { routerKey, ...without } = hello
    const forged = { ...routerKey, signedKey: helloOf('ed448').routerKey.signedKey }
    for (const changed of [without, { ...hello, routerKey: forged }]) {
      const run = () => handshake.verifyRouterHello(changed, keyHash, tls)
      expect(errorOf(run)).toEqual(['TRANSPORT_HANDSHAKE', 'HANDSHAKE BAD_AUTH'])
    }
  })

  it('hostile bytes are a hello or TRANSPORT_HANDSHAKE', () => {
    const sample = handshake.encodeRouterHello(hello)
    onlyTypedErrors(bytes => handshake.verifyRouterHello(handshake.decodeRouterHello(bytes), keyHash, tls), [sample])
    expect(errorOf(() => handshake.decodeRouterHello(sample.subarray(0, 20)))).toEqual([
      'TRANSPORT_HANDSHAKE',
      'HANDSHAKE PARSE',
    ])
  })
})

describe('signed keys', () => {
  const signed = hello.routerKey.signedKey

  it('any changed byte is TRANSPORT_HANDSHAKE', () => {
    for (let at = 0; at < signed.length; at++) {
      const changed = Buffer.from(signed)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      expect(codeOf(() => verifySignedKey(changed, leafCertificate, 'x25519'))).toBe('TRANSPORT_HANDSHAKE')
    }
  })

  it('for another purpose, without a readable certificate or with trailing bytes is TRANSPORT_HANDSHAKE', () => {
    const trailing = Buffer.concat([signed, Buffer.of(0)])
    expect(codeOf(() => verifySignedKey(signed, leafCertificate, 'ed25519'))).toBe('TRANSPORT_HANDSHAKE')
    expect(codeOf(() => verifySignedKey(signed, Buffer.from('no certificate'), 'x25519'))).toBe('TRANSPORT_HANDSHAKE')
    expect(codeOf(() => verifySignedKey(trailing, leafCertificate, 'x25519'))).toBe('TRANSPORT_HANDSHAKE')
  })

  it('hostile bytes are typed errors', () => {
    onlyTypedErrors(bytes => verifySignedKey(bytes, leafCertificate, 'x25519'), [signed])
    onlyTypedErrors(bytes => verifySignedKey(signed, bytes, 'x25519'), [leafCertificate], 200)
  })
})

describe('the hello of a client', () => {
  const clientHello = { version: 18, keyHash, clientKey: session.publicKey, proxy: false }
  const versions = { min: 14, max: 18 }

  it('is accepted with the right identity and an offered version', () => {
    for (const version of [14, 15, 16, 17, 18]) {
      const read = handshake.decodeClientHello(handshake.encodeClientHello({ ...clientHello, version }))
      expect(() => handshake.checkClientHello(read, keyHash, versions)).not.toThrow()
    }
  })

  it('for another router is TRANSPORT_IDENTITY, with a version that was not offered TRANSPORT_VERSION', () => {
    const check = (changed: handshake.ClientHello) =>
      errorOf(() => handshake.checkClientHello(changed, keyHash, versions))
    expect(check({ ...clientHello, keyHash: chains.ed448.keyHash })).toEqual([
      'TRANSPORT_IDENTITY',
      'HANDSHAKE IDENTITY',
    ])
    expect(check({ ...clientHello, version: 13 })).toEqual(['TRANSPORT_VERSION', 'VERSION'])
    expect(check({ ...clientHello, version: 19 })).toEqual(['TRANSPORT_VERSION', 'VERSION'])
  })

  it.each(['messaging', 'notifier', 'proxy'] as const)('of a %s service names its role and key', role => {
    const service = { role, serviceKey: hello.routerKey }
    const read = handshake.decodeClientHello(handshake.encodeClientHello({ ...clientHello, service }))
    expect(read.service?.role).toBe(role)
    expect(read.service?.serviceKey.signedKey).toEqual(hello.routerKey.signedKey)
  })

  it('hostile bytes are a hello or a typed error', () => {
    const service = { role: 'messaging', serviceKey: hello.routerKey } as const
    const samples = [clientHello, { ...clientHello, service }].map(handshake.encodeClientHello)
    onlyTypedErrors(handshake.decodeClientHello, samples)
  })
})

describe('versions', () => {
  it('the highest common one is chosen, also when the peer speaks newer ones', () => {
    expect(handshake.agreeVersion({ min: 6, max: 21 }, { min: 14, max: 18 })).toBe(18)
    expect(handshake.agreeVersion({ min: 6, max: 15 }, { min: 14, max: 18 })).toBe(15)
    expect(errorOf(() => handshake.agreeVersion({ min: 6, max: 13 }, { min: 14, max: 18 }))).toEqual([
      'TRANSPORT_VERSION',
      'VERSION',
    ])
  })
})

describe('answers to services', () => {
  it('hostile bytes are an answer or a typed error', () => {
    const samples = [
      handshake.encodeServiceAnswer({ serviceId: sessionId }),
      handshake.encodeServiceAnswer({ error: 'HANDSHAKE BAD_SERVICE' }),
    ]
    onlyTypedErrors(handshake.decodeServiceAnswer, samples)
    expect(errorOf(() => handshake.decodeServiceAnswer(Buffer.from('EWHAT')))).toEqual([
      'TRANSPORT_HANDSHAKE',
      'HANDSHAKE PARSE',
    ])
  })

  it('errors that were not made from a word have none', () => {
    expect(transportErrorWord(transportErrorOf('NO_AUTH'))).toBe('NO_AUTH')
    expect(transportErrorWord(new TransportError('TRANSPORT_CLOSED', 'closed'))).toBeUndefined()
    const strange = new TransportError('TRANSPORT_CLOSED', 'closed', { facts: { word: 'toString' } })
    expect(transportErrorWord(strange)).toBeUndefined()
  })
})
