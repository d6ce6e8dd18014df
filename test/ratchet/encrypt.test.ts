import { describe, expect, it } from 'vitest'
import { Reader } from '../../src/encoding/index.js'
import {
  type RatchetState,
  advanceHeader,
  checkCanPad,
  decodeMessageEncryptKey,
  encodeMessageEncryptKey,
  encryptBody,
} from '../../src/ratchet/index.js'
import { toHex } from '../vectors/load.js'
import { exchange, newPair, receive, send } from './pair.js'

const announced = (state: RatchetState) => state.versions

describe('encrypting late', () => {
  it('B40 bodies encrypted later, in any order and again, are the same bytes under the kept headers', () => {
    const { joiner, initiator } = newPair()
    const first = advanceHeader(joiner.state)
    const second = advanceHeader(first.state)
    const stored = [first, second].map(({ header }) => encodeMessageEncryptKey(header))
    const bodies = stored.map((row, index) => encryptBody(decodeMessageEncryptKey(row), Buffer.from(`${index}`), 64))
    const again = stored.map((row, index) => encryptBody(decodeMessageEncryptKey(row), Buffer.from(`${index}`), 64))
    expect(again).toEqual(bodies)
    const late = receive(initiator, bodies[1] as Buffer)
    expect(late.result).toEqual({ ok: true, plaintext: Buffer.from('1') })
    expect(receive(late.side, bodies[0] as Buffer).result).toEqual({ ok: true, plaintext: Buffer.from('0') })
  })

  it('advancing the same state twice gives the same header', () => {
    const { joiner } = newPair()
    const [one, other] = [advanceHeader(joiner.state), advanceHeader(joiner.state)]
    expect(toHex(encodeMessageEncryptKey(one.header))).toBe(toHex(encodeMessageEncryptKey(other.header)))
    expect(joiner.state.ns).toBe(0)
  })

  it('B47 a message that is too large is refused before and at encryption, at the same length', () => {
    const { header } = advanceHeader(newPair().joiner.state)
    for (const paddedLength of [16, 15_840, 70_000]) {
      const limit = Math.min(paddedLength - 2, 65_533)
      const tooLarge = expect.objectContaining({ code: 'LARGE_MSG', facts: { length: limit + 1, limit } })
      expect(() => checkCanPad(limit, paddedLength)).not.toThrow()
      expect(() => checkCanPad(limit + 1, paddedLength)).toThrow(tooLarge)
      expect(() => encryptBody(header, Buffer.alloc(limit), paddedLength)).not.toThrow()
      expect(() => encryptBody(header, Buffer.alloc(limit + 1), paddedLength)).toThrow(tooLarge)
    }
  })

  it('the side that receives first cannot send before', () => {
    const { joiner, initiator } = newPair()
    expect(() => advanceHeader(initiator.state)).toThrow(expect.objectContaining({ code: 'CRYPTO_NO_SND_CHAIN' }))
    const { to } = exchange(joiner, initiator, 1)
    expect(() => advanceHeader(to.state)).not.toThrow()
  })
})

describe('versions', () => {
  it('both sides rise from 2 to 3 with the first message each receives, and never fall', () => {
    const { joiner, initiator } = newPair({ current: 2, maxSupported: 3 })
    const there = exchange(joiner, initiator, 1)
    expect(announced(there.from.state)).toEqual({ current: 2, maxSupported: 3 })
    expect(announced(there.to.state)).toEqual({ current: 3, maxSupported: 3 })
    const back = exchange(there.to, there.from, 1)
    expect(announced(back.to.state)).toEqual({ current: 3, maxSupported: 3 })
    const { state } = advanceHeader(back.to.state, { supportedVersion: 2 })
    expect(announced(state)).toEqual({ current: 3, maxSupported: 3 })
  })

  it('a side that supports only 2 keeps both at 2', () => {
    const { joiner, initiator } = newPair({ current: 2, maxSupported: 2 })
    const { state, header } = advanceHeader(joiner.state, { supportedVersion: 2 })
    const there = receive(initiator, encryptBody(header, Buffer.from('two'), 64)).side
    expect(announced(there.state).current).toBe(2)
    expect(announced(exchange(there, { state, skipped: [] }, 1).to.state).current).toBe(2)
  })

  it('the header has the length of its version, and room for KEM keys once they are asked for', () => {
    const length = (version: number, enableKem: boolean) =>
      advanceHeader(newPair({ current: version, maxSupported: 3 }).joiner.state, { enableKem }).header.encryptedHeader
        .length
    expect([length(2, false), length(2, true), length(3, false), length(3, true)]).toEqual([123, 123, 124, 2346])
  })

  it('asking for the KEM announces the version that has it', () => {
    const { state } = newPair({ current: 2, maxSupported: 2 }).joiner
    const asked = advanceHeader(state, { supportedVersion: 2, enableKem: true }).state
    expect(announced(asked).maxSupported).toBe(3)
    expect(asked.kem, 'room for keys comes with the version').toMatchObject({ enabled: true, support: false })
    expect(announced(advanceHeader(state, { supportedVersion: 2 }).state).maxSupported).toBe(2)
  })

  it('once the KEM is asked for, a turn fails instead of going on without it', () => {
    const { joiner, initiator } = newPair()
    const asked = advanceHeader(joiner.state, { enableKem: true })
    const there = receive(initiator, encryptBody(asked.header, Buffer.from('ask'), 64)).side
    const { message } = send(there, Buffer.from('answer'))
    const { result, side } = receive({ state: asked.state, skipped: [] }, message)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_KEM' } })
    expect(side.state).toBe(asked.state)
  })
})

it('a message starts with the length of its header, in the form of its version', () => {
  for (const version of [2, 3]) {
    const { message, header } = send(newPair({ current: version, maxSupported: version }).joiner, Buffer.from('x'))
    const reader = new Reader(message)
    const prefixed = version === 2 ? reader.short('header') : reader.large('header')
    expect(toHex(prefixed)).toBe(toHex(header.encryptedHeader))
  }
})
