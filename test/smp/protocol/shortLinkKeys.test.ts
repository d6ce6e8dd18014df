import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generateKeyPair, type KeyPair, systemRandom } from '../../../src/crypto/index.js'
import { DuologueError } from '../../../src/errors.js'
import type { ConnectionRequest } from '../../../src/smp/protocol/connectionRequest.js'
import type { LinkData } from '../../../src/smp/protocol/fields.js'
import type { ShortContact } from '../../../src/smp/protocol/shortLink.js'
import {
  type ContactUserData,
  decodeFixedLinkData,
  decodeSignedUserLinkData,
  decodeUserLinkData,
  encodeFixedLinkData,
  encodeSignedUserLinkData,
  encodeUserLinkData,
  type LinkOwner,
  type UserLinkData,
} from '../../../src/smp/protocol/shortLinkData.js'
import {
  atLinkAddress,
  linkDataKey,
  linkSenderId,
  newLinkOwner,
  openLinkData,
  sealFixedLinkData,
  sealUserLinkData,
  signFixedLinkData,
  signUserLinkData,
} from '../../../src/smp/protocol/shortLinkKeys.js'
import { anyBytes, mutated, survives } from './arbitraries.js'

const agentVersions = { min: 2, max: 7 }
const router = { keyHash: Buffer.alloc(32, 1), hosts: ['smp.example.com', 'onion.onion'], port: '5223' }
const queueOf = (mode: 'messaging' | 'contact') => ({
  clientVersions: { min: 1, max: 4 },
  address: { router, senderId: Buffer.alloc(24, 2), dhKey: generateKeyPair('x25519').publicKey, mode },
})
const contact: ConnectionRequest = { mode: 'contact', agentVersions, queues: [queueOf('contact')] }
const invitation: ConnectionRequest = {
  mode: 'invitation',
  agentVersions,
  queues: [queueOf('messaging')],
  e2e: {
    versionRange: { min: 2, max: 3 },
    key1: generateKeyPair('x448').publicKey,
    key2: generateKeyPair('x448').publicKey,
  },
}

interface Link {
  readonly root: KeyPair
  readonly linkKey: Uint8Array
  readonly dataKey: Uint8Array
  readonly fixedData: Uint8Array
}

const newLink = (request: ConnectionRequest, root = generateKeyPair('ed25519')): Link => {
  const { linkKey, signed } = signFixedLinkData(root, { agentVersions, request })
  const dataKey = linkDataKey(request.mode, linkKey)
  return { root, linkKey, dataKey, fixedData: sealFixedLinkData(dataKey, signed, systemRandom) }
}

const withUserData = (
  { dataKey, fixedData, root }: Link,
  data: UserLinkData,
  privateKey = root.privateKey,
): LinkData => ({
  fixedData,
  userData: sealUserLinkData(dataKey, signUserLinkData(privateKey, agentVersions, data), systemRandom),
})

const contactData = (owners: readonly LinkOwner[] = [], text = 'user data'): ContactUserData => ({
  mode: 'contact',
  direct: true,
  owners,
  relays: [],
  userData: Buffer.from(text),
})

const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof DuologueError) return `${error.code} ${error.field}`
    throw error
  }
  return 'opened'
}

