/**
 * The hellos that router and client exchange in the first blocks of a connection: each is the content of one padded block. Bytes after
 * what this version knows are ignored, so that later versions can add to them (T: "SMP transport handshake").
 */
import { equalConstantTime, sha256 } from '../../crypto/hash.js'
import {
  ascii,
  type Bytes,
  bool,
  concat,
  encodeVersionRange,
  includesVersion,
  intersect,
  maybe,
  Reader,
  readVersionRange,
  short,
  type VersionRange,
  word16,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import { encodeDhKey, readDhKey } from './fields.js'
import { encodeSignedRouterKey, readSignedRouterKey, type SignedRouterKey } from './responses.js'
import type { TransportErrorWord } from './routerErrors.js'
import { verifySignedKey } from './signedKey.js'
import { encodeTransportError, readTransportError, transportErrorOf } from './transportErrors.js'
import { VERSION_SERVICE_CERTS } from './versions.js'

/** The first block: what the router speaks and who it is. */
export interface RouterHello {
  readonly versionRange: VersionRange
  /** The id of the TLS session as the router sees it. */
  readonly sessionId: Bytes
  /** The X25519 session key, signed by the leaf certificate. Every router that we talk to sends it. */
  readonly routerKey?: SignedRouterKey | undefined
}

/** The second block: what the client chose. */
export interface ClientHello {
  readonly version: number
  /** The router's identity as the client knows it: SHA-256 of its CA certificate. */
  readonly keyHash: Bytes
  /** The raw X25519 session key; without it blocks are not encrypted. */
  readonly clientKey?: Bytes | undefined
  /** From 14 on: the client is a router that forwards for others. */
  readonly proxy: boolean
  /** From 16 on: the client is a service, and waits for a third block. */
  readonly service?: ServiceHello | undefined
}

export type ServiceRole = 'messaging' | 'notifier' | 'proxy'

export interface ServiceHello {
  readonly role: ServiceRole
  /** The Ed25519 session key, signed by the leaf of the client's certificate chain. */
  readonly serviceKey: SignedRouterKey
}

/** The third block, to services only. */
export type ServiceAnswer = { readonly serviceId: Bytes } | { readonly error: TransportErrorWord }

/** From this version on hellos carry session keys. */
const VERSION_SESSION_KEYS = 7
/** From this version on the client says whether it is a proxy. */
const VERSION_PROXY_FLAG = 14
/** A raw X25519 key as DER behind its length starts so; `T` and `F`, which may stand in its place, differ. */
const DH_KEY_LENGTH = 44

/** The content of the router's first block. */
export const encodeRouterHello = ({ versionRange, sessionId, routerKey }: RouterHello): Bytes =>
  concat(
    encodeVersionRange(versionRange),
    short(sessionId, 'sessionId'),
    versionRange.max < VERSION_SESSION_KEYS || routerKey === undefined ? NOTHING : encodeSignedRouterKey(routerKey),
  )

/** Reads the router's first block. Throws `TRANSPORT_HANDSHAKE`. */
export const decodeRouterHello = (content: Bytes): RouterHello =>
  parse(content, 'routerHello', reader => {
    const versionRange = readVersionRange(reader)
    const sessionId = reader.short('sessionId')
    const hasKey = versionRange.max >= VERSION_SESSION_KEYS && reader.remaining > 0
    return { versionRange, sessionId, ...(hasKey ? { routerKey: readSignedRouterKey(reader) } : {}) }
  })

/** The content of the client's block. */
export const encodeClientHello = ({ version, keyHash, clientKey, proxy, service }: ClientHello): Bytes =>
  concat(
    word16(version, 'version'),
    short(keyHash, 'keyHash'),
    version < VERSION_SESSION_KEYS || clientKey === undefined ? NOTHING : encodeDhKey(clientKey),
    version < VERSION_PROXY_FLAG ? NOTHING : bool(proxy),
    version < VERSION_SERVICE_CERTS ? NOTHING : maybe(service, encodeServiceHello),
  )

/** Reads the client's block. Throws `TRANSPORT_HANDSHAKE`. */
export const decodeClientHello = (content: Bytes): ClientHello =>
  parse(content, 'clientHello', reader => {
    const version = reader.word16('version')
    const keyHash = reader.short('keyHash')
    // The key is optional and nothing says whether it is there but its first byte.
    const hasKey = version >= VERSION_SESSION_KEYS && reader.peek() === DH_KEY_LENGTH
    const clientKey = hasKey ? readDhKey(reader, 'clientKey') : undefined
    const proxy = version >= VERSION_PROXY_FLAG && reader.bool('proxy')
    const service = version < VERSION_SERVICE_CERTS ? undefined : reader.maybe(readServiceHello, 'service')
    return {
      version,
      keyHash,
      proxy,
      ...(clientKey === undefined ? {} : { clientKey }),
      ...(service === undefined ? {} : { service }),
    }
  })

/** The content of the router's block for a service. */
export const encodeServiceAnswer = (answer: ServiceAnswer): Bytes =>
  'error' in answer
    ? concat(ascii('E'), encodeTransportError(answer.error))
    : concat(ascii('R'), short(answer.serviceId, 'serviceId'))

/** Reads the router's block for a service. Throws `TRANSPORT_HANDSHAKE`. */
export const decodeServiceAnswer = (content: Bytes): ServiceAnswer =>
  parse(content, 'serviceAnswer', reader => {
    const tag = String.fromCharCode(reader.byte('tag'))
    if (tag === 'R') return { serviceId: reader.short('serviceId') }
    return tag === 'E' ? { error: readTransportError(reader) } : reader.fail('tag', 'must be R or E')
  })

/** The highest version that both speak. Throws `TRANSPORT_VERSION`. */
export const agreeVersion = (offered: VersionRange, own: VersionRange): number => {
  const common = intersect(offered, own)
  if (common === undefined) throw transportErrorOf('VERSION', 'versionRange')
  return common.max
}

/**
 * The client's check of the router's hello; the answer is the router's raw X25519 session key.
 * Throws `TRANSPORT_SESSION` (made for another TLS session), `TRANSPORT_IDENTITY` (chain of another router), `TRANSPORT_HANDSHAKE`
 * (no key, or one that the leaf certificate did not sign).
 * @param tls the session id and the leaf certificate (DER) as the TLS layer has seen them
 */
export const verifyRouterHello = (
  { sessionId, routerKey }: RouterHello,
  keyHash: Bytes,
  tls: { readonly sessionId: Bytes; readonly leafCertificate: Bytes },
): Bytes => {
  if (!equalConstantTime(sessionId, tls.sessionId)) throw transportErrorOf('SESSION', 'sessionId')
  if (routerKey === undefined) throw transportErrorOf('HANDSHAKE BAD_AUTH', 'routerKey')
  const identity = identityHash(routerKey.certificates)
  if (identity === undefined || !equalConstantTime(identity, keyHash)) {
    throw transportErrorOf('HANDSHAKE IDENTITY', 'keyHash')
  }
  return verifySignedKey(routerKey.signedKey, tls.leafCertificate, 'x25519').raw
}

/** The router's check of the client's hello. Throws `TRANSPORT_IDENTITY`, `TRANSPORT_VERSION`. */
export const checkClientHello = (hello: ClientHello, keyHash: Bytes, versions: VersionRange): void => {
  if (!equalConstantTime(hello.keyHash, keyHash)) throw transportErrorOf('HANDSHAKE IDENTITY', 'keyHash')
  if (!includesVersion(versions, hello.version)) throw transportErrorOf('VERSION', 'version')
}

/** The identity that a chain proves: SHA-256 of its whole second certificate. Chains have 2, 3 or 4; others prove none. */
export const identityHash = (certificates: readonly Bytes[]): Bytes | undefined => {
  const identity = certificates.length <= 4 ? certificates[1] : undefined
  return identity === undefined ? undefined : sha256(identity)
}

const ROLES: Readonly<Record<ServiceRole, string>> = { messaging: 'M', notifier: 'N', proxy: 'P' }

const encodeServiceHello = ({ role, serviceKey }: ServiceHello): Bytes =>
  concat(ascii(ROLES[role]), encodeSignedRouterKey(serviceKey))

const readServiceHello = (reader: Reader): ServiceHello => {
  const tag = String.fromCharCode(reader.byte('serviceRole'))
  const role = (Object.keys(ROLES) as ServiceRole[]).find(known => ROLES[known] === tag)
  if (role === undefined) return reader.fail('serviceRole', 'must be M, N or P')
  return { role, serviceKey: readSignedRouterKey(reader) }
}

const parse = <T>(content: Bytes, what: string, read: (reader: Reader) => T): T => {
  try {
    return read(new Reader(content, what))
  } catch (error) {
    if (error instanceof DecodeError) throw transportErrorOf('HANDSHAKE PARSE', error.field ?? what, error)
    throw error
  }
}

const NOTHING: Bytes = Buffer.alloc(0)
