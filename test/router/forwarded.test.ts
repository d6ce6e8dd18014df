/** What a relay makes of RFWD: boxes, one transmission, four commands, and nothing that a hostile proxy or client can break. */
import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, x25519 } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import { openForwarded } from '../../src/router/forwarded.js'
import { type Command, encodeCommand } from '../../src/smp/protocol/commands.js'
import {
  openForwardedResponse,
  openProxiedResponse,
  sealForwardedTransmission,
  sealProxiedTransmission,
} from '../../src/smp/protocol/proxy.js'
import { decodeResponse, type Response } from '../../src/smp/protocol/responses.js'
import { formatSmpError } from '../../src/smp/protocol/routerErrors.js'
import {
  type Batch,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../src/smp/protocol/transmission.js'

const relay = generateKeyPair('x25519')
const proxy = generateKeyPair('x25519')
const client = generateKeyPair('x25519')
const secret = x25519(relay.privateKey, proxy.publicKey)
const keys = { secret, routerPrivateKey: relay.privateKey }
const clientKey = boxSecret(x25519(client.privateKey, relay.publicKey))
const nothing = Buffer.alloc(0)
const corrId = randomBytes(24)
const proxyCorrId = randomBytes(24)

const transmissionOf = (version: number, command: Command, entityId: Bytes = Buffer.alloc(24)): Bytes =>
  encodeTransmission(version, { authorization: nothing, corrId, entityId, command: encodeCommand(version, command) })

const batchOf = (...transmissions: Bytes[]): Bytes => {
  const [batch] = batchTransmissions(transmissions) as [Batch]
  if ('error' in batch) throw batch.error
  return batch.block
}

/** RFWD's body around what stands in the client's box. */
const bodyOf = (content: Bytes, version = 17): Bytes =>
  sealForwardedTransmission(boxSecret(secret), proxyCorrId, {
    corrId,
    version,
    key: client.publicKey,
    transmission: sealProxiedTransmission(clientKey, corrId, content),
  })

const open = (body: Bytes) => openForwarded(keys, proxyCorrId, body)
const send: Command = { type: 'SEND', flags: { notification: true }, body: Buffer.from('body') }
const errorOf = (result: ReturnType<typeof open>): string =>
  'error' in result
    ? `proxy: ${formatSmpError(result.error)}`
    : 'error' in result.request
      ? formatSmpError(result.request.error)
      : result.request.command.type

/** What the client behind the proxy reads of the relay's answer. */
const read = (version: number, answer: Response): Response => {
  if (answer.type !== 'RRES') throw Object.assign(new Error('no RRES'), { answer })
  const { response } = openForwardedResponse(boxSecret(secret), proxyCorrId, answer.response)
  const [bytes, ...more] = readBatch(openProxiedResponse(clientKey, corrId, response))
  expect(more).toEqual([])
  const transmission = decodeTransmission(version, bytes as Bytes)
  expect(Buffer.compare(transmission.corrId, corrId)).toBe(0)
  return decodeResponse(version, transmission.command)
}

describe('B49 a forwarded transmission', () => {
  it('B49 is opened and its answer boxed, whatever command, version and answer', () => {
    const key = { algorithm: 'ed25519', raw: generateKeyPair('ed25519').publicKey } as const
    const command: fc.Arbitrary<Command> = fc.oneof(
      fc.record({
        type: fc.constant('SEND' as const),
        flags: fc.record({ notification: fc.boolean() }),
        body: fc.uint8Array({ maxLength: 16_048, size: 'max' }).map(bytes => Buffer.from(bytes)),
      }),
      fc.constantFrom<Command>({ type: 'LGET' }),
    )
    const response: fc.Arbitrary<Response> = fc.oneof(
      fc.constantFrom<Response>(
        { type: 'OK' },
        { type: 'ERR', error: { type: 'AUTH' } },
        { type: 'ERR', error: { type: 'QUOTA' } },
      ),
      fc.record({
        type: fc.constant('LNK' as const),
        senderId: fc.constant(Buffer.alloc(24, 9)),
        data: fc.record({
          fixedData: fc.constant(Buffer.alloc(2_048, 1)),
          userData: fc.constant(Buffer.alloc(13_824, 2)),
        }),
      }),
    )
    fc.assert(
      fc.property(command, response, fc.integer({ min: 14, max: 18 }), (asked, answer, version) => {
        const opened = open(bodyOf(batchOf(transmissionOf(version, asked)), version))
        if ('error' in opened || 'error' in opened.request) throw new Error('must open')
        expect(opened.version).toBe(version)
        expect(opened.request.command).toEqual(asked)
        const known = version < 15 && answer.type === 'LNK' ? ({ type: 'OK' } as const) : answer
        expect(read(version, opened.seal(known))).toEqual(known)
      }),
      { numRuns: 100 },
    )
    expect(errorOf(open(bodyOf(batchOf(transmissionOf(17, { type: 'SKEY', key })))))).toBe('CMD NO_AUTH')
  })

  it('B49 with any other command is answered CMD PROHIBITED inside of the boxes', () => {
    const router = { keyHash: Buffer.alloc(32), hosts: ['a'], port: '' }
    const others: Command[] = [
      { type: 'PING' },
      { type: 'PRXY', router },
      { type: 'RFWD', transmission: Buffer.alloc(99) },
      { type: 'PFWD', version: 17, key: client.publicKey, transmission: Buffer.alloc(9) },
    ]
    for (const command of others) {
      const entityId = command.type === 'PFWD' ? Buffer.alloc(32) : nothing
      const opened = open(bodyOf(batchOf(transmissionOf(17, command, entityId))))
      expect(errorOf(opened)).toBe('CMD PROHIBITED')
    }
  })

  it('B49 that cannot be read inside is the client’s error: BLOCK, CMD SYNTAX, CMD UNKNOWN', () => {
    expect(errorOf(open(bodyOf(Buffer.from('no batch'))))).toBe('BLOCK')
    const unknown = { authorization: nothing, corrId, entityId: Buffer.alloc(24), command: Buffer.from('WHAT') }
    expect(errorOf(open(bodyOf(batchOf(encodeTransmission(17, unknown)))))).toBe('CMD UNKNOWN')
    const syntax = { ...unknown, command: Buffer.from('SEND ') }
    expect(errorOf(open(bodyOf(batchOf(encodeTransmission(17, syntax)))))).toBe('CMD SYNTAX')
  })

  it('B49 with two transmissions is refused to the proxy: BLOCK', () => {
    const twice = [transmissionOf(17, send), transmissionOf(17, send)]
    expect(errorOf(open(bodyOf(batchOf(...twice))))).toBe('proxy: BLOCK')
  })

  it('B49 in a version that is not spoken here is refused to the proxy', () => {
    for (const version of [0, 6, 13, 19, 65_535]) {
      const body = bodyOf(batchOf(transmissionOf(17, send)), version)
      expect(errorOf(open(body))).toBe('proxy: PROXY BROKER TRANSPORT VERSION')
    }
  })

  it('B49 of a session without keys is refused to the proxy', () => {
    const body = bodyOf(batchOf(transmissionOf(17, send)))
    const refused = openForwarded({ ...keys, secret: undefined }, proxyCorrId, body)
    expect(errorOf(refused)).toBe('proxy: PROXY BROKER TRANSPORT NO_AUTH')
  })

  it('B49 that somebody has changed, or made up, is an error and never more', () => {
    const good = bodyOf(batchOf(transmissionOf(17, send)))
    const changed = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, by]) => {
      const body = Buffer.from(good)
      body[at] = (body[at] as number) ^ by
      return body
    })
    const madeUp = fc.uint8Array({ maxLength: 300 })
    fc.assert(fc.property(fc.oneof(changed, madeUp), body => errorOf(open(body)) === 'proxy: CRYPTO'))
    // A proxy holds the outer key: what it puts inside is anything.
    const inside = fc.oneof(madeUp, fc.constant(good))
    fc.assert(
      fc.property(inside, fc.integer({ min: 0, max: 18 }), (transmission, version) => {
        const forwarded = { corrId, version, key: client.publicKey, transmission }
        return errorOf(open(sealForwardedTransmission(boxSecret(secret), proxyCorrId, forwarded))).startsWith('proxy: ')
      }),
    )
    // A client holds both keys of the inner box.
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), content => !errorOf(open(bodyOf(content))).includes('INTERNAL')),
    )
  })

  it('B49 with a key that agrees on nothing is an error', () => {
    const forwarded = { corrId, version: 17, key: Buffer.alloc(32), transmission: randomBytes(16_242) }
    const body = sealForwardedTransmission(boxSecret(secret), proxyCorrId, forwarded)
    expect(errorOf(open(body))).toBe('proxy: CRYPTO')
  })
})
