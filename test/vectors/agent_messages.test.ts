import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../src/crypto/hash.js'
import { type Bytes, decodeAll } from '../../src/encoding/index.js'
import { encodeE2eParams, readE2eParams, SUPPORTED_E2E_VERSIONS } from '../../src/ratchet/index.js'
import {
  type AgentEnvelope,
  decodeAgentEnvelope,
  encodeAgentEnvelope,
  paddedInfoLength,
  paddedMessageLength,
  versionsAllowKem,
} from '../../src/smp/protocol/agentEnvelope.js'
import {
  type AgentMessage,
  decodeAgentMessage,
  decodeMessageContent,
  encodeAgentMessage,
  encodeMessageContent,
  type NumberedMessage,
} from '../../src/smp/protocol/agentMessage.js'
import {
  encodeQueueInfo,
  encodeQueueUri,
  formatQueueUri,
  parseQueueUri,
  readQueueInfo,
  readQueueUri,
} from '../../src/smp/protocol/queueInfo.js'
import { CLIENT_VERSIONS } from '../../src/smp/protocol/versions.js'
import { anyBytes, mutated, mutatedText, survives } from '../smp/protocol/arbitraries.js'
import { queueAddressOf, queueUriOf, routerOf } from './agentFields.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('agent_messages')
const named = (list: string): [string, Vector][] => vectors[list].map((v: Vector) => [v['name'], v])

const envelopes = named('envelopes')
const messages = named('messages')
const e2eParams = named('e2eParamsSmp')
const queueInfos: Vector[] = vectors['queueInfos']
const queueUris: Vector[] = vectors['queueUris']

describe('versions and lengths', () => {
  it('are the reference’s', () => {
    expect(vectors['smpClientVersions']).toEqual(CLIENT_VERSIONS)
    expect(vectors['e2eVersions']).toEqual(SUPPORTED_E2E_VERSIONS)
    expect(vectors['lengths']).toEqual({
      e2eEncConnInfoLength: { v7_pqOff: paddedInfoLength(7, false), v7_pqOn: paddedInfoLength(7, true) },
      e2eEncAgentMsgLength: { v7_pqOff: paddedMessageLength(7, false), v7_pqOn: paddedMessageLength(7, true) },
    })
  })

  it.each([
    [5, 3, true],
    [7, 3, true],
    [7, undefined, true],
    [4, 3, false],
    [4, undefined, false],
    [7, 2, false],
  ])('B19 agent %i with ratchet %s: room for a KEM is %s', (agent, e2e, allowed) => {
    expect(versionsAllowKem(agent, e2e)).toBe(allowed)
  })

  it('leave no room for a KEM in versions that do not know one', () => {
    expect(paddedInfoLength(4, true)).toBe(paddedInfoLength(7, false))
    expect(paddedMessageLength(4, true)).toBe(paddedMessageLength(7, false))
  })
})

describe('envelopes', () => {
  const KINDS: Record<string, AgentEnvelope['type']> = {
    AgentConfirmation: 'confirmation',
    AgentMsgEnvelope: 'message',
    AgentInvitation: 'invitation',
    AgentRatchetKey: 'ratchetKey',
  }

  it.each(envelopes)('%s decodes and encodes', (name, v) => {
    const envelope = decodeAgentEnvelope(hex(v['encoded']))
    expect(toHex(encodeAgentEnvelope(envelope))).toBe(v['encoded'])
    const [, kind, version] = /^(\w+) v(\d)/.exec(name) ?? []
    expect(envelope).toMatchObject({ type: KINDS[String(kind)], agentVersion: Number(version) })
  })

  it.each(envelopes.filter(([name]) => name.startsWith('AgentConfirmation')))('%s has those e2e params', (name, v) => {
    const envelope = decodeAgentEnvelope(hex(v['encoded']))
    const e2e = envelope.type === 'confirmation' ? envelope.e2e : undefined
    expect(e2e?.version).toBe(name.includes('no e2e') ? undefined : Number(/e2e v(\d)/.exec(name)?.[1]))
    expect(e2e?.kem?.kind).toBe(/KEM (proposed|accepted)/.exec(name)?.[1])
  })
})

