/** What is under an authenticated encryption, spoiled from outside (it does not open) and from inside (a peer or router that has the keys). */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, systemRandom, x25519 } from '../../src/crypto/index.js'
import { cbEncrypt, cbEncryptNoPad, NONCE_BYTES } from '../../src/crypto/box.js'
import type { Bytes } from '../../src/encoding/index.js'
import { CryptoError, DecodeError, DuologueError } from '../../src/errors.js'
import { openForwarded } from '../../src/router/forwarded.js'
import {
  decodeEnvelope,
  encodeClientMessage,
  openEnvelope,
  openEnvelopeInPlace,
  sealEnvelope,
} from '../../src/smp/protocol/clientMessage.js'
import * as proxy from '../../src/smp/protocol/proxy.js'
import {
  encodeNotificationMeta,
  encodeRecipientMessage,
  openNotificationMeta,
  openRecipientMessage,
  sealNotificationMeta,
  sealRecipientMessage,
} from '../../src/smp/protocol/recipientMessage.js'
import {
  linkDataKey,
  openLinkData,
  sealFixedLinkData,
  sealUserLinkData,
  signFixedLinkData,
  signUserLinkData,
} from '../../src/smp/protocol/shortLinkKeys.js'
import { exchange, newPair, receive, send } from '../ratchet/pair.js'
import { fuzzRuns } from '../support/fuzzRuns.js'
import { measuring } from './allocations.js'
import { spoiled } from './mutations.js'
import * as wire from './wire.js'

const key = boxSecret(Buffer.alloc(32, 7))
const nonce = Buffer.alloc(NONCE_BYTES, 3)
/** Padded lengths are short here: what a decoder does with what is inside does not depend on them. */
const padded = 1_500

/** A value, or a typed error with a field; and no more memory than a block is worth. */
const holds = (open: () => unknown): void => {
  const { result, allocated } = measuring(() => {
    try {
      open()
      return undefined
    } catch (error) {
      return error
    }
  })
  if (result !== undefined && !(result instanceof CryptoError || result instanceof DecodeError)) throw result
  if (result instanceof DuologueError) expect(result.field).toMatch(/\S/)
  expect(allocated).toBeLessThanOrEqual(262_144)
}

const always = (inputs: fc.Arbitrary<Bytes>, open: (input: Buffer) => unknown, runs = 60): void =>
  fc.assert(
    fc.property(inputs, input => holds(() => open(Buffer.from(input)))),
    fuzzRuns(runs),
  )

describe('from outside', () => {
  const message = wire.clientMessage.map(value => sealEnvelope(key, nonce, { version: 4 }, value, padded))

  it('an envelope of a sender', () => {
    always(spoiled(message), input => openEnvelope(key, decodeEnvelope(input)))
    always(spoiled(message), input => openEnvelopeInPlace(key, decodeEnvelope(input)))
  })

  it('a message and a notification of a router', () => {
    const delivered = wire.recipientMessage.map(value => sealRecipientMessage(key, nonce, value))
    always(spoiled(delivered), input => openRecipientMessage(key, nonce, input))
    const noted = wire.notificationMeta.map(value => sealNotificationMeta(key, nonce, value))
    always(spoiled(noted), input => openNotificationMeta(key, nonce, input))
  })

  it('the four boxes of private routing', () => {
    const forwarded = { corrId: nonce, version: 17, key: generateKeyPair('x25519').publicKey }
    const transmissions = wire.some(300).map(batch => proxy.sealProxiedTransmission(key, nonce, batch))
    always(spoiled(transmissions), input => proxy.openProxiedTransmission(key, nonce, input))
    const answers = wire.some(300).map(batch => proxy.sealProxiedResponse(key, nonce, batch))
    always(spoiled(answers), input => proxy.openProxiedResponse(key, nonce, input))
    const outer = wire
      .some(300)
      .map(transmission => proxy.sealForwardedTransmission(key, nonce, { ...forwarded, transmission }))
    always(spoiled(outer), input => proxy.openForwardedTransmission(key, nonce, input))
    const outerAnswers = wire
      .some(300)
      .map(response => proxy.sealForwardedResponse(key, nonce, { corrId: nonce, response }))
    always(spoiled(outerAnswers), input => proxy.openForwardedResponse(key, nonce, input))
  })

  it('a message of the ratchet: a typed result, and the message behind it decrypts', () => {
    const { joiner, initiator } = newPair()
    const started = exchange(joiner, initiator, 2)
    const next = send(started.from, Buffer.from('next'))
    const behind = send(next.side, Buffer.from('behind'))
    fc.assert(
      fc.property(spoiled(fc.constant(next.message)), input => {
        fc.pre(!Buffer.from(input).equals(Buffer.from(next.message)))
        const { result, side } = receive(started.to, input)
        if (!result.ok) expect(result.error.code).toMatch(/^CRYPTO_/)
        expect(receive(side, behind.message).result.ok).toBe(true)
      }),
      fuzzRuns(60),
    )
  })
})

