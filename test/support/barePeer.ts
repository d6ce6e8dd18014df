/** The other party of an agent under test, made of the protocol's parts: it joins an invitation and says whatever the test wants. */
import { randomBytes } from 'node:crypto'
import {
  boxSecret,
  generateKeyPair,
  type KeyPair,
  publicKeyOf,
  sha256,
  systemRandom,
  x25519,
} from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import {
  advanceHeader,
  type E2eParams,
  encryptBody,
  generateE2eParams,
  generateX448,
  initSndRatchet,
  type RatchetState,
  x3dhJoiner,
} from '../../src/ratchet/index.js'
import { connectRouter, type RouterSession } from '../../src/smp/client.js'
import { encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { type AgentMessage, encodeAgentMessage, type MessageContent } from '../../src/smp/protocol/agentMessage.js'
import { CONFIRMATION_PADDING, MESSAGE_PADDING, sealEnvelope } from '../../src/smp/protocol/clientMessage.js'
import { parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import { e2eParamsAt } from '../../src/smp/protocol/e2eParams.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { MemoryNetwork } from '../../src/smp/transport/memory.js'
import type { VirtualClock } from '../../src/testing/virtualClock.js'

export interface BarePeerOptions {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  /** Where the reply queue is made, and where the invitation's queue is. */
  readonly router: string
  readonly link: string
  readonly agentVersion?: number
  /** The peer’s reply queue is one that its sender cannot secure. */
  readonly legacyReply?: boolean
}

export interface Sealing {
  /** Puts the peer's X25519 key into the readable header: confirmations, and what must be refused. */
  readonly withKey?: boolean
  /** Encrypts with another secret than the queue's. */
  readonly secret?: Bytes
  readonly padding?: number
}

export interface BarePeer {
  readonly session: RouterSession
  readonly senderId: Bytes
  readonly senderKeys: KeyPair
  /** X25519 of the reply queue: opens what the agent sends. */
  readonly replyKeys: KeyPair
  readonly e2e: E2eParams
  /** Number and hash of the last message that `message` has made. */
  lastId: number
  lastHash: Bytes
  /** The highest agent version that the peer says it speaks, in what it sends from now on. */
  agentVersion: number
  /** Secures the agent's queue: SKEY. */
  secure(): Promise<void>
  /** The confirmation with a reply queue, as a joiner sends it; consumes the first step of the ratchet. */
  confirmation(info?: string): Promise<Bytes>
  /** An agent message encrypted by the ratchet, in its envelope. */
  encrypted(plaintext: Bytes): Bytes
  /** A numbered message, one step of number and hash chain further unless the test says otherwise. */
  message(content: MessageContent | string, forged?: { id?: number; previousHash?: Bytes }): Bytes
  /** Any agent message. */
  plain(message: AgentMessage): Bytes
  /** The queue's own encryption. */
  seal(envelope: Bytes, how?: Sealing): Bytes
  /** SEND, signed with the sender's key. */
  send(body: Bytes): Promise<void>
  /** Secures, confirms: everything up to CONF at the agent. */
  join(info?: string): Promise<void>
  /** Remembers the ratchet, number and hash; what it gives puts them back, as a restored backup would. */
  remember(): () => void
  /** `send(seal(message(...)))`. */
  say(content: MessageContent | string, forged?: { id?: number; previousHash?: Bytes }): Promise<void>
  close(): void
}

export const barePeer = async (options: BarePeerOptions): Promise<BarePeer> => {
  const { clock, network, link, legacyReply = false } = options
  const router = parseRouterAddress(options.router)
  const request = parseConnectionRequest(link)
  if (request.mode !== 'invitation') throw new Error('no invitation')
  const [uri] = request.queues
  if (uri === undefined) throw new Error('no queue')
  const session = await connectRouter({
    dialer: network.dialer('peer'),
    router,
    clock,
    random: systemRandom,
  })
  const offer = e2eParamsAt(request.e2e, 3)
  const { privateKeys, params } = generateE2eParams(3)
  const secrets = x3dhJoiner(privateKeys, offer)
  let ratchet: RatchetState = initSndRatchet({ current: 3, maxSupported: 3 }, offer.key2, generateX448(), secrets)
  const dh = generateKeyPair('x25519')
  const secret = x25519(dh.privateKey, uri.address.dhKey)
  const senderKeys = generateKeyPair('ed25519')
  const replyKeys = generateKeyPair('x25519')
  const { senderId } = uri.address

  const ratchetEncrypt = (plaintext: Bytes, padding: number): Bytes => {
    const { state, header } = advanceHeader(ratchet)
    ratchet = state
    return encryptBody(header, plaintext, padding)
  }

  const replyQueue = async () => {
    const recipient = generateKeyPair('ed25519')
    const response = await session.send({
      command: {
        type: 'NEW',
        authKey: { algorithm: 'ed25519', raw: recipient.publicKey },
        dhKey: generateKeyPair('x25519').publicKey,
        subscribe: true,
        ...(legacyReply ? {} : { request: { mode: 'messaging' } }),
      },
      entityId: Buffer.alloc(0),
      key: { algorithm: 'ed25519', privateKey: recipient.privateKey },
    })
    if (response.type !== 'IDS') throw new Error(`NEW: ${response.type}`)
    const address = { router, senderId: response.senderId, dhKey: replyKeys.publicKey }
    return { clientVersion: 4, address: legacyReply ? address : ({ ...address, mode: 'messaging' } as const) }
  }

  const peer: BarePeer = {
    session,
    senderId,
    senderKeys,
    replyKeys,
    e2e: params,
    lastId: 1,
    lastHash: Buffer.alloc(0),
    agentVersion: options.agentVersion ?? 7,
    secure: async () => {
      const raw = publicKeyOf('ed25519', senderKeys.privateKey)
      await session.send({
        command: { type: 'SKEY', key: { algorithm: 'ed25519', raw } },
        entityId: senderId,
        key: { algorithm: 'ed25519', privateKey: senderKeys.privateKey },
      })
    },
    confirmation: async (info = 'bare') => {
      const queue = await replyQueue()
      const plaintext = encodeAgentMessage({ type: 'connInfoReply', queues: [queue], info: Buffer.from(info) })
      peer.lastHash = sha256(plaintext)
      const encryptedInfo = ratchetEncrypt(plaintext, 14_832)
      const { agentVersion } = peer
      return encodeAgentEnvelope({ type: 'confirmation', agentVersion, e2e: params, encryptedInfo })
    },
    encrypted: plaintext =>
      encodeAgentEnvelope({
        type: 'message',
        agentVersion: peer.agentVersion,
        encryptedMessage: ratchetEncrypt(plaintext, 15_840),
      }),
    plain: message => encodeAgentMessage(message),
    message: (content, forged = {}) => {
      const id = forged.id ?? peer.lastId + 1
      const plaintext = encodeAgentMessage({
        type: 'message',
        id,
        previousHash: forged.previousHash ?? peer.lastHash,
        content: typeof content === 'string' ? { type: 'A_MSG', body: Buffer.from(content) } : content,
      })
      peer.lastId = id
      peer.lastHash = sha256(plaintext)
      return peer.encrypted(plaintext)
    },
    seal: (envelope, { withKey = false, secret: other = secret, padding } = {}) =>
      sealEnvelope(
        boxSecret(other),
        randomBytes(24),
        { version: 4, ...(withKey ? { dhKey: dh.publicKey } : {}) },
        { body: envelope },
        padding ?? (withKey ? CONFIRMATION_PADDING : MESSAGE_PADDING),
      ),
    send: async body => {
      await session.send({
        command: { type: 'SEND', flags: { notification: true }, body },
        entityId: senderId,
        key: { algorithm: 'ed25519', privateKey: senderKeys.privateKey },
      })
    },
    join: async info => {
      await peer.secure()
      await peer.send(peer.seal(await peer.confirmation(info), { withKey: true }))
    },
    remember: () => {
      const then = { ratchet, lastId: peer.lastId, lastHash: peer.lastHash }
      return () => {
        ratchet = then.ratchet
        peer.lastId = then.lastId
        peer.lastHash = then.lastHash
      }
    },
    say: (content, forged) => peer.send(peer.seal(peer.message(content, forged))),
    close: () => session.close(),
  }
  return peer
}
