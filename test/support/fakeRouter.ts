import { generateKeyPair, decodePrivateKey, x25519 } from '../../src/crypto/index.js'
import type { VersionRange } from '../../src/encoding/index.js'
import { BlockCipher, paddedBlocks, padBlock, unpadBlock } from '../../src/smp/protocol/block.js'
import { type Command, decodeCommand } from '../../src/smp/protocol/commands.js'
import {
  type ClientHello,
  checkClientHello,
  decodeClientHello,
  encodeRouterHello,
  type RouterHello,
} from '../../src/smp/protocol/handshake.js'
import { encodeResponse, type Response } from '../../src/smp/protocol/responses.js'
import type { RouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { signKey } from '../../src/smp/protocol/signedKey.js'
import {
  authorizedBytes,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../src/smp/protocol/transmission.js'
import { type MemoryNetwork, memoryNetwork, type NetworkClock } from '../../src/smp/transport/memory.js'
import type { BlockChannel } from '../../src/smp/transport/port.js'
import { anyChain, type TestChain } from './certificates.js'

/** A command as the fake router received it. */
export interface ReceivedCommand {
  readonly corrId: Uint8Array
  readonly entityId: Uint8Array
  readonly command: Command
  readonly authorization: Uint8Array
  /** What the authorization must cover. */
  readonly authorized: Uint8Array
  /** Blocks are counted from 0. */
  readonly block: number
}

/** One session of the fake router, which answers nothing unless the test says so. */
export interface FakeSession {
  readonly channel: BlockChannel
  readonly hello: ClientHello
  readonly privateKey: Uint8Array
  /** The raw secret of both session keys. */
  readonly secret: Uint8Array
  readonly received: ReceivedCommand[]
  /** Sends responses in one block: answers with the received command's ids, events with an entity and no correlation id. */
  send(...items: readonly Outgoing[]): void
  /** Encrypts and sends bytes that may be no batch. */
  sendContent(content: Uint8Array): void
  /** Runs for each command as it arrives; may answer at once. */
  onCommand: (received: ReceivedCommand) => void
}

export interface Outgoing {
  readonly to?: ReceivedCommand
  readonly corrId?: Uint8Array
  readonly entityId?: Uint8Array
  readonly response?: Response
  /** Instead of a response: bytes that may be none. */
  readonly raw?: Uint8Array
}

export interface FakeRouterOptions {
  readonly clock: NetworkClock
  /** Default: a network of its own. */
  readonly network?: MemoryNetwork
  /** Default: `router`. */
  readonly host?: string
  readonly versionRange?: VersionRange
  /** Changes the hello before it is sent; undefined sends none. */
  readonly hello?: (hello: RouterHello) => RouterHello | Uint8Array | undefined
  /** Runs as soon as the client's hello has arrived. */
  readonly onSession?: (session: FakeSession) => void
}

export interface FakeRouter {
  readonly network: MemoryNetwork
  readonly address: RouterAddress
  readonly chain: TestChain
  readonly sessions: FakeSession[]
}

/** A scripted router on a memory network. */
export const fakeRouter = async (options: FakeRouterOptions): Promise<FakeRouter> => {
  const { clock, versionRange, hello, onSession, host = 'router', network = memoryNetwork({ clock }) } = options
  const chain = await anyChain()
  const sessions: FakeSession[] = []
  await network.listen({ host, port: 5223, credentials: chain }, channel => {
    const keys = generateKeyPair('x25519')
    const leafKey = decodePrivateKey(chain.privateKey)
    const honest: RouterHello = {
      versionRange: versionRange ?? { min: 6, max: 18 },
      sessionId: channel.sessionId,
      routerKey: {
        certificates: chain.certificates,
        signedKey: signKey('x25519', keys.publicKey, { algorithm: 'ed25519', privateKey: leafKey.raw }),
      },
    }
    const sent = hello === undefined ? honest : hello(honest)
    if (sent !== undefined) channel.send(padBlock(sent instanceof Uint8Array ? sent : encodeRouterHello(sent)))
    channel.onBlock(block => {
      const clientHello = decodeClientHello(unpadBlock(block))
      checkClientHello(clientHello, chain.keyHash, honest.versionRange)
      const session = openSession(channel, clientHello, keys.privateKey)
      sessions.push(session)
      onSession?.(session)
    })
  })
  return { network, address: { keyHash: chain.keyHash, hosts: [host], port: '' }, chain, sessions }
}

const openSession = (channel: BlockChannel, hello: ClientHello, privateKey: Uint8Array): FakeSession => {
  const { version, clientKey, proxy } = hello
  const secret = x25519(privateKey, clientKey as Uint8Array)
  const coding = proxy ? paddedBlocks : new BlockCipher('router', channel.sessionId, secret)
  let blocks = 0
  const sendContent = (content: Uint8Array): void => void channel.send(coding.encrypt(content))
  const session: FakeSession = {
    channel,
    hello,
    privateKey,
    secret,
    received: [],
    onCommand: () => {},
    sendContent,
    send: (...items) => {
      const encoded = items.map(({ to, corrId, entityId, response, raw }) =>
        encodeTransmission(version, {
          authorization: new Uint8Array(0),
          corrId: corrId ?? to?.corrId ?? new Uint8Array(0),
          entityId: entityId ?? to?.entityId ?? new Uint8Array(0),
          command: raw ?? encodeResponse(version, response as Response),
        }),
      )
      for (const batch of batchTransmissions(encoded)) if ('block' in batch) sendContent(batch.block)
    },
  }
  channel.onBlock(block => {
    for (const bytes of readBatch(coding.decrypt(block))) {
      const transmission = decodeTransmission(version, bytes)
      const received: ReceivedCommand = {
        corrId: transmission.corrId,
        entityId: transmission.entityId,
        authorization: transmission.authorization,
        command: decodeCommand(version, transmission.command),
        authorized: authorizedBytes(channel.sessionId, transmission),
        block: blocks,
      }
      session.received.push(received)
      session.onCommand(received)
    }
    blocks += 1
  })
  return session
}
