import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodePublicKey, type PublicKey } from '../../src/crypto/keys.js'
import type { Bytes } from '../../src/encoding/index.js'
import { type Command, decodeCommand, encodeCommand } from '../../src/smp/protocol/commands.js'
import type { NewQueue, QueueRequest } from '../../src/smp/protocol/newQueue.js'
import { decodeResponse, encodeResponse, type Response } from '../../src/smp/protocol/responses.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { formatSmpError, parseSmpError, smpErrorOfDecodeError } from '../../src/smp/protocol/routerErrors.js'
import { anyBytes, mutated, survives } from '../smp/protocol/arbitraries.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('smp_commands')
const commands: Vector[] = vectors['commands']
const responses: Vector[] = vectors['responses']
const edgeCases: Vector[] = vectors['parseProtocolEdgeCases']

const LATEST = 18

const key = (der: string): PublicKey => decodePublicKey(hex(der))
const dhKey = (der: string): Bytes => key(der).raw
const optional = <T>(value: string | null, read: (text: string) => T): T | undefined =>
  value === null ? undefined : read(value)
const linkData = (v: Vector) => ({ fixedData: hex(v['fixedData']), userData: hex(v['userData']) })

const requestOf = (v: Vector | null): QueueRequest | undefined => {
  if (v === null) return undefined
  const data: Vector | null = v['data']
  const link = data === null ? undefined : { senderId: hex(data['senderId']), data: linkData(data) }
  if (v['mode'] === 'M') return { mode: 'messaging', link }
  return { mode: 'contact', link: link && { linkId: hex(data?.['linkId']), ...link } }
}

const newQueueOf = (v: Vector): NewQueue => ({
  type: 'NEW',
  authKey: key(v['rcvAuthKeyDer']),
  dhKey: dhKey(v['rcvDhKeyDer']),
  basicAuth: v['basicAuth'] ?? undefined,
  subscribe: v['subMode'] === 'S',
  request: requestOf(v['queueReqData']),
  notifier: v['ntfCreds']
    ? { authKey: key(v['ntfCreds']['authKeyDer']), dhKey: dhKey(v['ntfCreds']['dhKeyDer']) }
    : undefined,
})

/** The first word of a vector's name is the command; the rest tells the variant. */
const commandOf = (v: Vector): Command => {
  const type = String(v['name']).split(' ')[0] as Command['type']
  switch (type) {
    case 'NEW':
      return newQueueOf(v['req'])
    case 'KEY':
    case 'SKEY':
    case 'LKEY':
      return { type, key: key(v['keyDer']) }
    case 'RKEY':
      return { type, keys: v['keysDer'].map(key) }
    case 'LSET':
      return { type, linkId: hex(v['linkId']), data: linkData(v) }
    case 'NKEY':
      return { type, key: key(v['keyDer']), dhKey: dhKey(v['dhDer']) }
    case 'ACK':
      return { type, messageId: hex(v['msgId']) }
    case 'SEND':
      return { type, flags: { notification: v['notification'] }, body: hex(v['body']) }
    case 'PRXY':
      return { type, router: parseRouterAddress(v['server']), basicAuth: v['basicAuth'] ?? undefined }
    case 'PFWD':
      return { type, version: v['version'], key: dhKey(v['keyDer']), transmission: hex(v['encTransmission']) }
    case 'RFWD':
      return { type, transmission: hex(v['encFwdTransmission']) }
    default:
      return { type }
  }
}

const idsOf = (ids: Vector): Response => ({
  type: 'IDS',
  recipientId: hex(ids['rcvId']),
  senderId: hex(ids['sndId']),
  dhKey: dhKey(ids['rcvPublicDhKeyDer']),
  mode: optional(ids['queueMode'], mode => (mode === 'M' ? 'messaging' : 'contact')),
  linkId: optional(ids['linkId'], hex),
  serviceId: optional(ids['serviceId'], hex),
  notifier: ids['serverNtfCreds']
    ? { notifierId: hex(ids['serverNtfCreds']['notifierId']), dhKey: dhKey(ids['serverNtfCreds']['dhKeyDer']) }
    : undefined,
})

const STATUSES: Record<string, Response> = {
  INFO: { type: 'INFO', status: { qiSnd: true, qiNtf: false, qiSize: 1 } },
  'INFO sub': {
    type: 'INFO',
    status: {
      qiSub: { qDelivered: 'bXNnSWQ=', qSubThread: 'subThread' },
      qiMsg: { msgId: 'bXNnSWQ=', msgTs: '2023-11-14T22:13:20Z', msgType: 'message' },
      qiSnd: true,
      qiNtf: true,
      qiSize: 2,
    },
  },
}