describe('e2e parameters', () => {
  it.each(e2eParams)('%s decode and encode', (_, v) => {
    const params = decodeAll(hex(v['encoded']), 'e2e', readE2eParams)
    expect(toHex(encodeE2eParams(params))).toBe(v['encoded'])
    expect(toHex(params.key1)).toBe(vectors['keys']['x3dh1']['pubRaw'])
    expect(toHex(params.key2)).toBe(vectors['keys']['x3dh2']['pubRaw'])
  })
})

describe('messages', () => {
  /** The reference's letters for what this code calls by name. */
  const letterOf = (message: AgentMessage): string =>
    message.type === 'message' ? LETTERS[message.content.type] : LETTERS[message.type]
  const LETTERS = {
    connInfo: 'C',
    connInfoReply: 'D',
    ratchetInfo: 'S',
    HELLO: 'H',
    A_MSG: 'M',
    A_RCVD: 'V',
    A_QCONT: 'QC',
    QADD: 'QA',
    QKEY: 'QK',
    QUSE: 'QU',
    QTEST: 'QT',
    EREADY: 'E',
  }

  it.each(messages)('%s decodes and encodes, and has this hash', (_, v) => {
    const message = decodeAgentMessage(hex(v['encoded']))
    expect(toHex(encodeAgentMessage(message))).toBe(v['encoded'])
    expect(letterOf(message)).toBe(v['agentMessageType'])
    expect(toHex(sha256(hex(v['encoded'])))).toBe(v['messageHashSha256'])
  })

  it.each(messages.filter(([, v]) => v['aMessage'] !== undefined))('%s has this number, hash and content', (_, v) => {
    const message = decodeAgentMessage(hex(v['encoded'])) as NumberedMessage
    expect(toHex(encodeMessageContent(message.content))).toBe(v['aMessage'])
    expect(decodeMessageContent(hex(v['aMessage']))).toEqual(message.content)
    if (v['sndMsgId'] !== undefined) expect(message.id).toBe(v['sndMsgId'])
    if (v['prevMsgHash'] !== undefined) expect(toHex(message.previousHash)).toBe(v['prevMsgHash'])
  })

  const byName = (name: string): AgentMessage =>
    decodeAgentMessage(hex(messages.find(([n]) => n === name)?.[1]['encoded']))
  const fieldsOf = (name: string): Vector => messages.find(([n]) => n === name)?.[1] as Vector
  const contentOf = (name: string) => (byName(name) as NumberedMessage).content

  it('have the fields of the vectors', () => {
    const queues = fieldsOf('AgentConnInfoReply v4 messaging')['queues'].map((address: Vector) => ({
      clientVersion: 4,
      address: queueAddressOf(address),
    }))
    expect(byName('AgentConnInfo')).toEqual({ type: 'connInfo', info: Buffer.from('conn info') })
    expect(byName('AgentConnInfoReply v4 messaging')).toMatchObject({ type: 'connInfoReply', queues })
    expect(contentOf('A_MSG')).toEqual({ type: 'A_MSG', body: hex(fieldsOf('A_MSG')['body']) })
    const receipts = fieldsOf('A_RCVD one')['receipts'].map((r: Vector) => ({
      messageId: r['agentMsgId'],
      hash: hex(r['msgHash']),
      info: Buffer.from(r['rcptInfo']),
    }))
    expect(contentOf('A_RCVD one')).toEqual({ type: 'A_RCVD', receipts })
    const v = fieldsOf('A_QCONT')
    const queue = { router: routerOf(v['server']), senderId: hex(v['senderId']) }
    expect(contentOf('A_QCONT')).toEqual({ type: 'A_QCONT', queue })
    expect(contentOf('QTEST')).toMatchObject({ type: 'QTEST', queues: [{ senderId: queue.senderId }] })
    expect(contentOf('EREADY')).toEqual({ type: 'EREADY', lastDecryptedId: fieldsOf('EREADY')['lastDecryptedMsgId'] })
    const key = { algorithm: 'ed25519', raw: hex(vectors['keys']['senderAuth']['pubRaw']) }
    expect(contentOf('QKEY')).toMatchObject({ type: 'QKEY', queues: [{ key }] })
    expect(contentOf('QADD v4-4 no replaced')).toMatchObject({
      queues: [{ queue: { clientVersions: { min: 4, max: 4 } } }],
    })
    expect(contentOf('QADD')).toMatchObject({ queues: [{ replaced: { senderId: expect.any(Buffer) } }] })
  })
})