describe('B10 data of short links', () => {
  it('B10 of invitations and contacts opens to what was sealed, with owners, relays and data of any length', () => {
    const relay: ShortContact = {
      mode: 'contact',
      contactType: 'relay',
      scheme: 'https',
      router,
      linkKey: Buffer.alloc(32, 4),
    }
    const root = generateKeyPair('ed25519')
    const owners = [newLinkOwner(Buffer.from('member'), root.privateKey, systemRandom).owner]
    const bytes = fc.uint8Array({ maxLength: 12_000, size: 'max' }).map(value => Buffer.from(value))
    const users: fc.Arbitrary<UserLinkData> = fc.oneof(
      fc.record({ mode: fc.constant('invitation' as const), userData: bytes }),
      fc.record({
        mode: fc.constant('contact' as const),
        direct: fc.boolean(),
        owners: fc.constantFrom([], owners),
        relays: fc.constantFrom([], [relay, relay]),
        userData: bytes,
      }),
    )
    fc.assert(
      fc.property(users, data => {
        const link = newLink(data.mode === 'contact' ? contact : invitation, root)
        const { fixed, user } = openLinkData(data.mode, link.linkKey, withUserData(link, data))
        expect(user).toEqual({ agentVersions, data })
        expect(fixed.request.mode).toBe(data.mode)
        expect(Buffer.compare(fixed.rootKey, root.publicKey)).toBe(0)
      }),
      { numRuns: 100 },
    )
  })

  it('B10 may be replaced by the owner, and by nobody else', () => {
    const link = newLink(contact)
    const changed = withUserData(link, contactData([], 'changed'))
    const { user } = openLinkData('contact', link.linkKey, changed)
    expect(Buffer.from(user.data.userData).toString()).toBe('changed')
    const stranger = generateKeyPair('ed25519').privateKey
    const forged = withUserData(link, contactData(), stranger)
    expect(codeOf(() => openLinkData('contact', link.linkKey, forged))).toBe('CRYPTO_LINK_SIGNATURE userData')
  })

  it('B10 that a router exchanges does not open: other data, or its own under the right key', () => {
    const [link, other] = [newLink(contact), newLink(contact)]
    const opened = (data: LinkData): string => codeOf(() => openLinkData('contact', link.linkKey, data))
    expect(opened(withUserData(other, contactData()))).toMatch(/^CRYPTO_BOX/)
    // Whoever knows the link can seal, but not what the link hashes to.
    const made = signFixedLinkData(other.root, { agentVersions, request: contact }).signed
    const fixedData = sealFixedLinkData(link.dataKey, made, systemRandom)
    expect(opened({ ...withUserData(link, contactData()), fixedData })).toBe('CRYPTO_LINK_HASH fixedData')
    const unsignedFixed = Buffer.from(signFixedLinkData(link.root, { agentVersions, request: contact }).signed)
    unsignedFixed[5] = (unsignedFixed[5] as number) ^ 1
    const badSignature = sealFixedLinkData(link.dataKey, unsignedFixed, systemRandom)
    expect(opened({ ...withUserData(link, contactData()), fixedData: badSignature })).toBe(
      'CRYPTO_LINK_SIGNATURE fixedData',
    )
  })

  it('B10 of one kind does not open as the other', () => {
    const link = newLink(contact)
    const data = withUserData(link, contactData())
    expect(codeOf(() => openLinkData('invitation', link.linkKey, data))).toMatch(/^CRYPTO_BOX/)
    const mixed = withUserData(link, { mode: 'invitation', userData: Buffer.alloc(0) })
    expect(codeOf(() => openLinkData('contact', link.linkKey, mixed))).toBe('CRYPTO_LINK_MODE userData')
  })

  it('B10 that is damaged in any bit does not open', () => {
    const link = newLink(contact)
    const data = withUserData(link, contactData())
    fc.assert(
      fc.property(fc.constantFrom('fixedData' as const, 'userData' as const), fc.nat(), (part, at) => {
        const bytes = Buffer.from(data[part])
        const bit = at % (bytes.length * 8)
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
        return codeOf(() => openLinkData('contact', link.linkKey, { ...data, [part]: bytes })).startsWith('CRYPTO_BOX')
      }),
    )
  })

  it('B10 is limited to what its padding takes', () => {
    const link = newLink(contact)
    const room = 13_784 - 2 - 65 - 1 - 4 - 1 - 1 - 1 - 3
    const data = (length: number) => contactData([], 'x'.repeat(length))
    expect(withUserData(link, data(room)).userData.length).toBe(13_824)
    expect(codeOf(() => withUserData(link, data(room + 1)))).toBe('LARGE_MSG message')
  })
})

