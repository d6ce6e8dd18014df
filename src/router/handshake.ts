/** The router's side of the SMP handshake: one hello each way, then the session's version and keys are agreed. */
import { decodePrivateKey, generateKeyPair, type Random, type SignAlgorithm, x25519 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import {
  BlockCipher,
  type BlockCoding,
  paddedBlocks,
  padBlock,
  unpadBlock,
  VERSION_ENCRYPTED_BLOCKS,
} from '../smp/protocol/block.js'
import {
  checkClientHello,
  decodeClientHello,
  encodeRouterHello,
  encodeServiceAnswer,
} from '../smp/protocol/handshake.js'
import { signKey } from '../smp/protocol/signedKey.js'
import { SMP_VERSIONS } from '../smp/protocol/versions.js'
import type { BlockChannel } from '../smp/transport/port.js'
import type { RouterIdentity } from './certificates.js'

/** What a finished handshake leaves. */
export interface AgreedSession {
  readonly version: number
  /** Padded only when the client is a proxy or gave no key. */
  readonly blocks: BlockCoding
  /** Raw X25519: verifies authenticators. */
  readonly routerPrivateKey: Bytes
  /** The raw X25519 secret of both session keys; none when the client gave no key. */
  readonly secret: Bytes | undefined
}

/** Makes and reads the blocks of handshakes for one identity. */
export interface Handshaker {
  /** Sends the router's hello; the answer reads the client's. */
  start(channel: BlockChannel): (block: Bytes) => AgreedSession | 'refused'
}

/** Handshakes for a router of this identity. */
export const createHandshaker = ({ credentials, keyHash }: RouterIdentity, random: Random): Handshaker => {
  const leaf = decodePrivateKey(credentials.privateKey, ['ed448', 'ed25519'], 'server.key')
  const signer = { algorithm: leaf.algorithm as SignAlgorithm, privateKey: leaf.raw }
  return {
    start: channel => {
      const { sessionId } = channel
      const own = generateKeyPair('x25519', random)
      const signedKey = signKey('x25519', own.publicKey, signer)
      const routerKey = { certificates: credentials.certificates, signedKey }
      channel.send(padBlock(encodeRouterHello({ versionRange: SMP_VERSIONS, sessionId, routerKey })))
      /** Throws TransportError; the peer is told nothing and the connection ends. */
      return block => {
        const hello = decodeClientHello(unpadBlock(block))
        checkClientHello(hello, keyHash, SMP_VERSIONS)
        if (hello.service !== undefined) {
          // Services (bulk subscriptions under a client certificate) are not offered.
          channel.send(padBlock(encodeServiceAnswer({ error: 'HANDSHAKE BAD_SERVICE' })))
          return 'refused'
        }
        const { version, clientKey, proxy } = hello
        const secret = clientKey === undefined ? undefined : x25519(own.privateKey, clientKey)
        const encrypted = secret !== undefined && !proxy && version >= VERSION_ENCRYPTED_BLOCKS
        return {
          version,
          blocks: encrypted ? new BlockCipher('router', sessionId, secret) : paddedBlocks,
          routerPrivateKey: own.privateKey,
          secret,
        }
      }
    },
  }
}