describe('from inside', () => {
  it('a sender that has the queue’s keys', () => {
    always(spoiled(wire.clientMessage.map(encodeClientMessage)), input =>
      openEnvelope(key, { nonce, box: cbEncrypt(key, nonce, input.subarray(0, padded - 2), padded) }),
    )
  })

  it('a router that has the queue’s keys', () => {
    always(spoiled(wire.recipientMessage.map(encodeRecipientMessage)), input =>
      openRecipientMessage(key, nonce, cbEncrypt(key, nonce, input.subarray(0, padded - 2), padded)),
    )
    always(spoiled(wire.notificationMeta.map(encodeNotificationMeta)), input =>
      openNotificationMeta(key, nonce, cbEncrypt(key, nonce, input.subarray(0, padded - 2), padded)),
    )
  })

  it('a proxy and a relay', () => {
    const forwarded = fc.record({ corrId: wire.id, version: fc.nat(20), key: wire.dhKey, transmission: wire.some(300) })
    always(spoiled(forwarded.map(proxy.encodeForwardedTransmission)), input =>
      proxy.openForwardedTransmission(key, nonce, cbEncryptNoPad(key, nonce, input)),
    )
    const answer = fc.record({ corrId: wire.id, response: wire.some(300) })
    always(spoiled(answer.map(proxy.encodeForwardedResponse)), input =>
      proxy.openForwardedResponse(key, nonce, cbEncryptNoPad(key, reversed(nonce), input)),
    )
  })

  it('a proxy that lies to a relay is answered with an error of the protocol', () => {
    const relay = generateKeyPair('x25519')
    const session = generateKeyPair('x25519')
    const secret = x25519(session.privateKey, relay.publicKey)
    const keys = { secret, routerPrivateKey: relay.privateKey }
    const inner = fc.record({
      corrId: wire.id,
      version: fc.constantFrom(8, 14, 18),
      key: wire.dhKey,
      transmission: wire.some(300),
    })
    fc.assert(
      fc.property(spoiled(inner.map(proxy.encodeForwardedTransmission)), input => {
        const answer = openForwarded(keys, nonce, cbEncryptNoPad(boxSecret(secret), nonce, input))
        expect('error' in answer || 'request' in answer).toBe(true)
      }),
      fuzzRuns(60),
    )
  })

  it('the owner of a short link', () => {
    const root = generateKeyPair('ed25519')
    const agentVersions = { min: 2, max: 7 }
    const made = fc.tuple(wire.fixedLinkData, wire.userLinkData).map(([fixed, user]) => {
      const { linkKey, signed } = signFixedLinkData(root, { agentVersions, request: fixed.request })
      const dataKey = linkDataKey(fixed.request.mode, linkKey)
      const userPart = signUserLinkData(root.privateKey, agentVersions, user)
      return { mode: fixed.request.mode, linkKey, dataKey, signed, userPart }
    })
    fc.assert(
      fc.property(made, spoiled(wire.some(200)), fc.boolean(), fc.boolean(), (link, noise, spoilFixed, outside) => {
        const { mode, linkKey, dataKey, signed, userPart } = link
        const spoil = (part: Bytes, yes: boolean): Bytes =>
          yes ? Buffer.concat([part.subarray(0, part.length / 2), noise]) : part
        const data = {
          fixedData: sealFixedLinkData(dataKey, spoil(signed, spoilFixed && !outside), systemRandom),
          userData: sealUserLinkData(dataKey, spoil(userPart, !spoilFixed && !outside), systemRandom),
        }
        holds(() => openLinkData(mode, linkKey, outside ? { ...data, userData: noise } : data))
      }),
      fuzzRuns(30),
    )
  })
})

function reversed(bytes: Bytes): Bytes {
  return Buffer.from(bytes).reverse()
}
