import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/errors.js'
import { decodeCommand, encodeCommand } from '../../../src/smp/protocol/commands.js'
import { decodeResponse, encodeResponse, type Response } from '../../../src/smp/protocol/responses.js'

describe('responses', () => {
  it('PKEY carries the chain and the signed key of the destination router', () => {
    const response: Response = {
      type: 'PKEY',
      sessionId: Buffer.alloc(32, 1),
      versionRange: { min: 6, max: 17 },
      routerKey: { certificates: [Buffer.alloc(300, 2), Buffer.alloc(301, 3)], signedKey: Buffer.alloc(120, 4) },
    }
    const bytes = encodeResponse(17, response)
    expect(decodeResponse(17, bytes)).toEqual(response)
    expect(Buffer.from(bytes.subarray(0, 6)).toString('latin1')).toBe('PKEY \x20')
    expect(() => decodeResponse(17, bytes.subarray(0, -1))).toThrow(DecodeError)
  })

  it('counts that no number holds exactly are refused', () => {
    const most = Buffer.from('534f4b5320001fffffffffffff', 'hex')
    expect(decodeResponse(18, most)).toEqual({ type: 'SOKS', count: Number.MAX_SAFE_INTEGER })
    expect(() => decodeResponse(18, Buffer.from('534f4b53200020000000000000', 'hex'))).toThrow(DecodeError)
    expect(() => decodeResponse(18, Buffer.from('534f4b5320ffffffffffffffff', 'hex'))).toThrow(DecodeError)
  })
})

describe('commands', () => {
  it('SEND skips flags that later versions may add', () => {
    const command = decodeCommand(18, Buffer.from('SEND Txyz body with spaces'))
    expect(command).toEqual({ type: 'SEND', flags: { notification: true }, body: Buffer.from('body with spaces') })
    expect(Buffer.from(encodeCommand(18, command)).toString()).toBe('SEND T body with spaces')
  })

  it('SEND takes an empty body', () => {
    expect(decodeCommand(18, Buffer.from('SEND F '))).toMatchObject({ body: Buffer.alloc(0) })
  })

  it('keys of algorithms that cannot authorize are refused', () => {
    const x448 = Buffer.from(`3042300506032b656f033900${'01'.repeat(56)}`, 'hex')
    const bytes = Buffer.concat([Buffer.from('KEY '), Buffer.of(x448.length), x448])
    expect(() => decodeCommand(18, bytes)).toThrow(DecodeError)
  })
})
