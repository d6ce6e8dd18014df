/**
 * A small SMP router that does what the protocol says unless the test says otherwise: it shows every command that it got, and
 * can lose, refuse, hold back or invent answers and messages. It verifies no signatures; the bundled router's tests do that.
 */
import { randomBytes } from 'node:crypto'
import { boxSecret, generateKeyPair, x25519 } from '../../src/crypto/index.js'
import type { VersionRange } from '../../src/encoding/index.js'
import type { LinkData, QueueMode } from '../../src/smp/protocol/fields.js'
import { sealRecipientMessage } from '../../src/smp/protocol/recipientMessage.js'
import type { Response } from '../../src/smp/protocol/responses.js'
import { formatRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import type { SmpError } from '../../src/smp/protocol/routerErrors.js'
import type { MemoryNetwork } from '../../src/smp/transport/memory.js'
import type { VirtualClock } from '../../src/testing/virtualClock.js'
import { type FakeSession, fakeRouter, type ReceivedCommand } from './fakeRouter.js'

export interface SeenCommand extends ReceivedCommand {
  readonly session: FakeSession
  /** Milliseconds of the virtual clock. */
  readonly at: number
}

/**
 * What becomes of a command instead of the usual: it never arrived, it was done but the answer is lost, it waits for `release`, or it
 * gets another answer and is not done.
 */
export type Reaction = 'lose' | 'loseAnswer' | 'hold' | Response

export interface ScriptedMessage {
  readonly id: Uint8Array
  readonly body: Uint8Array
}

export interface ScriptedQueue {
  readonly recipientId: Uint8Array
  readonly senderId: Uint8Array
  readonly recipientKey: Uint8Array
  readonly dhSecret: Uint8Array
  /** Its short link. As at the reference, a repeated NEW with a sender id that is taken is refused. */
  link: { readonly linkId: Uint8Array; readonly data: LinkData } | undefined
  readonly isContact: boolean
  senderKey: Uint8Array | undefined
  /** Sealed for the recipient; the first one is with the subscriber if `delivered`. */
  readonly messages: ScriptedMessage[]
  subscriber: FakeSession | undefined
  delivered: boolean
  /** OFF: it takes no more messages. */
  off: boolean
}

export interface ScriptedRouter {
  readonly address: string
  /** `host:port`, as the network names it. */
  readonly place: string
  readonly network: MemoryNetwork
  readonly sessions: readonly FakeSession[]
  readonly seen: SeenCommand[]
  readonly queues: ScriptedQueue[]
  /** What the queue of a NEW becomes: the mode that was asked for, or none, as routers of old versions answer. */
  modeOf: (seen: SeenCommand) => QueueMode | undefined
  /** Asked about each command before it is done. */
  react: (seen: SeenCommand) => Reaction | undefined
  /** Does and answers a command that was held back. */
  release(seen: SeenCommand): void
  /** Commands of a type, in their order. */
  all(type: SeenCommand['command']['type']): SeenCommand[]
  /** Puts a sender's message into a queue, as SEND does. */
  put(queue: ScriptedQueue, body: Uint8Array, timestamp?: number): void
  /** Delivers the head of a queue (once more) to its subscriber, under this or another id. */
  deliverAgain(queue: ScriptedQueue, as?: ScriptedMessage): void
  /** The message as the router delivers it. */
  sealed(queue: ScriptedQueue, body: Uint8Array, timestamp?: number): ScriptedMessage
}

export interface ScriptedRouterOptions {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly host?: string
  readonly versionRange?: VersionRange
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
export const errorAnswer = (type: Exclude<SmpError['type'], 'CMD' | 'PROXY' | 'BLOCKED' | 'STORE'>): Response => ({
  type: 'ERR',
  error: { type } as SmpError,
})
const ok: Response = { type: 'OK' }

export const scriptedRouter = async (options: ScriptedRouterOptions): Promise<ScriptedRouter> => {
  const { clock, network, host = 'scripted', versionRange } = options
  const seen: SeenCommand[] = []
  const queues: ScriptedQueue[] = []

  const sealed: ScriptedRouter['sealed'] = (queue, body, timestamp = Math.floor(clock.now() / 1000)) => {
    const id = randomBytes(24)
    const message = { type: 'message', timestamp, flags: { notification: true }, body } as const
    return { id, body: sealRecipientMessage(boxSecret(queue.dhSecret), id, message) }
  }

  const deliver = (queue: ScriptedQueue): void => {
    const [message] = queue.messages
    if (queue.subscriber === undefined || queue.delivered || message === undefined) return
    queue.delivered = true
    sendMessage(queue, message)
  }

  const sendMessage = (queue: ScriptedQueue, { id, body }: ScriptedMessage): void =>
    queue.subscriber?.send({ entityId: queue.recipientId, response: { type: 'MSG', messageId: id, body } })

  const create = (received: SeenCommand): Response => {
    const { command, session } = received
    if (command.type !== 'NEW') throw new Error('no NEW')
    const keys = generateKeyPair('x25519')
    const { request } = command
    const asked = request?.link
    if (asked !== undefined && queues.some(known => same(known.senderId, asked.senderId))) return errorAnswer('AUTH')
    const linkId = request?.mode === 'contact' ? request.link?.linkId : randomBytes(24)
    const queue: ScriptedQueue = {
      recipientId: randomBytes(24),
      senderId: asked?.senderId ?? randomBytes(24),
      link: asked === undefined || linkId === undefined ? undefined : { linkId, data: asked.data },
      isContact: request?.mode === 'contact',
      recipientKey: command.authKey.raw,
      dhSecret: x25519(keys.privateKey, command.dhKey),
      senderKey: undefined,
      messages: [],
      subscriber: command.subscribe ? session : undefined,
      delivered: false,
      off: false,
    }
    queues.push(queue)
    const { recipientId, senderId } = queue
    return {
      type: 'IDS',
      recipientId,
      senderId,
      dhKey: keys.publicKey,
      mode: router.modeOf(received),
      ...(queue.link === undefined ? {} : { linkId: queue.link.linkId }),
    }
  }

  // Does a command and gives its answer; what follows the answer is in `afterwards`.
  const perform = (received: SeenCommand): { answer: Response; afterwards?: () => void } => {
    const { command, entityId, session } = received
    if (command.type === 'PING') return { answer: { type: 'PONG' } }
    if (command.type === 'NEW') return { answer: create(received) }
    const bySender = queues.find(queue => same(queue.senderId, entityId))
    const byRecipient = queues.find(queue => same(queue.recipientId, entityId))
    const byLink = queues.find(({ link }) => link !== undefined && same(link.linkId, entityId))
    const queue = bySender ?? byRecipient ?? byLink
    if (queue === undefined) return { answer: errorAnswer('AUTH') }
    switch (command.type) {
      case 'SKEY':
      case 'KEY': {
        const accepted = queue.senderKey === undefined || same(queue.senderKey, command.key.raw)
        if (accepted) queue.senderKey = command.key.raw
        return { answer: accepted ? ok : errorAnswer('AUTH') }
      }
      case 'LKEY':
      case 'LGET': {
        const { link, senderId } = queue
        if (link === undefined || (command.type === 'LGET') !== queue.isContact) return { answer: errorAnswer('AUTH') }
        if (command.type === 'LKEY') {
          if (queue.senderKey !== undefined && !same(queue.senderKey, command.key.raw))
            return { answer: errorAnswer('AUTH') }
          queue.senderKey = command.key.raw
        }
        return { answer: { type: 'LNK', senderId, data: link.data } }
      }
      case 'LSET': {
        const { linkId, data } = command
        const isOther =
          queue.link !== undefined &&
          !(same(queue.link.linkId, linkId) && same(queue.link.data.fixedData, data.fixedData))
        if (isOther || queue.senderKey !== undefined) return { answer: errorAnswer('AUTH') }
        queue.link = { linkId, data }
        return { answer: ok }
      }
      case 'LDEL':
        queue.link = undefined
        return { answer: ok }
      case 'OFF':
        queue.off = true
        return { answer: ok }
      case 'SEND':
        if (queue.off) return { answer: errorAnswer('AUTH') }
        // A queue that knows its sender takes only what is signed, one that does not only what is unsigned.
        if (received.authorization.length > 0 !== (queue.senderKey !== undefined))
          return { answer: errorAnswer('AUTH') }
        if (!queue.isContact && queue.senderKey !== undefined) queue.link = undefined
        queue.messages.push(sealed(queue, command.body))
        return { answer: ok, afterwards: () => deliver(queue) }
      case 'SUB':
        queue.subscriber = session
        queue.delivered = false
        return { answer: { type: 'SOK' }, afterwards: () => deliver(queue) }
      case 'GET': {
        if (queue.subscriber === session)
          return { answer: { type: 'ERR', error: { type: 'CMD', error: 'PROHIBITED' } } }
        const [message] = queue.messages
        queue.delivered = message !== undefined
        return { answer: message === undefined ? ok : { type: 'MSG', messageId: message.id, body: message.body } }
      }
      case 'ACK':
        if (!queue.delivered || !same(queue.messages[0]?.id ?? Buffer.alloc(0), command.messageId)) {
          return { answer: errorAnswer('NO_MSG') }
        }
        queue.messages.shift()
        queue.delivered = false
        return { answer: ok, afterwards: () => deliver(queue) }
      case 'QUE': {
        const { messages, senderKey } = queue
        const [head] = messages
        const msgTs = new Date(clock.now()).toISOString()
        const qiMsg = head && { msgId: Buffer.from(head.id).toString('base64'), msgTs, msgType: 'message' as const }
        const status = { qiMsg, qiSnd: senderKey !== undefined, qiNtf: false, qiSize: messages.length }
        return { answer: { type: 'INFO', status } }
      }
      case 'DEL':
        queues.splice(queues.indexOf(queue), 1)
        return { answer: ok }
      default:
        return { answer: { type: 'ERR', error: { type: 'CMD', error: 'PROHIBITED' } } }
    }
  }

  const release = (received: SeenCommand, lost = false): void => {
    const { answer, afterwards } = perform(received)
    if (!lost) received.session.send({ to: received, response: answer })
    afterwards?.()
  }

  const fake = await fakeRouter({
    clock,
    network,
    host,
    ...(versionRange === undefined ? {} : { versionRange }),
    onSession: session => {
      session.channel.onClose(() => {
        for (const queue of queues) if (queue.subscriber === session) queue.subscriber = undefined
      })
      session.onCommand = received => {
        const command: SeenCommand = { ...received, session, at: clock.now() }
        seen.push(command)
        const reaction = router.react(command)
        if (reaction === 'lose' || reaction === 'hold') return
        if (typeof reaction === 'object') session.send({ to: command, response: reaction })
        else release(command, reaction === 'loseAnswer')
      }
    },
  })

  const router: ScriptedRouter = {
    address: formatRouterAddress(fake.address),
    place: `${host}:5223`,
    network,
    sessions: fake.sessions,
    seen,
    queues,
    modeOf: ({ command }) => (command.type === 'NEW' ? command.request?.mode : undefined),
    react: () => undefined,
    release,
    all: type => seen.filter(({ command }) => command.type === type),
    sealed,
    put: (queue, body, timestamp) => {
      queue.messages.push(sealed(queue, body, timestamp))
      deliver(queue)
    },
    deliverAgain: (queue, as) => {
      const message = as ?? queue.messages[0]
      if (message !== undefined) sendMessage(queue, message)
    },
  }
  return router
}
