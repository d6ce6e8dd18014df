/**
 * Short links: keys, signatures and encryption of their data (SL). The link holds one key, the hash of the fixed data: what it does not hash to
 * is not its data, whoever keeps it. The router sees the encrypted data only, and its id.
 */
import { NONCE_BYTES, sbDecrypt, sbEncrypt } from '../../crypto/box.js'
import { equalConstantTime, hkdfSha512, sha3_256, sha3_384 } from '../../crypto/hash.js'
import { encodePublicKey, generateKeyPair, type KeyPair } from '../../crypto/keys.js'
import type { Random } from '../../crypto/random.js'
import { sign, verify } from '../../crypto/sign.js'
import { type Bytes, concat, Reader, short, toBase64urlUnpadded, type VersionRange } from '../../encoding/index.js'
import { CryptoError, EncodeError } from '../../errors.js'
import type { ConnectionMode } from './connectionRequest.js'
import type { LinkData } from './fields.js'
import type { RouterAddress } from './routerAddress.js'
import {
  decodeFixedLinkData,
  decodeSignedUserLinkData,
  encodeFixedLinkData,
  encodeSignedUserLinkData,
  type FixedLinkData,
  type LinkOwner,
  type SignedUserLinkData,
  type UserLinkData,
} from './shortLinkData.js'

/** To what lengths signed data is padded: encrypted, 2,048 and 13,824 bytes. */
const FIXED_PADDING = 2_008
const USER_PADDING = 13_784
const LENGTH_BYTES = 2
/** With one byte of length. */
const SIGNATURE_BYTES = 65
const ID_BYTES = 24
const KEY_BYTES = 32
/** The key that a link holds: SHA3-256. */
export const LINK_KEY_BYTES = 32

/** The id of a contact link and the key of its data. */
export const contactLinkKeys = (linkKey: Bytes): { linkId: Bytes; dataKey: Bytes } => {
  const derived = hkdfSha512(NOTHING, linkKey, 'SimpleXContactLink', ID_BYTES + KEY_BYTES)
  return { linkId: derived.subarray(0, ID_BYTES), dataKey: derived.subarray(ID_BYTES) }
}

/** The key of an invitation link's data; its id is the router's. */
export const invitationLinkKey = (linkKey: Bytes): Bytes => hkdfSha512(NOTHING, linkKey, 'SimpleXInvLink', KEY_BYTES)

/** The key of a link's data. */
export const linkDataKey = (mode: ConnectionMode, linkKey: Bytes): Bytes =>
  mode === 'contact' ? contactLinkKeys(linkKey).dataKey : invitationLinkKey(linkKey)

/** The sender id of a queue that is made with link data: of the correlation id of its NEW. Routers refuse others. */
export const linkSenderId = (corrId: Bytes): Bytes => sha3_384(corrId).subarray(0, ID_BYTES)

/** The fixed data signed with its root key, and the link key that it hashes to. */
export const signFixedLinkData = (
  rootKeys: KeyPair,
  data: Omit<FixedLinkData, 'rootKey'>,
): { linkKey: Bytes; signed: Bytes } => {
  const encoded = encodeFixedLinkData({ ...data, rootKey: rootKeys.publicKey })
  return { linkKey: sha3_256(encoded), signed: signed(rootKeys.privateKey, encoded) }
}

/** The user data signed with the root key, or with an owner's: raw Ed25519. */
export const signUserLinkData = (privateKey: Bytes, agentVersions: VersionRange, data: UserLinkData): Bytes =>
  signed(privateKey, encodeSignedUserLinkData({ agentVersions, data }))

/** Whether user data is short enough to be signed and sealed. Throws EncodeError `LARGE_MSG`. */
export const checkUserLinkData = (agentVersions: VersionRange, data: UserLinkData): void => {
  const { length } = encodeSignedUserLinkData({ agentVersions, data })
  const limit = USER_PADDING - LENGTH_BYTES - SIGNATURE_BYTES
  if (length > limit)
    throw new EncodeError('LARGE_MSG', 'the link data is too long', { field: 'linkData', facts: { length, limit } })
}

const signed = (privateKey: Bytes, encoded: Bytes): Bytes =>
  concat(short(sign('ed25519', privateKey, encoded)), encoded)

/** Encrypts signed fixed data: always 2,048 bytes. Throws `LARGE_MSG`. */
export const sealFixedLinkData = (dataKey: Bytes, signedData: Bytes, random: Random): Bytes =>
  seal(dataKey, signedData, FIXED_PADDING, random)

/** Encrypts signed user data: always 13,824 bytes. Throws `LARGE_MSG`. */
export const sealUserLinkData = (dataKey: Bytes, signedData: Bytes, random: Random): Bytes =>
  seal(dataKey, signedData, USER_PADDING, random)

const seal = (dataKey: Bytes, signedData: Bytes, padding: number, random: Random): Bytes => {
  const nonce = random(NONCE_BYTES)
  return concat(nonce, sbEncrypt(dataKey, nonce, signedData, padding))
}

/** The data of a link, proven to be its own. */
export interface OpenedLinkData {
  readonly fixed: FixedLinkData
  readonly user: SignedUserLinkData
}

/**
 * Opens the data that a router keeps for a link.
 *
 * @throws CryptoError CRYPTO_BOX (another link's data, or damaged), CRYPTO_LINK_HASH (fixed data that the link does not name),
 * CRYPTO_LINK_SIGNATURE (`field` says of which part), CRYPTO_LINK_OWNER (an owner that nobody authorized); DecodeError
 */