const responseOf = (v: Vector): Response => {
  const type = String(v['name']).split(' ')[0] as Response['type']
  switch (type) {
    case 'IDS':
      return idsOf(v['ids'])
    case 'LNK':
      return { type, senderId: hex(v['senderId']), data: linkData(v) }
    case 'SOK':
      return { type, serviceId: optional(v['serviceId'] ?? null, hex) }
    case 'SOKS':
    case 'ENDS':
      return { type, count: v['count'] }
    case 'MSG':
      return { type, messageId: hex(v['msgId']), body: hex(v['body']) }
    case 'NID':
      return { type, notifierId: hex(v['notifierId']), dhKey: dhKey(v['dhKeyDer']) }
    case 'NMSG':
      return { type, nonce: hex(v['nonce']), metadata: hex(v['encMeta']) }
    case 'RRES':
    case 'PRES':
      return { type, response: hex(v['body']) }
    case 'INFO':
      return STATUSES[v['name']] as Response
    case 'ERR':
      return { type, error: parseSmpError(v['error']) }
    case 'PKEY':
      throw new Error('no vector has PKEY: see the test of its own')
    default:
      return { type }
  }
}

/** Every encoding of a vector with each version that has it. */
const encodings = (v: Vector): [version: number, bytes: string][] =>
  v['encoded'].flatMap((e: Vector) => e['versions'].map((version: number) => [version, e['bytes']]))

const title = (v: Vector): string => `${v['name']}${v['error'] === undefined ? '' : ` ${v['error']}`}`

describe('commands', () => {
  it.each(commands.map(v => [title(v), v] as const))('%s encodes for every version', (_, v) => {
    for (const [version, bytes] of encodings(v)) expect(toHex(encodeCommand(version, commandOf(v)))).toBe(bytes)
  })

  it.each(commands.map(v => [title(v), v] as const))('%s decodes at every version', (_, v) => {
    for (const [version, bytes] of encodings(v)) {
      expect(toHex(encodeCommand(version, decodeCommand(version, hex(bytes))))).toBe(bytes)
      if (version === LATEST) expect(decodeCommand(version, hex(bytes))).toEqual(commandOf(v))
    }
  })
})

describe('responses', () => {
  it.each(responses.map(v => [title(v), v] as const))('%s encodes for every version', (_, v) => {
    for (const [version, bytes] of encodings(v)) expect(toHex(encodeResponse(version, responseOf(v)))).toBe(bytes)
  })

  it.each(responses.map(v => [title(v), v] as const))('%s decodes at every version', (_, v) => {
    for (const [version, bytes] of encodings(v)) {
      expect(toHex(encodeResponse(version, decodeResponse(version, hex(bytes))))).toBe(bytes)
      if (version !== LATEST) continue
      expect(v['roundtripsAtV18']).toBe(true)
      expect(decodeResponse(version, hex(bytes))).toEqual(responseOf(v))
    }
  })

  it.each(responses.filter(v => v['error'] !== undefined).map(v => v['error'] as string))(
    'ERR %s has this text',
    text => {
      expect(formatSmpError(parseSmpError(text))).toBe(text)
    },
  )
})

describe('parse edge cases', () => {
  const wireErrorOf = (decode: () => unknown): string => {
    try {
      decode()
    } catch (error) {
      return formatSmpError(smpErrorOfDecodeError(error))
    }
    return 'decoded'
  }
  const expected = (haskell: string): string => `CMD ${/cmdErr = (\w+)/.exec(haskell)?.[1]}`

  it.each(edgeCases.map(v => [v['bytes'], v] as const))('"%s" gets the same error', (bytes, v) => {
    expect(wireErrorOf(() => decodeCommand(LATEST, hex(bytes)))).toBe(expected(v['asCommand']))
    expect(wireErrorOf(() => decodeResponse(LATEST, hex(bytes)))).toBe(expected(v['asResponse']))
  })
})

describe('hostile bytes', () => {
  const samples = (list: Vector[]): Bytes[] => list.flatMap(v => encodings(v).map(([, bytes]) => hex(bytes)))
  const versioned = (list: Vector[]) =>
    fc.record({ version: fc.integer({ min: 6, max: 20 }), bytes: fc.oneof(anyBytes, mutated(samples(list))) })

  it('a command decodes or is a typed error', () => {
    survives(
      versioned(commands),
      ({ version, bytes }) => ({ version, command: decodeCommand(version, bytes) }),
      ({ version, command }) => ({ version, bytes: encodeCommand(version, command) }),
    )
  })

  it('a response decodes or is a typed error', () => {
    survives(
      versioned(responses),
      ({ version, bytes }) => ({ version, response: decodeResponse(version, bytes) }),
      ({ version, response }) => ({ version, bytes: encodeResponse(version, response) }),
    )
  })
})
