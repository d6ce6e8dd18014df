import { describe, expect, it } from 'vitest'
import { sha256 } from '../../src/crypto/hash.js'
import { sign, verify } from '../../src/crypto/sign.js'
import { x25519 } from '../../src/crypto/dh.js'
import { sbcInit, sbcNext } from '../../src/crypto/blockChain.js'
import { ascii, Reader } from '../../src/encoding/index.js'
import { authorize, verifyAuthorization, withServiceCertificate } from '../../src/smp/protocol/authorization.js'
import { BlockCipher, padBlock, unpadBlock } from '../../src/smp/protocol/block.js'
import {
  authorizedBytes,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../src/smp/protocol/transmission.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('smp_transmissions')
const sessionId = hex(vectors['sessionId'])
const certificateHash = hex(vectors['serviceCertHash'])
const key = (name: string) => ({
  public: hex(vectors['keys'][name].pubRaw),
  private: hex(vectors['keys'][name].privRaw),
})
const router = key('serverX25519')
const service = key('serviceEd25519')

/** The content of the block that carries one transmission. */
const singleBatch = (transmission: Uint8Array): Uint8Array => {
  const [batch, ...more] = batchTransmissions([transmission])
  expect(more).toEqual([])
  if (batch === undefined || 'error' in batch) throw new Error('must fit')
  expect(batch.count).toBe(1)
  return batch.block
}

describe('smp_transmissions.json transmissions', () => {
  const cases = (vectors['transmissions'] as Vector[]).map(
    vector => [`v${vector['version']} ${vector['command']}, ${vector['auth']}`, vector] as const,
  )

  it.each(cases)('%s', (_, vector) => {
    const version: number = vector['version']
    const [corrId, entityId, command] = [vector['corrId'], vector['entityId'], vector['encodedCommand']].map(hex) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    const authorized = authorizedBytes(sessionId, { corrId, entityId, command })
    expect(toHex(authorized)).toBe(vector['tForAuth'])

    const kinds = { ed25519: 'authEd25519', x25519: 'authX25519' } as const
    const [kind, withService] = vector['auth'].split('+')
    const algorithm = kind as keyof typeof kinds
    const owned = withService === undefined ? authorized : withServiceCertificate(certificateHash, authorized)
    const authorization =
      kind === 'none'
        ? new Uint8Array()
        : authorize(algorithm, key(kinds[algorithm]).private, owned, { corrId, routerKey: router.public })
    const serviceSignature = withService === undefined ? undefined : sign('ed25519', service.private, authorized)
    if (kind !== 'none') {
      const publicKey = { algorithm, raw: key(kinds[algorithm]).public }
      const session = { corrId, routerPrivateKey: router.private }
      expect(verifyAuthorization(publicKey, authorization, owned, session)).toBe(true)
    }
    if (serviceSignature) expect(verify('ed25519', service.public, authorized, serviceSignature)).toBe(true)

    const sentSessionId = version < 7 ? { sessionId } : {}
    const transmission = { authorization, serviceSignature, corrId, entityId, command, ...sentSessionId }
    const encoded = encodeTransmission(version, transmission)
    expect(toHex(encoded)).toBe(vector['transmission'])
    expect(vector['transmission']).toBe(vector['authBytes'] + vector['tToSend'])
    const { serviceSignature: _none, ...unsigned } = transmission
    const expected = serviceSignature === undefined ? unsigned : transmission
    expect(hexFields(decodeTransmission(version, hex(vector['transmission'])))).toEqual(hexFields(expected))

    const batch = singleBatch(encoded)
    expect(toHex(batch)).toBe(vector['batch'])
    expect(readBatch(hex(vector['batch'])).map(toHex)).toEqual([vector['transmission']])
    const block = padBlock(batch)
    expect(toHex(sha256(block))).toBe(vector['paddedBlockSha256'])
    expect(toHex(unpadBlock(block))).toBe(vector['batch'])
  })

  const hexFields = (fields: object) =>
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, toHex(value)]))
})

