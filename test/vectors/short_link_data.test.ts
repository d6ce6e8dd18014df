import { describe, expect, it } from 'vitest'
import { sha3_256 } from '../../src/crypto/hash.js'
import { verify } from '../../src/crypto/sign.js'
import { decodeAll, parseVersionRange } from '../../src/encoding/index.js'
import {
  encodeConnectionRequest,
  formatConnectionRequest,
  parseConnectionRequest,
  readConnectionRequest,
} from '../../src/smp/protocol/connectionRequest.js'
import {
  decodeFixedLinkData,
  decodeSignedUserLinkData,
  decodeUserLinkData,
  encodeFixedLinkData,
  encodeLinkOwner,
  encodeSignedUserLinkData,
  encodeUserLinkData,
  readLinkOwner,
} from '../../src/smp/protocol/shortLinkData.js'
import {
  checkLinkOwners,
  contactLinkKeys,
  invitationLinkKey,
  linkDataKey,
  openLinkData,
  sealFixedLinkData,
  sealUserLinkData,
  signFixedLinkData,
  signUserLinkData,
} from '../../src/smp/protocol/shortLinkKeys.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('short_link_data')
const cases: [string, Vector][] = vectors['cases'].map((v: Vector) => [v['name'], v])
const rootKeys = { publicKey: hex(vectors['rootKey']['pubRaw']), privateKey: hex(vectors['rootKey']['privRaw']) }
const agentVersions = parseVersionRange('2-7')
const modeOf = (v: Vector) => (v['connReqUri'].startsWith('simplex:/contact') ? 'contact' : 'invitation')
const entityOf = (v: Vector) => (v['linkEntityId'] === null ? {} : { entityId: hex(v['linkEntityId']) })
/** What stands behind the signature. */
const unsigned = (v: Vector, name: string): Uint8Array => {
  const bytes = hex(v[name])
  return bytes.subarray(1 + (bytes[0] ?? 0))
}
/** The nonce that the reference drew: the first bytes of what it encrypted. */
const nonceOf = (v: Vector, name: string) => () => hex(v[name]).subarray(0, 24)

describe('short_link_data: plain encodings', () => {
  it.each(cases)('%s: the link in the fixed data is read and written again', (_, v) => {
    const request = parseConnectionRequest(v['connReqUri'])
    expect(formatConnectionRequest(request)).toBe(v['connReqUri'])
    expect(decodeAll(encodeConnectionRequest(request), 'request', readConnectionRequest)).toEqual(request)
    // The signature stands before the data, and the binary link inside of it.
    expect(v['signedFixedData']).toContain(toHex(encodeConnectionRequest(request)))
  })

  it.each(cases)('%s: the fixed data is read and written again', (_, v) => {
    const fixed = decodeFixedLinkData(unsigned(v, 'signedFixedData'))
    const request = parseConnectionRequest(v['connReqUri'])
    expect(fixed).toEqual({ agentVersions, rootKey: rootKeys.publicKey, request, ...entityOf(v) })
    expect(toHex(encodeFixedLinkData(fixed))).toBe(toHex(unsigned(v, 'signedFixedData')))
  })

  it.each(cases)('%s: the user data is read and written again, with and without versions', (_, v) => {
    const data = decodeUserLinkData(hex(v['userLinkData']))
    expect(toHex(encodeUserLinkData(data))).toBe(v['userLinkData'])
    expect(data.mode).toBe(modeOf(v))
    const signed = decodeSignedUserLinkData(unsigned(v, 'signedUserData'))
    expect(signed).toEqual({ agentVersions, data })
    expect(toHex(encodeSignedUserLinkData(signed))).toBe(toHex(unsigned(v, 'signedUserData')))
  })

  it('an owner is read, written again and authorized by the root key', () => {
    const owner = decodeAll(hex(vectors['owner']['encoded']), 'owner', readLinkOwner)
    expect(toHex(encodeLinkOwner(owner))).toBe(vectors['owner']['encoded'])
    expect(toHex(owner.ownerId)).toBe(vectors['owner']['ownerId'])
    expect(toHex(owner.signature)).toBe(vectors['owner']['signature'])
    expect(vectors['owner']['ownerKeyDer']).toContain(toHex(owner.ownerKey))
    expect(() => checkLinkOwners(rootKeys.publicKey, [owner])).not.toThrow()
  })
})

describe('short_link_data: keys, signatures and encryption', () => {
  it.each(vectors['kdf'].map((v: Vector) => [v['linkKey'], v]) as [string, Vector][])('keys of %s', (_, v) => {
    const { linkId, dataKey } = contactLinkKeys(hex(v['linkKey']))
    expect([toHex(linkId), toHex(dataKey)]).toEqual([v['contactLinkId'], v['contactSbKey']])
    expect(toHex(invitationLinkKey(hex(v['linkKey'])))).toBe(v['invitationSbKey'])
  })

  it.each(cases)('%s: the link key is the hash of the fixed data, and gives the key of the data', (_, v) => {
    expect(toHex(sha3_256(unsigned(v, 'signedFixedData')))).toBe(v['linkKey'])
    expect(toHex(linkDataKey(modeOf(v), hex(v['linkKey'])))).toBe(v['sbKey'])
  })

  it.each(cases)('%s: is signed as the reference does', (_, v) => {
    const request = parseConnectionRequest(v['connReqUri'])
    const { linkKey, signed } = signFixedLinkData(rootKeys, { agentVersions, request, ...entityOf(v) })
    expect([toHex(linkKey), toHex(signed)]).toEqual([v['linkKey'], v['signedFixedData']])
    const data = decodeUserLinkData(hex(v['userLinkData']))
    expect(toHex(signUserLinkData(rootKeys.privateKey, agentVersions, data))).toBe(v['signedUserData'])
    const [signature, encoded] = [signed.subarray(1, 65), signed.subarray(65)]
    expect(verify('ed25519', rootKeys.publicKey, encoded, signature)).toBe(true)
  })

  it.each(cases)('%s: is encrypted as the reference does', (_, v) => {
    const key = hex(v['sbKey'])
    const fixed = sealFixedLinkData(key, hex(v['signedFixedData']), nonceOf(v, 'encFixedData'))
    const user = sealUserLinkData(key, hex(v['signedUserData']), nonceOf(v, 'encUserData'))
    expect([toHex(fixed), toHex(user)]).toEqual([v['encFixedData'], v['encUserData']])
    expect([fixed.length, user.length]).toEqual([2_048, 13_824])
  })

  it.each(cases)('%s: is opened and verified', (_, v) => {
    const data = { fixedData: hex(v['encFixedData']), userData: hex(v['encUserData']) }
    const { fixed, user } = openLinkData(modeOf(v), hex(v['linkKey']), data)
    expect(formatConnectionRequest(fixed.request)).toBe(v['connReqUri'])
    expect(toHex(encodeUserLinkData(user.data))).toBe(v['userLinkData'])
  })
})
