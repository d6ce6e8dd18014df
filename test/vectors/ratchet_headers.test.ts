import { describe, expect, it } from 'vitest'
import type { KemParams } from '../../src/ratchet/index.js'
import { decodeHeader, encodeHeader, paddedHeaderLength } from '../../src/ratchet/wire.js'
import { hex, loadVectors, toHex } from './load.js'
import { readable } from './ratchetTranscript.js'

const vectors = loadVectors('ratchet_headers')
const publicKey = hex(vectors['kemPublicKey'])
const kems: Record<string, KemParams | undefined> = {
  v2: undefined,
  v3_none: undefined,
  v3_proposed: { kind: 'proposed', publicKey },
  v3_accepted: { kind: 'accepted', ciphertext: hex(vectors['kemCiphertext']), publicKey },
}

describe('ratchet_headers.json', () => {
  it.each(Object.entries(kems))('%s both ways', (name, kem) => {
    const version = name === 'v2' ? 2 : 3
    const header = {
      maxVersion: vectors['maxVersion'],
      dhKey: hex(vectors['dhKey'].pubRaw),
      previousCount: vectors['pn'],
      messageNumber: vectors['ns'],
      ...(kem === undefined ? {} : { kem }),
    }
    expect(toHex(encodeHeader(version, header))).toBe(vectors[name])
    expect(readable(decodeHeader(version, hex(vectors[name])))).toEqual(readable(header))
    expect(readable(decodeHeader(version, hex(`${vectors[name]}2323`))), 'room for later fields').toEqual(
      readable(header),
    )
  })

  it('padded lengths', () => {
    const { v2, v3_pqOff, v3_pqOn } = vectors['paddedHeaderLen']
    expect([paddedHeaderLength(2, true), paddedHeaderLength(3, false), paddedHeaderLength(3, true)]).toEqual([
      v2,
      v3_pqOff,
      v3_pqOn,
    ])
  })

  it('no case of the file is left out', () => {
    const used = 'dhKey kemCiphertext kemPublicKey maxVersion ns paddedHeaderLen pn source'.split(' ')
    expect(Object.keys(vectors).sort()).toEqual([...used, ...Object.keys(kems)].sort())
  })
})
