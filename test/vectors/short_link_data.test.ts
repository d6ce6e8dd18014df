import { describe, expect, it } from 'vitest'
import { sha3_256 } from '../../src/crypto/hash.js'
import { decodeAll } from '../../src/encoding/index.js'
import {
  encodeConnectionRequest,
  formatConnectionRequest,
  parseConnectionRequest,
  readConnectionRequest,
} from '../../src/smp/protocol/connectionRequest.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('short_link_data')
const cases: [string, Vector][] = vectors['cases'].map((v: Vector) => [v['name'], v])

describe('short_link_data: plain encodings', () => {
  it.each(cases)('%s: the link in the fixed data is read and written again', (_, v) => {
    const request = parseConnectionRequest(v['connReqUri'])
    expect(formatConnectionRequest(request)).toBe(v['connReqUri'])
    expect(decodeAll(encodeConnectionRequest(request), 'request', readConnectionRequest)).toEqual(request)
    // The signature stands before the data, and the binary link inside of it.
    expect(v['signedFixedData']).toContain(toHex(encodeConnectionRequest(request)))
  })

  it.each(cases)('%s: the link key is the hash of the fixed data', (_, v) => {
    const signed = hex(v['signedFixedData'])
    expect(toHex(sha3_256(signed.subarray(1 + (signed[0] ?? 0))))).toBe(v['linkKey'])
  })
})

it.todo('short_link_data: signatures, owners, keys and encryption of link data (short links come with a later issue)')