describe('queues in messages', () => {
  it.each(queueInfos.map(v => [`v${v['version']} ${v['queueMode']}`, v] as const))('%s', (_, v) => {
    const info = { clientVersion: v['version'], address: queueAddressOf(v['address']) }
    expect(toHex(encodeQueueInfo(info))).toBe(v['encoded'])
    const decoded = decodeAll(hex(v['encoded']), 'queue', readQueueInfo)
    expect(toHex(encodeQueueInfo(decoded))).toBe(v['encoded'])
    // Only version 4 says every mode, version 3 one of them.
    if (v['version'] >= 4 || (v['version'] === 3 && v['queueMode'] === 'M')) expect(decoded).toEqual(info)
  })

  it('of version 2 leave the letter after them alone', () => {
    const v2 = queueInfos.find(v => v['version'] === 2) as Vector
    const reply = Buffer.concat([Buffer.from('D\x01'), hex(v2['encoded']), Buffer.from('True info')])
    expect(decodeAgentMessage(reply)).toMatchObject({ info: Buffer.from('True info') })
  })
})

describe('queues in links', () => {
  it.each(queueUris.map(v => [v['str'], v] as const))('%s', (text, v) => {
    const uri = queueUriOf(v['uri'])
    expect(formatQueueUri(uri)).toBe(text)
    expect(parseQueueUri(text)).toEqual(queueUriOf(v['strDecodesTo']))
    expect(toHex(encodeQueueUri(uri))).toBe(v['smp'])
    expect(decodeAll(hex(v['smp']), 'queue', readQueueUri)).toEqual(queueUriOf(v['smpDecodesTo']))
  })
})

describe('hostile input', () => {
  const samples = (list: [string, Vector][]): Bytes[] => list.map(([, v]) => hex(v['encoded']))

  it('an envelope decodes or is a typed error', () => {
    survives(fc.oneof(anyBytes, mutated(samples(envelopes))), decodeAgentEnvelope, encodeAgentEnvelope)
  })

  it('an agent message decodes or is a typed error', () => {
    survives(fc.oneof(anyBytes, mutated(samples(messages))), decodeAgentMessage, encodeAgentMessage)
  })

  it('a queue in a message decodes or is a typed error', () => {
    const infos = queueInfos.map(v => hex(v['encoded']))
    survives(fc.oneof(anyBytes, mutated(infos)), bytes => decodeAll(bytes, 'queue', readQueueInfo), encodeQueueInfo)
  })

  it('a queue in a binary link decodes or is a typed error', () => {
    const uris = queueUris.map(v => hex(v['smp']))
    survives(fc.oneof(anyBytes, mutated(uris)), bytes => decodeAll(bytes, 'queue', readQueueUri), encodeQueueUri)
  })

  it('a queue in the text of a link parses or is a typed error', () => {
    const texts = queueUris.map(v => v['str'] as string)
    survives(fc.oneof(fc.string(), mutatedText(texts)), parseQueueUri, formatQueueUri)
  })
})
