import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TransportError } from '../../../src/errors.js'
import { fingerprint, verifyRouterChain } from '../../../src/smp/transport/chain.js'
import { readVectors } from '../../support/handshakeVectors.js'
import { type ChainOptions, makeChain } from '../../support/certificates.js'

const now = Date.UTC(2026, 5, 1)
const codeOf = (attempt: () => void): string => {
  try {
    attempt()
    return 'accepted'
  } catch (error) {
    if (!(error instanceof TransportError)) throw error
    return error.code
  }
}

describe('router certificate chain', () => {
  it("accepts the reference implementation's chain by its CA's fingerprint", () => {
    const { certificates, keyHash, validAt } = readVectors()
    expect(Buffer.from(fingerprint(certificates[1] as Uint8Array))).toEqual(Buffer.from(keyHash))
    expect(codeOf(() => verifyRouterChain(certificates, keyHash, validAt))).toBe('accepted')
  })

  it.each([2, 3, 4])('takes the second of %d certificates as the identity', async length => {
    const { certificates, keyHash } = await makeChain({ length })
    expect(codeOf(() => verifyRouterChain(certificates, keyHash, now))).toBe('accepted')
    for (const [i, certificate] of certificates.entries()) {
      if (i === 1) continue
      expect(codeOf(() => verifyRouterChain(certificates, fingerprint(certificate), now))).toBe('TRANSPORT_IDENTITY')
    }
  })

  it.each([
    ['no certificate', {}, (chain: Uint8Array[]) => chain.slice(0, 0)],
    ['the leaf alone', {}, (chain: Uint8Array[]) => chain.slice(0, 1)],
    ['a chain of five', { length: 5 }, (chain: Uint8Array[]) => chain],
    ['an expired leaf', { leafNotAfter: new Date('2026-01-01') }, (chain: Uint8Array[]) => chain],
    ['a chain that is not valid yet', { notBefore: new Date('2027-01-01') }, (chain: Uint8Array[]) => chain],
    ['a leaf signed by another key', { forgedLeaf: true }, (chain: Uint8Array[]) => chain],
    ['an identity that is no authority', { caIsNoAuthority: 'constraints' }, (chain: Uint8Array[]) => chain],
    ['an identity whose key may not sign', { caIsNoAuthority: 'usage' }, (chain: Uint8Array[]) => chain],
    ['a leaf that names another issuer', { wrongIssuerName: true }, (chain: Uint8Array[]) => chain],
    ['a chain in the wrong order', { length: 3 }, (chain: Uint8Array[]) => chain.toReversed()],
    ['a missing link', { length: 4 }, (chain: Uint8Array[]) => chain.toSpliced(2, 1)],
    ['bytes that are no certificate', {}, (chain: Uint8Array[]) => [new Uint8Array(300), ...chain.slice(1)]],
  ] satisfies [string, ChainOptions, (chain: Uint8Array[]) => Uint8Array[]][])(
    'refuses %s: TRANSPORT_CERTIFICATE',
    async (_name, options, change) => {
      const { certificates, keyHash } = await makeChain(options)
      expect(codeOf(() => verifyRouterChain(change([...certificates]), keyHash, now))).toBe('TRANSPORT_CERTIFICATE')
    },
  )

  it('refuses a foreign leaf under a genuine CA: the certificate is public, its key is not', async () => {
    const [genuine, attacker] = [await makeChain(), await makeChain()]
    const mixed = [attacker.certificates[0] as Uint8Array, genuine.certificates[1] as Uint8Array]
    expect(codeOf(() => verifyRouterChain(mixed, genuine.keyHash, now))).toBe('TRANSPORT_CERTIFICATE')
  })

  it('answers any changed or random bytes with a TransportError', async () => {
    const { certificates, keyHash } = await makeChain()
    const leaf = certificates[0] as Uint8Array
    fc.assert(
      fc.property(
        fc.nat(leaf.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.integer({ min: 0, max: 1 }),
        (at, change, which) => {
          const changed = certificates.map(certificate => Uint8Array.from(certificate))
          const target = changed[which] as Uint8Array
          target[at % target.length] = (target[at % target.length] as number) ^ change
          expect(codeOf(() => verifyRouterChain(changed, keyHash, now))).toMatch(/^TRANSPORT_(CERTIFICATE|IDENTITY)$/)
        },
      ),
      { numRuns: 300 },
    )
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 6 }), chain => {
        expect(codeOf(() => verifyRouterChain(chain, keyHash, now))).toBe('TRANSPORT_CERTIFICATE')
      }),
    )
  })
})