export const openLinkData = (mode: ConnectionMode, linkKey: Bytes, data: LinkData): OpenedLinkData => {
  const dataKey = linkDataKey(mode, linkKey)
  const fixedPart = open(dataKey, data.fixedData, 'fixedData')
  if (!equalConstantTime(sha3_256(fixedPart.encoded), linkKey)) {
    throw linkError('HASH', 'the data is not what the link names', 'fixedData')
  }
  const fixed = decodeFixedLinkData(fixedPart.encoded)
  if (!isSignedBy(fixed.rootKey, fixedPart)) throw badSignature('fixedData')
  const userPart = open(dataKey, data.userData, 'userData')
  const user = decodeSignedUserLinkData(userPart.encoded)
  if (fixed.request.mode !== mode || user.data.mode !== mode) {
    throw linkError('MODE', 'the data is of another kind than the link', 'userData')
  }
  const owners = user.data.mode === 'contact' ? user.data.owners : []
  checkLinkOwners(fixed.rootKey, owners)
  const signers = [fixed.rootKey, ...owners.map(({ ownerKey }) => ownerKey)]
  if (!signers.some(key => isSignedBy(key, userPart))) throw badSignature('userData')
  return { fixed, user }
}

interface SignedPart {
  readonly signature: Bytes
  readonly encoded: Bytes
}

const open = (dataKey: Bytes, data: Bytes, field: string): SignedPart => {
  const reader = new Reader(data, field)
  const nonce = reader.take(NONCE_BYTES, 'nonce')
  const content = new Reader(sbDecrypt(dataKey, nonce, reader.rest()), field)
  return { signature: content.short('signature'), encoded: content.rest() }
}

const isSignedBy = (key: Bytes, { signature, encoded }: SignedPart): boolean =>
  verify('ed25519', key, encoded, signature)

/**
 * A new owner of a contact link: authorized by the root key or another owner's (raw private Ed25519). Whoever holds `privateKey` may sign
 * user data that names this owner.
 */
export const newLinkOwner = (
  ownerId: Bytes,
  authorizedBy: Bytes,
  random: Random,
): { owner: LinkOwner; privateKey: Bytes } => {
  const { publicKey, privateKey } = generateKeyPair('ed25519', random)
  const signature = sign('ed25519', authorizedBy, ownerBytes(ownerId, publicKey))
  return { owner: { ownerId, ownerKey: publicKey, signature }, privateKey }
}

const ownerBytes = (ownerId: Bytes, ownerKey: Bytes): Bytes => concat(ownerId, encodePublicKey('ed25519', ownerKey))

/**
 * Checks that every owner is authorized by the root key or by an owner before it, and that no id or key comes twice.
 * Throws CryptoError CRYPTO_LINK_OWNER.
 */
export const checkLinkOwners = (rootKey: Bytes, owners: readonly LinkOwner[]): void => {
  for (const [i, owner] of owners.entries()) {
    const before = owners.slice(0, i)
    if (same(owner.ownerKey, rootKey)) throw badOwner(owner, 'has the root key')
    if (before.some(({ ownerId, ownerKey }) => same(ownerId, owner.ownerId) || same(ownerKey, owner.ownerKey))) {
      throw badOwner(owner, 'comes twice, or with the key of another one')
    }
    const encoded = ownerBytes(owner.ownerId, owner.ownerKey)
    const authorizers = [rootKey, ...before.map(({ ownerKey }) => ownerKey)]
    if (!authorizers.some(key => isSignedBy(key, { signature: owner.signature, encoded }))) {
      throw badOwner(owner, 'is authorized by nobody')
    }
  }
}

/**
 * The fixed data of a link whose request leads to the queue that the router named: at this router and with this sender id. The request then has
 * the link's own address of the router, as the data may name it by other hosts. Throws CryptoError CRYPTO_LINK_ADDRESS.
 */
export const atLinkAddress = (fixed: FixedLinkData, router: RouterAddress, senderId: Bytes): FixedLinkData => {
  const { request } = fixed
  const [queue, ...others] = request.queues
  const [host] = router.hosts
  if (
    queue === undefined ||
    host === undefined ||
    !queue.address.router.hosts.includes(host) ||
    !same(queue.address.senderId, senderId)
  ) {
    throw linkError('ADDRESS', 'the link leads to another queue than its data', 'fixedData')
  }
  const queues = [{ ...queue, address: { ...queue.address, router } }, ...others]
  return { ...fixed, request: { ...request, queues } }
}

const same = (a: Bytes, b: Bytes): boolean => Buffer.compare(a, b) === 0

const badSignature = (field: string): CryptoError =>
  linkError('SIGNATURE', 'the data is not signed by its owner', field)

const badOwner = ({ ownerId }: LinkOwner, problem: string): CryptoError =>
  linkError('OWNER', `an owner ${problem}`, `owner ${toBase64urlUnpadded(ownerId)}`)

const linkError = (
  code: 'HASH' | 'SIGNATURE' | 'OWNER' | 'ADDRESS' | 'MODE',
  message: string,
  field: string,
): CryptoError => new CryptoError(`CRYPTO_LINK_${code}`, message, { field, hint: 'ask for a new link' })

const NOTHING: Bytes = Buffer.alloc(0)
