import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  decodeE2ePrivateKeys,
  decodeMessageEncryptKey,
  decodeRatchetState,
  decrypt,
  encodeE2ePrivateKeys,
  encodeMessageEncryptKey,
  encodeRatchetState,
  encryptBody,
  type RatchetState,
} from '../../src/ratchet/index.js'
import { hex, toHex, type Vector } from '../vectors/load.js'
import { readable } from '../vectors/ratchetTranscript.js'

/** What rows hold that were written before the ratchet had a KEM; see its note. */
const stored: Vector = JSON.parse(readFileSync(new URL('storedBefore.json', import.meta.url), 'utf8'))
const states: [string, Vector][] = Object.entries(stored['states'])
const stateOf = (name: string): RatchetState => decodeRatchetState(hex(stored['states'][name].bytes))

describe('rows of the version before the KEM', () => {
  it.each(states)('ratchet: %s', (_, { bytes, state }) => {
    expect(readable(decodeRatchetState(hex(bytes)))).toEqual(state)
    // From a copy of the fields: what was decoded in this process is remembered.
    expect(toHex(encodeRatchetState({ ...decodeRatchetState(hex(bytes)) }))).toBe(bytes)
  })

  it('private X3DH keys', () => {
    const { bytes, keys } = stored['privateKeys']
    expect(readable(decodeE2ePrivateKeys(hex(bytes)))).toEqual(keys)
    expect(toHex(encodeE2ePrivateKeys(decodeE2ePrivateKeys(hex(bytes))))).toBe(bytes)
  })

  it('headers that were advanced', () => {
    const { header, bytes, plaintext, paddedLength } = stored['messageOfInitiator']
    const key = decodeMessageEncryptKey(hex(header))
    expect(toHex(encodeMessageEncryptKey(key))).toBe(header)
    expect(toHex(encryptBody(key, Buffer.from(plaintext), paddedLength))).toBe(bytes)
  })

  it('messages on their way, in order and late', () => {
    const { bytes, plaintext } = stored['messageOfInitiator']
    expect(decrypt(stateOf('joiner, after a turn'), [], hex(bytes)).result).toEqual({
      ok: true,
      plaintext: Buffer.from(plaintext),
    })
    const skipped = stored['skippedKeys'].map((key: Vector) => ({
      headerKey: hex(key['headerKey']),
      messageNumber: key['messageNumber'],
      messageKey: hex(key['messageKey']),
      messageIv: hex(key['messageIv']),
    }))
    const late = hex(stored['skippedMessage'].bytes)
    expect(decrypt(stateOf('initiator, after a turn'), skipped, late).result).toEqual({
      ok: true,
      plaintext: Buffer.from(stored['skippedMessage'].plaintext),
    })
  })
})
