import { describe, expect, it } from 'vitest'
import { boxSecret } from '../../src/crypto/box.js'
import { x25519 } from '../../src/crypto/dh.js'
import { decodePublicKey } from '../../src/crypto/keys.js'
import { decodeAll } from '../../src/encoding/index.js'
import * as client from '../../src/smp/protocol/clientMessage.js'
import * as recipient from '../../src/smp/protocol/recipientMessage.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('client_messages')
const keys: Record<string, Vector> = vectors['keys']
const raw = (name: string, part: 'privRaw' | 'pubRaw') => hex(keys[name]?.[part])
const senderDhKey = raw('sndE2e', 'pubRaw')
const queueKey = boxSecret(hex(vectors['e2eSecret']))
const routerKey = boxSecret(hex(vectors['serverSecret']))
const numbered = (list: Vector[]): [number, Vector][] => list.map((vector, index) => [index, vector])

describe('client_messages.json', () => {
  it('secrets of the queue and of router and recipient, from both sides', () => {
    expect(toHex(x25519(raw('sndE2e', 'privRaw'), raw('rcvE2e', 'pubRaw')))).toBe(vectors['e2eSecret'])
    expect(toHex(x25519(raw('rcvE2e', 'privRaw'), raw('sndE2e', 'pubRaw')))).toBe(vectors['e2eSecret'])
    expect(toHex(x25519(raw('serverDh', 'privRaw'), raw('rcvDh', 'pubRaw')))).toBe(vectors['serverSecret'])
    expect(toHex(x25519(raw('rcvDh', 'privRaw'), raw('serverDh', 'pubRaw')))).toBe(vectors['serverSecret'])
  })

  it.each((vectors['envelopes'] as Vector[]).map(vector => [vector['name'], vector] as const))('%s', (_, vector) => {
    const message = client.decodeClientMessage(hex(vector['clientMessage']))
    expect(toHex(client.encodeClientMessage(message))).toBe(vector['clientMessage'])
    const header = decodeAll(hex(vector['pubHeader']), 'header', client.readEnvelopeHeader)
    const sealed = client.sealEnvelope(queueKey, hex(vector['nonce']), header, message, vector['paddedLen'])
    expect(toHex(sealed)).toBe(vector['envelope'])
    if (vector['envelopeLength'] !== undefined) expect(sealed).toHaveLength(vector['envelopeLength'])

    const envelope = client.decodeEnvelope(hex(vector['envelope']))
    expect(toHex(client.encodeEnvelope(envelope))).toBe(vector['envelope'])
    expect([toHex(envelope.nonce), toHex(envelope.box)]).toEqual([vector['nonce'], vector['encBody']])
    expect(toHex(client.encodeEnvelopeHeader(envelope.header))).toBe(vector['pubHeader'])
    if (envelope.header.dhKey) expect(toHex(envelope.header.dhKey)).toBe(toHex(senderDhKey))
    expect(toHex(client.encodeClientMessage(client.openEnvelope(queueKey, envelope)))).toBe(vector['clientMessage'])
  })

  it('the key in a private header is the one that the sender chose', () => {
    const keysByName: Record<string, string> = {
      'confirmation with sender auth key': 'senderAuthEd25519',
      'confirmation with X25519 sender auth key': 'senderAuthX25519',
    }
    for (const vector of vectors['envelopes']) {
      const { senderKey } = client.decodeClientMessage(hex(vector.clientMessage))
      const name = keysByName[vector.name]
      expect(senderKey).toEqual(name === undefined ? undefined : decodePublicKey(hex(keys[name]?.['pubSpkiDer'])))
    }
  })

  it.each(numbered(vectors['pubHeaders']))('public header %i', (_, vector) => {
    const header = { version: vector['version'], ...(vector['withKey'] ? { dhKey: senderDhKey } : {}) }
    expect(toHex(client.encodeEnvelopeHeader(header))).toBe(vector['encoded'])
    const decoded = decodeAll(hex(vector['encoded']), 'header', client.readEnvelopeHeader)
    expect(decoded.version).toBe(vector['version'])
    expect(decoded.dhKey && toHex(decoded.dhKey)).toBe(vector['withKey'] ? toHex(senderDhKey) : undefined)
  })

  it.each((vectors['privHeaders'] as Vector[]).map(vector => [vector['name'], vector] as const))(
    'private header %s',
    (name, vector) => {
      const senderKey = name === 'PHEmpty' ? undefined : decodePublicKey(hex(keys['senderAuthEd25519']?.['pubSpkiDer']))
      const body = new Uint8Array()
      expect(toHex(client.encodeClientMessage({ senderKey, body }))).toBe(vector['encoded'])
      expect(client.decodeClientMessage(hex(vector['encoded'])).senderKey).toEqual(senderKey)
    },
  )

  it.each(numbered(vectors['rcvMessages']))('router to recipient %i', (_, vector) => {
    const messageId = hex(vector['msgId'])
    const message = {
      type: 'message',
      timestamp: vector['timestampSeconds'] as number,
      flags: { notification: vector['notification'] as boolean },
      body: hex(vector['sentBody']),
    } as const
    expect(vector['nonce']).toBe(vector['msgId'])
    expect(toHex(recipient.encodeRecipientMessage(message))).toBe(vector['rcvMsgBody'])
    expect(recipient.decodeRecipientMessage(hex(vector['rcvMsgBody']))).toEqual(message)
    const sealed = recipient.sealRecipientMessage(routerKey, messageId, message)
    expect(sealed).toHaveLength(vector['encLength'])
    expect(toHex(sealed)).toBe(vector['encRcvMsgBody'])
    expect(recipient.openRecipientMessage(routerKey, messageId, hex(vector['encRcvMsgBody']))).toEqual(message)
  })

  it('quota marker', () => {
    const { msgId, rcvMsgBody, encRcvMsgBody } = vectors['quotaMessage']
    const marker = { type: 'quota', timestamp: 1_700_000_001 } as const
    expect(recipient.decodeRecipientMessage(hex(rcvMsgBody))).toEqual(marker)
    expect(toHex(recipient.encodeRecipientMessage(marker))).toBe(rcvMsgBody)
    expect(toHex(recipient.sealRecipientMessage(routerKey, hex(msgId), marker))).toBe(encRcvMsgBody)
    expect(recipient.openRecipientMessage(routerKey, hex(msgId), hex(encRcvMsgBody))).toEqual(marker)
  })

  it('notification metadata', () => {
    const { meta, nonce, encNoPad, paddedLen } = vectors['ntfMeta']
    const decoded = recipient.decodeNotificationMeta(hex(meta))
    expect(decoded).toEqual({ messageId: hex(vectors['quotaMessage'].msgId), timestamp: 1_700_000_002 })
    expect(toHex(recipient.encodeNotificationMeta(decoded))).toBe(meta)
    expect(hex(encNoPad)).toHaveLength(paddedLen + 16)
    expect(toHex(recipient.sealNotificationMeta(routerKey, hex(nonce), decoded))).toBe(encNoPad)
    expect(recipient.openNotificationMeta(routerKey, hex(nonce), hex(encNoPad))).toEqual(decoded)
  })

  it('lengths', () => {
    expect(vectors['lengths']).toEqual({
      e2eEncConfirmationLength: client.CONFIRMATION_PADDING,
      e2eEncMessageLength: client.MESSAGE_PADDING,
      maxMessageLengthV18: client.maxMessageLength(18),
      maxMessageLengthV6: client.maxMessageLength(6),
      maxMessageLengthV8: client.maxMessageLength(8),
      paddedProxiedTLength: 16_226,
    })
  })

  it('every group is tested', () => {
    expect(Object.keys(vectors).sort()).toEqual(
      (
        'e2eSecret envelopes keys lengths note ntfMeta privHeaders pubHeaders quotaMessage rcvMessages serverSecret ' +
        'source'
      ).split(' '),
    )
  })
})
