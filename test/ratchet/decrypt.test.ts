import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { aesEncrypt } from '../../src/crypto/index.js'
import { concat } from '../../src/encoding/index.js'
import { InternalError } from '../../src/errors.js'
import { MAX_SKIPPED, type RatchetState, advanceHeader, encryptBody } from '../../src/ratchet/index.js'
import { encodeEncryptedHeader, encodeMessage } from '../../src/ratchet/wire.js'
import { type Side, exchange, flip, newPair, receive, send } from './pair.js'

const CODES = [
  'CRYPTO_FORMAT',
  'CRYPTO_HEADER',
  'CRYPTO_AES',
  'CRYPTO_PADDING',
  'CRYPTO_TOO_MANY_SKIPPED',
  'CRYPTO_DUPLICATE',
  'CRYPTO_EARLIER',
  'CRYPTO_BAD_KEY',
  'CRYPTO_KEM',
]
const TEXT = Buffer.from('text')

/** Messages `0 … count − 1` of the side, and the side after them. */
const sendMany = (side: Side, count: number) => {
  const messages = []
  let sender = side
  for (let index = 0; index < count; index++) {
    const sent = send(sender, Buffer.from(`${index}`))
    sender = sent.side
    messages.push(sent.message)
  }
  return { side: sender, messages }
}

describe('messages that are missing', () => {
  it('512 may be missing, 513 may not, and then nothing changes in the chain', () => {
    const { joiner, initiator } = newPair()
    const started = exchange(joiner, initiator, 1)
    const { messages } = sendMany(started.from, MAX_SKIPPED + 2)
    const refused = receive(started.to, messages[MAX_SKIPPED + 1] as Buffer)
    expect(refused.result).toMatchObject({
      ok: false,
      error: { code: 'CRYPTO_TOO_MANY_SKIPPED', facts: { skipped: MAX_SKIPPED + 2 } },
    })
    expect(refused.side).toEqual(started.to)
    const accepted = receive(started.to, messages[MAX_SKIPPED] as Buffer)
    expect(accepted.result).toEqual({ ok: true, plaintext: Buffer.from(`${MAX_SKIPPED}`) })
    expect(accepted.change.add).toHaveLength(MAX_SKIPPED)
    let side = accepted.side
    for (const [index, message] of messages.slice(0, MAX_SKIPPED).entries()) {
      const late = receive(side, message)
      expect(late.result).toEqual({ ok: true, plaintext: Buffer.from(`${index}`) })
      side = late.side
    }
    expect(side.skipped).toEqual([])
  })

  it('too many missing at the end of the previous chain changes nothing at all', () => {
    const { joiner, initiator } = newPair()
    const started = exchange(joiner, initiator, 1)
    const lost = sendMany(started.from, MAX_SKIPPED + 1)
    const answered = exchange(started.to, lost.side, 1)
    const { message } = send(answered.to, TEXT)
    const { result, side } = receive(answered.from, message)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_TOO_MANY_SKIPPED' } })
    expect(side.state).toBe(answered.from.state)
  })

  it('too many missing at the start of the next chain keeps the turn and the keys of the previous one', () => {
    const { joiner, initiator } = newPair()
    const started = exchange(joiner, initiator, 1)
    const lost = sendMany(started.from, 2)
    const answered = exchange(started.to, lost.side, 1)
    const { messages } = sendMany(answered.to, MAX_SKIPPED + 2)
    const refused = receive(answered.from, messages.at(-1) as Buffer)
    expect(refused.result).toMatchObject({ ok: false, error: { code: 'CRYPTO_TOO_MANY_SKIPPED' } })
    expect(refused.change.add).toHaveLength(2)
    expect(refused.side.state.nr).toBe(0)
    expect(refused.side.state.dhSelf).not.toEqual(answered.from.state.dhSelf)
    expect(receive(refused.side, messages[0] as Buffer).result).toEqual({ ok: true, plaintext: Buffer.from('0') })
    expect(receive(refused.side, lost.messages[1] as Buffer).result).toEqual({ ok: true, plaintext: Buffer.from('1') })
  })
})