describe('B10 owners of contact links', () => {
  const link = newLink(contact)
  const owner = (authorizedBy: Uint8Array, id = systemRandom(16)) => newLinkOwner(id, authorizedBy, systemRandom)
  const opened = (owners: readonly { owner: LinkOwner }[], signer = link.root.privateKey): string =>
    codeOf(() => {
      const data = contactData(owners.map(each => each.owner))
      openLinkData('contact', link.linkKey, withUserData(link, data, signer))
    })
  const refused = expect.stringMatching(/^CRYPTO_LINK_OWNER /)

  it('B10 may sign when the root key, or an owner before them, has authorized them', () => {
    const first = owner(link.root.privateKey)
    const second = owner(link.root.privateKey)
    const third = owner(first.privateKey)
    const fourth = owner(third.privateKey)
    const all = [first, second, third, fourth]
    for (const signer of [link.root, ...all]) expect(opened(all, signer.privateKey)).toBe('opened')
    const stranger = generateKeyPair('ed25519').privateKey
    expect(opened(all, stranger)).toBe('CRYPTO_LINK_SIGNATURE userData')
    // Without being named in the data an owner is a stranger.
    expect(opened([first], second.privateKey)).toBe('CRYPTO_LINK_SIGNATURE userData')
  })

  it('B10 are refused with the root key, an id or key that comes twice, and in the wrong order', () => {
    const first = owner(link.root.privateKey)
    const second = owner(link.root.privateKey)
    const third = owner(first.privateKey)
    const withRoot = { owner: { ...first.owner, ownerKey: link.root.publicKey } }
    expect(opened([withRoot])).toEqual(refused)
    expect(opened([first, { owner: { ...second.owner, ownerId: first.owner.ownerId } }])).toEqual(refused)
    expect(opened([first, { owner: { ...second.owner, ownerKey: first.owner.ownerKey } }])).toEqual(refused)
    expect(opened([first, second, third])).toBe('opened')
    expect(opened([first, third, second])).toBe('opened')
    expect(opened([third, first, second])).toEqual(refused)
    const byStranger = owner(generateKeyPair('ed25519').privateKey)
    expect(opened([byStranger])).toEqual(refused)
    expect(opened([first, second, third, byStranger])).toEqual(refused)
  })
})

describe('B10 the queue of a link', () => {
  const fixed = decodeFixedLinkData(
    encodeFixedLinkData({ agentVersions, rootKey: generateKeyPair('ed25519').publicKey, request: contact }),
  )
  const senderId = Buffer.alloc(24, 2)

  it('B10 is the one that the router named, at the router of the link', () => {
    const place = { ...router, hosts: ['onion.onion'], port: '' }
    const { request } = atLinkAddress(fixed, place, senderId)
    expect(request.queues[0]?.address.router).toEqual(place)
  })

  it('B10 is refused at another router, or with another sender id', () => {
    const code = 'CRYPTO_LINK_ADDRESS fixedData'
    expect(codeOf(() => atLinkAddress(fixed, { ...router, hosts: ['elsewhere.com'] }, senderId))).toBe(code)
    expect(codeOf(() => atLinkAddress(fixed, router, Buffer.alloc(24, 3)))).toBe(code)
  })

  it('B10 has the sender id of its correlation id: 24 bytes of SHA3-384', () => {
    const known = '0c63a75b845e4f7d01107d852e4c2485c51a50aaaa94fc61'
    expect(Buffer.from(linkSenderId(Buffer.alloc(0))).toString('hex')).toBe(known)
  })
})

describe('B10 hostile data', () => {
  const bytesOf = (data: UserLinkData) => encodeSignedUserLinkData({ agentVersions, data })
  const { owner } = newLinkOwner(Buffer.from('id'), generateKeyPair('ed25519').privateKey, systemRandom)
  const user = [
    contactData([owner]),
    contactData([], 'x'.repeat(300)),
    { mode: 'invitation', userData: Buffer.of(1) } as const,
  ]

  it('B10 decodes or is a typed error', () => {
    const rootKey = generateKeyPair('ed25519').publicKey
    const fixed = [
      encodeFixedLinkData({ agentVersions, rootKey, request: contact }),
      encodeFixedLinkData({ agentVersions, rootKey, request: contact, entityId: Buffer.alloc(32) }),
    ]
    survives(fc.oneof(anyBytes, mutated(fixed)), decodeFixedLinkData, encodeFixedLinkData)
    survives(fc.oneof(anyBytes, mutated(user.map(bytesOf))), decodeSignedUserLinkData, encodeSignedUserLinkData)
    survives(fc.oneof(anyBytes, mutated(user.map(encodeUserLinkData))), decodeUserLinkData, encodeUserLinkData)
  })

  it('B10 of later versions: what follows is ignored', () => {
    const [first] = user as [ContactUserData]
    const longer = Buffer.concat([bytesOf(first), Buffer.from('more')])
    expect(decodeSignedUserLinkData(longer).data).toEqual(first)
  })
})
