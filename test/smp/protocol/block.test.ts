import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLOCK_BYTES, BlockCipher, padBlock, unpadBlock } from '../../../src/smp/protocol/block.js'
import { codeOf } from '../../encoding/fuzz.js'

const sessionId = Buffer.alloc(32, 1)
const secret = Buffer.alloc(32, 2)
const pair = () => ({
  client: new BlockCipher('client', sessionId, secret),
  router: new BlockCipher('router', sessionId, secret),
})
const contents = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.nat(BLOCK_BYTES - 18).map(length => new Uint8Array(length).fill(7)),
)

describe('padded blocks', () => {
  it('have 16,384 bytes and give their content back', () => {
    fc.assert(
      fc.property(contents, content => {
        const block = padBlock(content)
        expect(block).toHaveLength(BLOCK_BYTES)
        expect(Buffer.compare(unpadBlock(block), content)).toBe(0)
      }),
    )
    expect(padBlock(Buffer.alloc(BLOCK_BYTES - 2))).toHaveLength(BLOCK_BYTES)
    expect(codeOf(() => padBlock(Buffer.alloc(BLOCK_BYTES - 1)))).toBe('LARGE_MSG')
  })

  it('of any other size, or with a length beyond their end, are TRANSPORT_BLOCK', () => {
    for (const size of [0, 1, 2, BLOCK_BYTES - 1, BLOCK_BYTES + 1]) {
      expect(codeOf(() => unpadBlock(Buffer.alloc(size)))).toBe('TRANSPORT_BLOCK')
    }
    expect(codeOf(() => unpadBlock(Buffer.alloc(BLOCK_BYTES, 0xff)))).toBe('TRANSPORT_BLOCK')
  })
})

describe('encrypted blocks', () => {
  it('go both ways in their order', () => {
    const { client, router } = pair()
    fc.assert(
      fc.property(contents, fc.boolean(), (content, fromClient) => {
        const block = (fromClient ? client : router).encrypt(content)
        expect(block).toHaveLength(BLOCK_BYTES)
        expect(Buffer.compare((fromClient ? router : client).decrypt(block), content)).toBe(0)
      }),
    )
  })

  it('of the same content never repeat', () => {
    const { client } = pair()
    expect(client.encrypt(Buffer.from('PING'))).not.toEqual(client.encrypt(Buffer.from('PING')))
  })

  it('are written to a buffer of their own each, so that one may wait for the network', () => {
    const { client, router } = pair()
    const blocks = ['one', 'two', 'three'].map(text => client.encrypt(Buffer.from(text)))
    expect(blocks.map(block => Buffer.from(router.decrypt(block)).toString())).toEqual(['one', 'two', 'three'])
  })

  it('too large a content is LARGE_MSG and does not move the chain', () => {
    const { client, router } = pair()
    expect(codeOf(() => client.encrypt(Buffer.alloc(BLOCK_BYTES - 17)))).toBe('LARGE_MSG')
    expect(router.decrypt(client.encrypt(Buffer.alloc(BLOCK_BYTES - 18)))).toHaveLength(BLOCK_BYTES - 18)
  })

  it.each<[string, (block: Buffer) => Buffer]>([
    ['changed', block => block.fill(1, 5000, 5001)],
    ['short', block => block.subarray(1)],
    ['long', block => Buffer.concat([block, Buffer.of(0)])],
  ])('%s is TRANSPORT_BLOCK', (_, change) => {
    const { client, router } = pair()
    const block = Buffer.from(client.encrypt(Buffer.from('PING')))
    block[5000] = 0
    expect(codeOf(() => router.decrypt(change(block)))).toBe('TRANSPORT_BLOCK')
  })

  it('out of order, twice, reflected or of another session is TRANSPORT_BLOCK', () => {
    const { client, router } = pair()
    const [first, second] = [client.encrypt(Buffer.from('1')), client.encrypt(Buffer.from('2'))]
    expect(codeOf(() => pair().router.decrypt(Buffer.from(second)))).toBe('TRANSPORT_BLOCK')
    expect(codeOf(() => client.decrypt(Buffer.from(first)))).toBe('TRANSPORT_BLOCK')
    const other = new BlockCipher('router', Buffer.alloc(32, 9), secret)
    expect(codeOf(() => other.decrypt(Buffer.from(first)))).toBe('TRANSPORT_BLOCK')
    const copy = Buffer.from(first)
    router.decrypt(first)
    expect(codeOf(() => router.decrypt(copy))).toBe('TRANSPORT_BLOCK')
  })

  it('random blocks are TRANSPORT_BLOCK', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(255)), stream => {
        const block = Buffer.from([...stream.take(64)].flatMap(byte => Array.from({ length: 256 }, () => byte)))
        expect(codeOf(() => pair().router.decrypt(block))).toBe('TRANSPORT_BLOCK')
      }),
      { numRuns: 20 },
    )
  })
})