describe('smp_transmissions.json responses', () => {
  it.each((vectors['responses'] as Vector[]).map(vector => [vector['response'], vector] as const))(
    '%s',
    (_, vector) => {
      const bytes = hex(vector['transmission'])
      const decoded = decodeTransmission(vector['version'], bytes)
      expect([toHex(decoded.corrId), toHex(decoded.entityId)]).toEqual([vector['corrId'], vector['entityId']])
      expect(toHex(decoded.authorization)).toBe('')
      expect(new Reader(decoded.command).word('response')).toBe(vector['response'].split(' ')[0])
      expect(toHex(encodeTransmission(vector['version'], decoded))).toBe(vector['transmission'])
      const rebuilt = {
        authorization: new Uint8Array(),
        corrId: hex(vector['corrId']),
        entityId: hex(vector['entityId']),
        command: vector['response'] === 'ERR CMD' ? decoded.command : ascii(vector['response']),
      }
      expect(toHex(encodeTransmission(vector['version'], rebuilt))).toBe(vector['transmission'])
    },
  )
})

describe('smp_transmissions.json batches and blocks', () => {
  it('five SENDs of 7,000 bytes are split as the reference splits them', () => {
    const { batches } = vectors['batching']
    // The sizes say that each item takes 7,060 bytes with its length.
    const items = Array.from({ length: 5 }, (_, index) => new Uint8Array(7060 - 2).fill(index))
    const packed = batchTransmissions(items)
    const sizes = packed.map(batch =>
      'error' in batch ? undefined : { count: batch.count, length: batch.block.length },
    )
    expect(sizes).toEqual(batches)
    const read = packed.flatMap(batch => ('error' in batch ? [] : readBatch(batch.block)))
    expect(read.map(toHex)).toEqual(items.map(toHex))
  })

  it('a padded block with a batch of several', () => {
    const { batch, block16384, count } = vectors['paddedBlockExample']
    const items = readBatch(unpadBlock(hex(block16384)))
    expect(items).toHaveLength(count)
    const [packed, ...more] = batchTransmissions(items)
    expect(more).toEqual([])
    if (packed === undefined || 'error' in packed) throw new Error('must fit')
    expect(toHex(packed.block)).toBe(batch)
    expect(toHex(padBlock(packed.block))).toBe(block16384)
    for (const item of items) expect(toHex(encodeTransmission(18, decodeTransmission(18, item)))).toBe(toHex(item))
  })

  const encrypted = vectors['encryptedBlocks']
  const secret = x25519(key('clientSessionX25519').private, router.public)

  it('the secret and chains of encrypted blocks', () => {
    expect(toHex(secret)).toBe(encrypted.dhSecret)
    const { chain1, chain2 } = sbcInit(sessionId, secret)
    expect([toHex(chain1), toHex(chain2)]).toEqual([encrypted.serverSndChainKey, encrypted.serverRcvChainKey])
    for (const [start, steps] of [
      [chain1, encrypted.serverToClient],
      [chain2, encrypted.clientToServer],
    ] as const) {
      let chain = start
      for (const step of steps) {
        const { key: blockKey, nonce, next } = sbcNext(chain)
        expect([toHex(blockKey), toHex(nonce)]).toEqual([step.sbKey, step.nonce])
        chain = next
      }
    }
  })

  it.each([
    ['client', 'router', 'clientToServer'],
    ['router', 'client', 'serverToClient'],
  ] as const)('encrypted blocks from %s to %s', (from, to, name) => {
    const sender = new BlockCipher(from, sessionId, secret)
    const receiver = new BlockCipher(to, sessionId, secret)
    for (const { block, plaintext } of encrypted[name]) {
      expect(toHex(sender.encrypt(hex(plaintext)))).toBe(block)
      expect(toHex(receiver.decrypt(hex(block)))).toBe(plaintext)
    }
  })
})

it('every group of smp_transmissions.json is tested', () => {
  expect(Object.keys(vectors).sort()).toEqual(
    'batching encryptedBlocks keys note paddedBlockExample responses serviceCertHash sessionId source transmissions'.split(
      ' ',
    ),
  )
})
