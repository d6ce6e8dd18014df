/** A bare SMP client for tests of the router: blocks in, blocks out, every command by hand. */
import { randomBytes } from 'node:crypto'
import { boxSecret, generateKeyPair, type KeyPair, type PublicKey, x25519 } from '../../../src/crypto/index.js'
import type { Bytes } from '../../../src/encoding/index.js'
import { authorize, type AuthorizationAlgorithm } from '../../../src/smp/protocol/authorization.js'
import { BlockCipher, padBlock, unpadBlock } from '../../../src/smp/protocol/block.js'
import { type Command, encodeCommand } from '../../../src/smp/protocol/commands.js'
import {
  decodeRouterHello,
  encodeClientHello,
  type RouterHello,
  verifyRouterHello,
} from '../../../src/smp/protocol/handshake.js'
import { openRecipientMessage, type RecipientMessage } from '../../../src/smp/protocol/recipientMessage.js'
import { decodeResponse, type QueueIds, type Response } from '../../../src/smp/protocol/responses.js'
import {
  authorizedBytes,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../../src/smp/protocol/transmission.js'
import type { BlockChannel } from '../../../src/smp/transport/port.js'

export interface Received {
  readonly corrId: string
  readonly entityId: string
  readonly response: Response
}

export interface AuthKey {
  readonly algorithm: AuthorizationAlgorithm
  readonly keys: KeyPair
}

export const authKey = (algorithm: AuthorizationAlgorithm = 'ed25519'): AuthKey => ({
  algorithm,
  keys: generateKeyPair(algorithm),
})
export const publicOf = ({ algorithm, keys }: AuthKey): PublicKey => ({ algorithm, raw: keys.publicKey })

export interface TestRequest {
  readonly command: Command
  readonly entityId?: Bytes | undefined
  readonly key?: AuthKey | undefined
  /** Replaces the authorization that the key would make. */
  readonly authorization?: Bytes
  readonly corrId?: Bytes
}

export interface TestClient {
  readonly version: number
  readonly channel: BlockChannel
  /** Sends commands in one block (or as few as it takes); answers in the order of the commands. */
  ask(...requests: TestRequest[]): Promise<Response[]>
  /** One command, one answer. */
  one(command: Command, entityId?: Bytes, key?: AuthKey): Promise<Response>
  /** Sends content as it is. */
  raw(content: Bytes): void
  /** The next response without corrId. */
  event(): Promise<Received>
  /** Events that came and were not taken. */
  readonly events: readonly Received[]
  close(): void
}

export interface ClientOptions {
  readonly version?: number
  readonly proxy?: boolean
  /** False: no session key, so blocks are not encrypted. */
  readonly encrypted?: boolean
  readonly keyHash: Bytes
}

/** The handshake over a fresh channel. */
export const startClient = async (channel: BlockChannel, options: ClientOptions): Promise<TestClient> => {
  const { version = 18, proxy = false, encrypted = true, keyHash } = options
  const helloBlock = await new Promise<Bytes>((resolve, reject) => {
    channel.onBlock(resolve)
    channel.onClose(reject)
  })
  const hello: RouterHello = decodeRouterHello(unpadBlock(helloBlock))
  const routerKey = verifyRouterHello(hello, keyHash, {
    sessionId: channel.sessionId,
    leafCertificate: channel.peerCertificates[0] as Bytes,
  })
  const own = generateKeyPair('x25519')
  channel.send(
    padBlock(encodeClientHello({ version, keyHash, proxy, ...(encrypted ? { clientKey: own.publicKey } : {}) })),
  )
  const cipher =
    encrypted && !proxy ? new BlockCipher('client', channel.sessionId, x25519(own.privateKey, routerKey)) : undefined
  const waiting = new Map<string, (response: Response) => void>()
  const events: Received[] = []
  let eventWaiters: Array<(event: Received) => void> = []

  channel.onBlock(block => {
    const content = cipher === undefined ? unpadBlock(block) : cipher.decrypt(block)
    for (const bytes of readBatch(content)) {
      const { corrId, entityId, command } = decodeTransmission(version, bytes)
      const received = { corrId: hex(corrId), entityId: hex(entityId), response: decodeResponse(version, command) }
      const waiter = waiting.get(received.corrId)
      if (waiter !== undefined) {
        waiting.delete(received.corrId)
        waiter(received.response)
      } else {
        const [next, ...rest] = eventWaiters
        eventWaiters = rest
        if (next === undefined) events.push(received)
        else next(received)
      }
    }
  })

  const raw = (content: Bytes): void => {
    channel.send(cipher === undefined ? padBlock(content) : cipher.encrypt(content))
  }

  const encode = (request: TestRequest): { corrId: Bytes; bytes: Bytes } => {
    const corrId = request.corrId ?? randomBytes(24)
    const entityId = request.entityId ?? new Uint8Array(0)
    const command = encodeCommand(version, request.command)
    const authorized = authorizedBytes(channel.sessionId, { corrId, entityId, command })
    const { key } = request
    const authorization =
      request.authorization ??
      (key === undefined
        ? new Uint8Array(0)
        : authorize(key.algorithm, key.keys.privateKey, authorized, { corrId, routerKey }))
    return { corrId, bytes: encodeTransmission(version, { authorization, corrId, entityId, command }) }
  }

  const ask = (...requests: TestRequest[]): Promise<Response[]> => {
    const encoded = requests.map(encode)
    const answers = encoded.map(
      ({ corrId }) =>
        new Promise<Response>((resolve, reject) => {
          waiting.set(hex(corrId), resolve)
          channel.onClose(reject)
        }),
    )
    for (const batch of batchTransmissions(encoded.map(({ bytes }) => bytes))) {
      if ('error' in batch) throw batch.error
      raw(batch.block)
    }
    return Promise.all(answers)
  }

  return {
    version,
    channel,
    ask,
    one: async (command, entityId, key) => (await ask({ command, entityId, key }))[0] as Response,
    raw,
    event: () => {
      const event = events.shift()
      if (event !== undefined) return Promise.resolve(event)
      return new Promise((resolve, reject) => {
        eventWaiters.push(resolve)
        channel.onClose(reject)
      })
    },
    events,
    close: () => channel.close(),
  }
}

/** A queue in the hands of its recipient. */
export interface TestQueue {
  readonly ids: QueueIds
  readonly rcvId: Bytes
  readonly sndId: Bytes
  readonly key: AuthKey
  /** Opens the body of MSG. */
  open(response: Response): RecipientMessage & { messageId: Bytes }
}

export interface NewOptions {
  readonly algorithm?: AuthorizationAlgorithm
  readonly subscribe?: boolean
  readonly mode?: 'messaging' | 'contact' | undefined
  readonly basicAuth?: string
  readonly notifier?: { authKey: PublicKey; dhKey: Bytes }
}

/** NEW; throws the answer when it is not IDS. */
export const newQueue = async (client: TestClient, options: NewOptions = {}): Promise<TestQueue> => {
  const key = authKey(options.algorithm)
  const dh = generateKeyPair('x25519')
  const { mode = 'messaging', subscribe = true, basicAuth, notifier } = options
  const answer = await client.one(
    { type: 'NEW', authKey: publicOf(key), dhKey: dh.publicKey, subscribe, basicAuth, request: { mode }, notifier },
    undefined,
    key,
  )
  if (answer.type !== 'IDS') throw Object.assign(new Error('NEW was refused'), { answer })
  const secret = boxSecret(x25519(dh.privateKey, answer.dhKey))
  return {
    ids: answer,
    rcvId: answer.recipientId,
    sndId: answer.senderId,
    key,
    open: response => {
      if (response.type !== 'MSG') throw Object.assign(new Error('not a message'), { response })
      return { ...openRecipientMessage(secret, response.messageId, response.body), messageId: response.messageId }
    },
  }
}

export const send = (text: string | Bytes, notification = false): Extract<Command, { readonly type: 'SEND' }> => ({
  type: 'SEND',
  flags: { notification },
  body: typeof text === 'string' ? Buffer.from(text) : text,
})

export const errorOf = (response: Response): string =>
  response.type !== 'ERR'
    ? response.type
    : response.error.type === 'CMD'
      ? `CMD ${response.error.error}`
      : response.error.type

export const bodyText = (message: RecipientMessage): string =>
  message.type === 'quota' ? 'QUOTA' : Buffer.from(message.body).toString()

export const hex = (bytes: Bytes): string => Buffer.from(bytes).toString('hex')
