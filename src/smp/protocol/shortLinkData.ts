/**
 * What a short link leads to, as its owner writes it: a part that never changes, and a part that may be replaced. Both are signed and
 * encrypted in `shortLinkKeys.ts`. Bytes after what this version knows are ignored, so that later versions can add to them (AP: FixedLinkData,
 * ConnLinkData).
 */
import { decodePublicKey, encodePublicKey } from '../../crypto/keys.js'
import {
  ascii,
  type Bytes,
  bool,
  concat,
  encodeVersionRange,
  large,
  list,
  Reader,
  readVersionRange,
  short,
  type VersionRange,
} from '../../encoding/index.js'
import {
  type ConnectionMode,
  type ConnectionRequest,
  encodeConnectionRequest,
  readConnectionMode,
  readConnectionRequest,
} from './connectionRequest.js'
import { encodeShortLink, readShortLink, type ShortContact } from './shortLink.js'

/** The part that never changes: the link's key is its hash. */
export interface FixedLinkData {
  readonly agentVersions: VersionRange
  /** The raw Ed25519 key that signs both parts. */
  readonly rootKey: Bytes
  readonly request: ConnectionRequest
  /** Names what the link is of, such as a group; the application's. */
  readonly entityId?: Bytes | undefined
}

/** The part that its owner may replace. */
export type UserLinkData = InvitationUserData | ContactUserData

export interface InvitationUserData {
  readonly mode: 'invitation'
  /** The application's. */
  readonly userData: Bytes
}

export interface ContactUserData {
  readonly mode: 'contact'
  /** Whether the request in the fixed data may be used directly. */
  readonly direct: boolean
  /** Others who may sign this part, each authorized by the root key or by an owner before it. */
  readonly owners: readonly LinkOwner[]
  /** Addresses of relays that take requests for this one. */
  readonly relays: readonly ShortContact[]
  /** The application's. */
  readonly userData: Bytes
}

export interface LinkOwner {
  /** The application's, such as a member's id; unique in its link. */
  readonly ownerId: Bytes
  /** Raw Ed25519. */
  readonly ownerKey: Bytes
  /** Of id and key (DER), by whoever authorized this owner. */
  readonly signature: Bytes
}

export const encodeFixedLinkData = ({ agentVersions, rootKey, request, entityId }: FixedLinkData): Bytes =>
  concat(
    encodeVersionRange(agentVersions),
    encodeSignKey(rootKey),
    encodeConnectionRequest(request),
    entityId === undefined ? NOTHING : short(entityId, 'entityId'),
  )

/** Reads all of the fixed data. Throws `DecodeError`. */
export const decodeFixedLinkData = (bytes: Bytes): FixedLinkData => {
  const reader = new Reader(bytes, 'fixedData')
  const agentVersions = readVersionRange(reader, 'agentVersions')
  const rootKey = readSignKey(reader, 'rootKey')
  const request = readConnectionRequest(reader)
  const length = reader.peek()
  const entityId = length !== undefined && length < reader.remaining ? reader.short('entityId') : undefined
  return { agentVersions, rootKey, request, ...(entityId === undefined ? {} : { entityId }) }
}

/** The user data as an application keeps it: without the versions of the agent that signs it. */
export const encodeUserLinkData = (data: UserLinkData): Bytes => concat(encodeMode(data.mode), encodeContent(data))

/** Reads what `encodeUserLinkData` wrote. Throws `DecodeError`. */
export const decodeUserLinkData = (bytes: Bytes): UserLinkData => {
  const reader = new Reader(bytes, 'userData')
  return readContent(readConnectionMode(reader), reader)
}

/** User data as it stands in a link, with the versions of the agent that signed it. */
export interface SignedUserLinkData {
  readonly agentVersions: VersionRange
  readonly data: UserLinkData
}

export const encodeSignedUserLinkData = ({ agentVersions, data }: SignedUserLinkData): Bytes =>
  concat(encodeMode(data.mode), encodeVersionRange(agentVersions), encodeContent(data))

/** Reads all of the user data of a link. Throws `DecodeError`. */
export const decodeSignedUserLinkData = (bytes: Bytes): SignedUserLinkData => {
  const reader = new Reader(bytes, 'userData')
  const mode = readConnectionMode(reader)
  const agentVersions = readVersionRange(reader, 'agentVersions')
  return { agentVersions, data: readContent(mode, reader) }
}

const encodeMode = (mode: ConnectionMode): Bytes => ascii(mode === 'invitation' ? 'I' : 'C')

const encodeContent = (data: UserLinkData): Bytes =>
  data.mode === 'invitation'
    ? encodeUserData(data.userData)
    : concat(
        bool(data.direct),
        list(data.owners, encodeLinkOwner),
        list(data.relays, encodeShortLink),
        encodeUserData(data.userData),
      )

const readContent = (mode: ConnectionMode, reader: Reader): UserLinkData => {
  if (mode === 'invitation') return { mode, userData: readUserData(reader) }
  return {
    mode,
    direct: reader.bool('direct'),
    owners: reader.list(readLinkOwner, 'owners'),
    relays: reader.list(readRelay, 'relays'),
    userData: readUserData(reader),
  }
}

const readRelay = (reader: Reader): ShortContact => {
  const link = readShortLink(reader)
  return link.mode === 'contact' ? link : reader.fail('relays', 'must be contact addresses')
}

/** Up to 254 bytes behind one byte of length; longer data behind 255 and two bytes. */
const encodeUserData = (userData: Bytes): Bytes =>
  userData.length < LONG ? short(userData) : concat(Buffer.of(LONG), large(userData, 'userData'))

const readUserData = (reader: Reader): Bytes => {
  if (reader.peek() !== LONG) return reader.short('userData')
  reader.byte('userData')
  return reader.large('userData')
}
const LONG = 255

/** An owner, behind a length of its own so that later versions can add to it. */
export const encodeLinkOwner = ({ ownerId, ownerKey, signature }: LinkOwner): Bytes =>
  short(concat(short(ownerId, 'ownerId'), encodeSignKey(ownerKey), short(signature, 'signature')), 'owner')

/** Reads an owner. Throws `DecodeError`. */
export const readLinkOwner = (reader: Reader): LinkOwner => {
  const owner = new Reader(reader.short('owner'), 'owner')
  return {
    ownerId: owner.short('ownerId'),
    ownerKey: readSignKey(owner, 'ownerKey'),
    signature: owner.short('signature'),
  }
}

const encodeSignKey = (raw: Bytes): Bytes => short(encodePublicKey('ed25519', raw))

const readSignKey = (reader: Reader, field: string): Bytes =>
  decodePublicKey(reader.short(field), ['ed25519'], field).raw

const NOTHING: Bytes = Buffer.alloc(0)