describe('messages that came before', () => {
  it('the last one is a duplicate, earlier ones say by how much, those of older chains have no header key', () => {
    const { joiner, initiator } = newPair()
    const sent = sendMany(joiner, 4)
    let side = initiator
    for (const message of sent.messages) ({ side } = receive(side, message))
    const codes = sent.messages.map(message => {
      const { result } = receive(side, message)
      return result.ok ? 'ok' : [result.error.code, result.error.facts['earlier']]
    })
    expect(codes).toEqual([
      ['CRYPTO_EARLIER', 3],
      ['CRYPTO_EARLIER', 2],
      ['CRYPTO_EARLIER', 1],
      ['CRYPTO_DUPLICATE', undefined],
    ])
    const answered = exchange(side, sent.side, 1)
    const turned = exchange(answered.to, answered.from, 1).to
    expect(receive(turned, sent.messages[3] as Buffer).result).toMatchObject({ error: { code: 'CRYPTO_HEADER' } })
  })

  it('a skipped message that was tampered with is given up, as by the peers', () => {
    const { joiner, initiator } = newPair()
    const { messages } = sendMany(joiner, 2)
    const ahead = receive(initiator, messages[1] as Buffer).side
    const spoilt = receive(ahead, flip(messages[0] as Buffer, -1))
    expect(spoilt.result).toMatchObject({ ok: false, error: { code: 'CRYPTO_AES' } })
    expect(spoilt.side.skipped).toEqual([])
    expect(spoilt.side.state).toBe(ahead.state)
  })
})

describe('a peer that breaks the rules', () => {
  const { joiner, initiator } = newPair()
  const headerOf = (state: RatchetState, plain: Buffer) => {
    const iv = Buffer.alloc(16, 1)
    const { ciphertext, tag } = aesEncrypt(state.snd?.headerKey as Buffer, iv, state.associatedData, plain)
    return encodeEncryptedHeader({ version: 3, iv, tag, body: ciphertext })
  }

  it('a key of low order is refused and changes nothing', () => {
    const dhSelf = { ...joiner.state.dhSelf, publicKey: Buffer.alloc(56) }
    const { header } = advanceHeader({ ...joiner.state, dhSelf })
    const { result, side } = receive(initiator, encryptBody(header, TEXT, 64))
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_BAD_KEY' } })
    expect(side.state).toBe(initiator.state)
  })

  it.each([
    ['no length', Buffer.alloc(0), 'CRYPTO_HEADER'],
    ['a length that is not there', Buffer.from('ffff', 'hex'), 'CRYPTO_HEADER'],
    ['an empty header', Buffer.from('0000', 'hex'), 'CRYPTO_FORMAT'],
    ['a header without a key', Buffer.from('00040003012323', 'hex'), 'CRYPTO_FORMAT'],
  ])('%s inside a header that opens is refused', (_, plain, code) => {
    const message = encodeMessage(3, { header: headerOf(joiner.state, plain), tag: Buffer.alloc(16), body: TEXT })
    const { result, side } = receive(initiator, message)
    expect(result).toMatchObject({ ok: false, error: { code } })
    expect(side.state).toBe(initiator.state)
  })

  it('a body that is not padded is refused, and the chain moves on', () => {
    const { state, header } = advanceHeader(joiner.state)
    const aad = concat(header.associatedData, header.encryptedHeader)
    const { ciphertext, tag } = aesEncrypt(header.messageKey, header.messageIv, aad, Buffer.from('ffff', 'hex'))
    const message = encodeMessage(3, { header: header.encryptedHeader, tag, body: ciphertext })
    const { result, side } = receive(initiator, message)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_PADDING' } })
    expect(receive(side, send({ state, skipped: [] }, TEXT).message).result).toEqual({ ok: true, plaintext: TEXT })
  })
})

describe('bytes that nobody sent', () => {
  const { joiner, initiator } = newPair()
  const started = exchange(joiner, initiator, 2)
  const { messages } = sendMany(started.from, 3)
  const side = receive(started.to, messages[2] as Buffer).side

  it('random bytes give a typed error and change nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
        const { result, side: after } = receive(side, bytes)
        expect(result).toMatchObject({
          ok: false,
          error: { code: expect.stringMatching(/^CRYPTO_(?:FORMAT|HEADER)$/) },
        })
        expect(after.state).toBe(side.state)
      }),
    )
  })

  it('mutated and truncated messages give a typed error', () => {
    const mutation = fc.record({ pick: fc.nat(1), offset: fc.nat(300), mask: fc.integer({ min: 1, max: 255 }) })
    fc.assert(
      fc.property(mutation, fc.option(fc.nat(250)), ({ pick, offset, mask }, length) => {
        const message = messages[pick] as Buffer
        const bytes = flip(message, offset % message.length, mask).subarray(0, length ?? undefined)
        const { result } = receive(side, bytes)
        expect(result).toMatchObject({ ok: false })
        if (!result.ok) expect(CODES).toContain(result.error.code)
      }),
      { numRuns: 500 },
    )
  })

  it('a broken port is a bug, not a bad message', () => {
    const { message } = send(newPair().joiner, TEXT)
    const fresh = newPair()
    const good = send(fresh.joiner, TEXT).message
    const broken = () => {
      throw new InternalError('no randomness')
    }
    expect(() => receive(fresh.initiator, good, broken)).toThrow('no randomness')
    expect(receive(fresh.initiator, message, broken).result).toMatchObject({ ok: false })
  })
})
