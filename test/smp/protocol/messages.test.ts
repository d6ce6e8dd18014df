import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boxSecret } from '../../../src/crypto/box.js'
import { generateKeyPair } from '../../../src/crypto/keys.js'
import * as client from '../../../src/smp/protocol/clientMessage.js'
import * as proxy from '../../../src/smp/protocol/proxy.js'
import * as recipient from '../../../src/smp/protocol/recipientMessage.js'
import { codeOf, onlyTypedErrors } from '../../encoding/fuzz.js'

const key = boxSecret(Buffer.alloc(32, 1))
const nonce = Buffer.alloc(24, 2)
const dhKey = generateKeyPair('x25519').publicKey
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map(value => Buffer.from(value))

describe('envelopes of senders', () => {
  const senderKeys = (['ed25519', 'ed448', 'x25519'] as const).map(algorithm => ({
    algorithm,
    raw: generateKeyPair(algorithm).publicKey,
  }))
  const headers = fc.oneof(
    fc.nat(0xffff).map(version => ({ version })),
    fc.nat(0xffff).map(version => ({ version, dhKey })),
  )
  const messages = fc.oneof(
    bytes(500).map(body => ({ body })),
    fc.tuple(bytes(500), fc.constantFrom(...senderKeys)).map(([body, senderKey]) => ({ body, senderKey })),
  )

  it('open as they were sealed', () => {
    fc.assert(
      fc.property(headers, messages, (header, message) => {
        const envelope = client.decodeEnvelope(
          client.sealEnvelope(key, nonce, header, message, client.CONFIRMATION_PADDING),
        )
        expect(envelope.header).toEqual(header)
        expect(client.openEnvelope(key, envelope)).toEqual(message)
        expect(client.openEnvelopeInPlace(key, envelope)).toEqual(message)
      }),
    )
  })

  it('are the same whether the body is in one piece or in many', () => {
    fc.assert(
      fc.property(fc.array(bytes(300), { maxLength: 5 }), parts => {
        const seal = (body: Uint8Array | readonly Uint8Array[]) =>
          client.sealEnvelope(key, nonce, { version: 4 }, { body }, client.MESSAGE_PADDING)
        expect(Buffer.compare(seal(parts), seal(Buffer.concat(parts)))).toBe(0)
      }),
    )
  })

  it('are left as they were when they do not open in place', () => {
    const sealed = client.sealEnvelope(key, nonce, { version: 4 }, { body: Buffer.from('x') }, client.MESSAGE_PADDING)
    const before = Buffer.from(sealed)
    const other = boxSecret(Buffer.alloc(32, 9))
    expect(codeOf(() => client.openEnvelopeInPlace(other, client.decodeEnvelope(sealed)))).toBe('CRYPTO_BOX')
    expect(Buffer.compare(sealed, before)).toBe(0)
  })

  it('the largest message and the largest confirmation fit into SEND, one byte more is LARGE_MSG', () => {
    const seal = (header: client.EnvelopeHeader, length: number, padding: number) =>
      client.sealEnvelope(key, nonce, header, { body: Buffer.alloc(length) }, padding)
    const message = seal({ version: 4 }, client.MESSAGE_PADDING - 3, client.MESSAGE_PADDING)
    expect(message.length).toBeLessThanOrEqual(client.maxMessageLength(18))
    const confirmation = seal({ version: 4, dhKey }, client.CONFIRMATION_PADDING - 3, client.CONFIRMATION_PADDING)
    expect(confirmation.length).toBeLessThanOrEqual(client.maxMessageLength(18))
    expect(codeOf(() => seal({ version: 4 }, client.MESSAGE_PADDING - 2, client.MESSAGE_PADDING))).toBe('LARGE_MSG')
  })

  it('of another queue, or changed, are CRYPTO_BOX', () => {
    const envelope = client.decodeEnvelope(client.sealEnvelope(key, nonce, { version: 4 }, { body: nonce }, 100))
    expect(codeOf(() => client.openEnvelope(boxSecret(Buffer.alloc(32)), envelope))).toBe('CRYPTO_BOX')
    expect(codeOf(() => client.openEnvelope(key, { ...envelope, box: envelope.box.subarray(1) }))).toBe('CRYPTO_BOX')
  })

  it('hostile bytes are values or typed errors', () => {
    const message = client.encodeClientMessage({ senderKey: senderKeys[0], body: Buffer.from('hi') })
    onlyTypedErrors(client.decodeClientMessage, [message, client.encodeClientMessage({ body: Buffer.from('hi') })])
    const sealed = client.sealEnvelope(key, nonce, { version: 4, dhKey }, { body: Buffer.from('hi') }, 50)
    onlyTypedErrors(hostile => client.openEnvelope(key, client.decodeEnvelope(hostile)), [sealed])
  })
})

