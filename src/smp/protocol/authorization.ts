/** What authorizes a transmission: a signature, or an X25519 authenticator (P: "Authentication and authorization of commands"). */
import { AUTHENTICATOR_BYTES, cbAuthenticate, cbVerify, toNonce } from '../../crypto/box.js'
import { generateKeyPair, type PublicKey } from '../../crypto/keys.js'
import { SIGNATURE_BYTES, sign, verify } from '../../crypto/sign.js'
import { type Bytes, concat } from '../../encoding/index.js'
import { TransportError } from '../../errors.js'

export type AuthorizationAlgorithm = 'ed25519' | 'ed448' | 'x25519'

/** What a client knows of the session, beside the authorized bytes. */
export interface ClientSession {
  readonly corrId: Bytes
  /** The router's raw X25519 session key; only authenticators need it. */
  readonly routerKey?: Bytes | undefined
}

/** The same on the router's side. */
export interface RouterSession {
  readonly corrId: Bytes
  /** The raw private X25519 session key. */
  readonly routerPrivateKey: Bytes
}

/**
 * Authorizes what `authorizedBytes` gave with a raw private key. Throws `TRANSPORT_NO_AUTH` for an X25519 key when the router showed no
 * session key, `CRYPTO_KEY_SIZE`.
 */
export const authorize = (
  algorithm: AuthorizationAlgorithm,
  privateKey: Bytes,
  authorized: Bytes,
  { corrId, routerKey }: ClientSession,
): Bytes => {
  if (algorithm !== 'x25519') return sign(algorithm, privateKey, authorized)
  if (routerKey === undefined) {
    throw new TransportError('TRANSPORT_NO_AUTH', 'the router has no key for authenticators', { field: 'routerKey' })
  }
  return cbAuthenticate(routerKey, privateKey, toNonce(corrId), authorized)
}

/** What kind of key made an authorization, told by its size; undefined for none and for sizes that nothing has. */
export const authorizationAlgorithm = (authorization: Bytes): AuthorizationAlgorithm | undefined => {
  switch (authorization.length) {
    case SIGNATURE_BYTES.ed25519:
      return 'ed25519'
    case SIGNATURE_BYTES.ed448:
      return 'ed448'
    case AUTHENTICATOR_BYTES:
      return 'x25519'
    default:
      return undefined
  }
}

/**
 * Whether the authorization was made with the private half of `publicKey`. Without a key (an unknown queue), or with one of another
 * algorithm, it verifies against a dummy key and answers false: the time depends only on the kind and size of what was sent, so it
 * does not tell which queues exist.
 */
export const verifyAuthorization = (
  publicKey: PublicKey | undefined,
  authorization: Bytes,
  authorized: Bytes,
  { corrId, routerPrivateKey }: RouterSession,
): boolean => {
  const algorithm = authorizationAlgorithm(authorization)
  if (algorithm === undefined) return false
  const known = publicKey?.algorithm === algorithm
  const key = known ? publicKey.raw : DUMMY_KEYS[algorithm]
  const valid =
    algorithm === 'x25519'
      ? cbVerify(key, routerPrivateKey, toNonce(corrId), authorization, authorized)
      : verify(algorithm, key, authorized, authorization)
  return known && valid
}

/**
 * What the queue's key authorizes in the session of a service: the service certificate's hash goes first, so that nobody can put
 * another service in its place. The service's own key signs `authorized` alone.
 */
export const withServiceCertificate = (certificateHash: Bytes, authorized: Bytes): Bytes =>
  concat(certificateHash, authorized)

/** Keys that nobody holds the other half of. */
const DUMMY_KEYS: Readonly<Record<AuthorizationAlgorithm, Bytes>> = {
  ed25519: generateKeyPair('ed25519').publicKey,
  ed448: generateKeyPair('ed448').publicKey,
  x25519: generateKeyPair('x25519').publicKey,
}