describe('messages from router to recipient', () => {
  const timestamps = fc.maxSafeInteger()
  const messages = fc.oneof(
    fc.record({
      type: fc.constant('message' as const),
      timestamp: timestamps,
      flags: fc.record({ notification: fc.boolean() }),
      body: bytes(500),
    }),
    fc.record({ type: fc.constant('quota' as const), timestamp: timestamps }),
  )

  it('open as they were sealed, and all have 16,122 bytes', () => {
    fc.assert(
      fc.property(messages, message => {
        const sealed = recipient.sealRecipientMessage(key, nonce, message)
        expect(sealed).toHaveLength(16_122)
        expect(recipient.openRecipientMessage(key, nonce, sealed)).toEqual(message)
      }),
      { numRuns: 50 },
    )
  })

  it('flags of later versions are skipped', () => {
    const later = Buffer.concat([Buffer.alloc(8), Buffer.from('TFX body')])
    expect(recipient.decodeRecipientMessage(later)).toEqual({
      type: 'message',
      timestamp: 0,
      flags: { notification: true },
      body: Buffer.from('body'),
    })
  })

  it('a marker with trailing bytes, or a time beyond whole numbers, is a typed error', () => {
    const marker = recipient.encodeRecipientMessage({ type: 'quota', timestamp: 1 })
    expect(codeOf(() => recipient.decodeRecipientMessage(Buffer.concat([marker, Buffer.of(0)])))).toBe(
      'DECODE_TRAILING',
    )
    expect(codeOf(() => recipient.decodeRecipientMessage(Buffer.alloc(20, 0x54)))).toBe('DECODE_INVALID')
    expect(codeOf(() => recipient.encodeRecipientMessage({ type: 'quota', timestamp: 1.5 }))).toBe('ENCODE_RANGE')
  })

  it('notification metadata opens as it was sealed; what later versions add is ignored', () => {
    const meta = { messageId: nonce, timestamp: 1_700_000_000 }
    const sealed = recipient.sealNotificationMeta(key, nonce, meta)
    expect(recipient.openNotificationMeta(key, nonce, sealed)).toEqual(meta)
    const later = Buffer.concat([recipient.encodeNotificationMeta(meta), Buffer.from('later')])
    expect(recipient.decodeNotificationMeta(later)).toEqual(meta)
  })

  it('hostile bytes are values or typed errors', () => {
    const message = { type: 'message', timestamp: 1, flags: { notification: true }, body: nonce } as const
    const samples = [message, { type: 'quota', timestamp: 1 } as const].map(recipient.encodeRecipientMessage)
    onlyTypedErrors(recipient.decodeRecipientMessage, samples)
    onlyTypedErrors(recipient.decodeNotificationMeta, [
      recipient.encodeNotificationMeta({ messageId: nonce, timestamp: 1 }),
    ])
  })
})

describe('forwarded transmissions', () => {
  it('open as they were sealed, one way and back', () => {
    fc.assert(
      fc.property(bytes(500), bytes(24), fc.nat(0xffff), (batch, corrId, version) => {
        const transmission = proxy.sealProxiedTransmission(key, corrId, batch)
        const response = proxy.sealProxiedResponse(key, corrId, batch)
        expect(proxy.openProxiedTransmission(key, corrId, transmission)).toEqual(batch)
        expect(proxy.openProxiedResponse(key, corrId, response)).toEqual(batch)
        const forwarded = { corrId, version, key: dhKey, transmission }
        const body = proxy.sealForwardedTransmission(key, nonce, forwarded)
        expect(isDeepStrictEqual(proxy.openForwardedTransmission(key, nonce, body), forwarded)).toBe(true)
        const answer = proxy.sealForwardedResponse(key, nonce, { corrId, response })
        const opened = proxy.openForwardedResponse(key, nonce, answer)
        expect(isDeepStrictEqual(opened, { corrId, response })).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  it('an answer is not a command: their nonces differ', () => {
    const corrId = Buffer.from(Array.from({ length: 24 }, (_, index) => index))
    const response = proxy.sealProxiedResponse(key, corrId, Buffer.from('OK'))
    expect(codeOf(() => proxy.openProxiedTransmission(key, corrId, response))).toBe('CRYPTO_BOX')
  })

  it('hostile bytes are values or typed errors', () => {
    const forwarded = { corrId: nonce, version: 17, key: dhKey, transmission: nonce }
    onlyTypedErrors(proxy.decodeForwardedTransmission, [proxy.encodeForwardedTransmission(forwarded)])
    onlyTypedErrors(proxy.decodeForwardedResponse, [proxy.encodeForwardedResponse({ corrId: nonce, response: nonce })])
  })
})
