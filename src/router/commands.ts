/**
 * What each command does once it is authorized. Row changes are decided by the pure functions of `decisions.ts` over the newest
 * record, and answered after their commit; SEND is answered after the journal has the message.
 */
import { generateKeyPair, type KeyPair, type Random, x25519 } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { StoreError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { maxMessageLength } from '../smp/protocol/clientMessage.js'
import type { Command } from '../smp/protocol/commands.js'
import type { NewQueue, NotifierRequest } from '../smp/protocol/newQueue.js'
import type { QueueIds, Response } from '../smp/protocol/responses.js'
import { commandError, type SmpError } from '../smp/protocol/routerErrors.js'
import type { RouterSettings } from './config.js'
import {
  createdAgain,
  isSecured,
  mayCreate,
  removeLink,
  removeNotifier,
  replaceKeys,
  secure,
  setNotifier,
  suspend,
} from './decisions.js'
import { createLinks, type LinkRequest, linkRequest } from './links.js'
import { keyOf } from './messageLog.js'
import type { Messages } from './messages.js'
import type { Notifications } from './notifications.js'
import type { RouterProxy } from './proxy.js'
import type { Notifier, QueueRecord } from './queue.js'
import type { Queue, Queues } from './queues.js'
import { statusOf } from './status.js'
import type { Answer, Subscriber, Subscriptions } from './subscriptions.js'

/** An authorized command. `queue` is set when the command names one. */
export interface Request {
  readonly command: Command
  readonly corrId: Bytes
  readonly entityId: Bytes
  /** The version of the SMP protocol that its sender speaks. */
  readonly version: number
  readonly queue: Queue | undefined
  /** To be called exactly once. */
  readonly respond: (response: Response) => void
}

/** Executes a command. Its order within a queue is the order of the calls. Rejects with StoreError when the store failed. */
export type Execute = (session: Subscriber, request: Request) => void | Promise<void>

export interface CommandsOptions {
  readonly queues: Queues
  readonly messages: Messages
  readonly subscriptions: Subscriptions
  readonly notifications: Notifications
  readonly proxy: RouterProxy
  readonly settings: RouterSettings
  readonly clock: Clock
  readonly random: Random
  readonly counters: CommandCounters
}

/** What the router counts for its statistics. */
export interface CommandCounters {
  queuesCreated: number
  queuesDeleted: number
  messagesReceived: number
  quotaExceeded: number
}

const idLength = 24
/** Fresh ids that are tried before a collision is taken for a bug. */
const idTries = 3
const ok: Response = { type: 'OK' }
const failed = (error: SmpError): Response => ({ type: 'ERR', error })
const authError = failed({ type: 'AUTH' })
const prohibited = failed(commandError('PROHIBITED'))

const idsOf = ({ recipientId, senderId, mode, link }: QueueRecord, dhKey: Bytes): QueueIds => ({
  type: 'IDS',
  recipientId,
  senderId,
  dhKey,
  ...(mode === undefined ? {} : { mode }),
  ...(link === undefined ? {} : { linkId: link.linkId }),
})

export const createCommands = (options: CommandsOptions): Execute => {
  const { queues, messages, subscriptions, notifications, proxy, settings, clock, random, counters } = options

  const links = createLinks(queues)

  const create = async (session: Subscriber, command: NewQueue, { corrId, respond }: Request): Promise<void> => {
    if (!mayCreate(settings, command.basicAuth)) return respond(authError)
    const wanted = linkRequest(command, corrId, () => random(idLength))
    if (wanted !== undefined && 'error' in wanted) return respond(failed(wanted.error))
    const own = generateKeyPair('x25519', random)
    const notifier = command.notifier === undefined ? undefined : newNotifier(command.notifier)
    for (let tries = 0; tries < idTries; tries++) {
      const record: QueueRecord = {
        recipientId: random(idLength),
        senderId: wanted?.senderId ?? random(idLength),
        recipientKeys: [command.authKey],
        rcvDhSecret: x25519(own.privateKey, command.dhKey),
        ...(command.request === undefined ? {} : { mode: command.request.mode }),
        ...(notifier === undefined ? {} : { notifier: notifier.record }),
        ...(wanted === undefined ? {} : { link: wanted.link }),
        status: 'active',
        createdAt: clock.now(),
      }
      const queue = await queues.create(record, wanted?.data)
      if (queue === undefined) {
        // Another try would have the same ids.
        if (wanted !== undefined) return createAgain(session, command, wanted, own, respond)
        continue
      }
      counters.queuesCreated++
      if (command.subscribe) subscriptions.subscribe(session, queue)
      const notifierIds =
        notifier === undefined ? {} : { notifier: { notifierId: notifier.record.notifierId, dhKey: notifier.dhKey } }
      return respond({ ...idsOf(record, own.publicKey), ...notifierIds })
    }
    respond(failed({ type: 'INTERNAL' }))
  }

  const createAgain = async (
    session: Subscriber,
    command: NewQueue,
    wanted: LinkRequest,
    own: KeyPair,
    respond: Request['respond'],
  ): Promise<void> => {
    await queues.load([['sender', wanted.senderId]])
    const queue = queues.get('sender', wanted.senderId)
    if (queue === undefined || command.notifier !== undefined) return respond(authError)
    const secret = x25519(own.privateKey, command.dhKey)
    const record = await queues.change(queue, createdAgain(command.authKey, wanted, secret))
    if (record === undefined) return respond(authError)
    if (command.subscribe) subscriptions.subscribe(session, queue)
    respond(idsOf(record, own.publicKey))
  }

  const newNotifier = ({ authKey, dhKey }: NotifierRequest): { record: Notifier; dhKey: Bytes } => {
    const own = generateKeyPair('x25519', random)
    const dhSecret = x25519(own.privateKey, dhKey)
    return { record: { notifierId: random(idLength), key: authKey, dhSecret }, dhKey: own.publicKey }
  }

  const addNotifier = async (
    session: Subscriber,
    queue: Queue,
    request: NotifierRequest,
    respond: Request['respond'],
  ): Promise<void> => {
    const notifier = newNotifier(request)
    const { error, replaced } = await queues.change(queue, setNotifier(notifier.record))
    if (error !== undefined) return respond(failed(error))
    if (replaced !== undefined) notifications.removed(replaced.notifierId, session)
    respond({ type: 'NID', notifierId: notifier.record.notifierId, dhKey: notifier.dhKey })
  }

  const dropNotifier = async (session: Subscriber, queue: Queue, respond: Request['respond']): Promise<void> => {
    const { error, replaced } = await queues.change(queue, removeNotifier)
    if (error !== undefined) return respond(failed(error))
    if (replaced !== undefined) notifications.removed(replaced.notifierId, session)
    respond(ok)
  }

  const remove = async (session: Subscriber, queue: Queue, respond: Request['respond']): Promise<void> => {
    const removed = await queues.change(queue, record => ({ answer: record, record: undefined }))
    if (removed === undefined) return respond(authError)
    counters.queuesDeleted++
    messages.drop(queue.key)
    subscriptions.deleted(queue, session)
    if (removed.notifier !== undefined) notifications.removed(removed.notifier.notifierId, session)
    respond(ok)
  }

  const subscribe = (session: Subscriber, queue: Queue, respond: Request['respond']): void => {
    const subscription = subscriptions.subscribe(session, queue)
    if (subscription === 'prohibited') return respond(prohibited)
    if (subscription === 'tooMany') return respond(failed({ type: 'QUOTA' }))
    respond({ type: 'SOK' })
    subscriptions.deliver(subscription)
  }

  const subscribeNotifier = (session: Subscriber, queue: Queue, respond: Request['respond']): void => {
    const notifierId = queue.record?.notifier?.notifierId
    if (notifierId === undefined) return respond(authError)
    respond(notifications.subscribe(session, notifierId) ? { type: 'SOK' } : failed({ type: 'QUOTA' }))
  }

  const send = async (
    version: number,
    queue: Queue,
    command: Command & { readonly type: 'SEND' },
    respond: Request['respond'],
  ): Promise<void> => {
    if (command.body.length > maxMessageLength(version)) return respond(failed({ type: 'LARGE_MSG' }))
    if (queue.record?.status !== 'active') return respond(authError)
    dropUsedLink(queue)
    const id = keyOf(random(idLength))
    const { notification } = command.flags
    try {
      const result = await messages.send(queue.key, { id, notification, body: command.body })
      subscriptions.stored(queue)
      if (result.kind === 'quota') {
        counters.quotaExceeded++
        return respond(failed({ type: 'QUOTA' }))
      }
      counters.messagesReceived++
      const notifier = queue.record?.notifier
      if (notification && notifier !== undefined) notifications.notify(notifier, result.entry)
      respond(ok)
    } catch (error) {
      // A full disk looks like a full queue: senders keep their messages and try again later.
      if (!(error instanceof StoreError) || error.code !== 'STORE_FULL') throw error
      respond(failed({ type: 'QUOTA' }))
    }
  }

  /** The first message of a secured one-time queue: its link has done its work. When the store fails, the next message tries again. */
  const dropUsedLink = (queue: Queue): void => {
    const { record } = queue
    if (record?.link === undefined || !isSecured(record)) return
    queues.change(queue, removeLink).catch(() => undefined)
  }

  const answerWith = (answer: Answer, otherwise: Response, respond: Request['respond']): void | Promise<void> => {
    const settle = (message: Response | undefined): void => respond(message ?? otherwise)
    return answer instanceof Promise ? answer.then(settle) : settle(answer)
  }

  const get = (session: Subscriber, queue: Queue, respond: Request['respond']): void | Promise<void> => {
    const answer = subscriptions.get(session, queue)
    if (answer === 'prohibited') return respond(prohibited)
    if (answer === 'tooMany') return respond(failed({ type: 'QUOTA' }))
    return answerWith(answer, ok, respond)
  }

  const acknowledge = (
    session: Subscriber,
    queue: Queue,
    messageId: Bytes,
    respond: Request['respond'],
  ): void | Promise<void> => {
    const answer = subscriptions.acknowledge(session, queue, messageId)
    return answer === 'unknown' ? respond(failed({ type: 'NO_MSG' })) : answerWith(answer, ok, respond)
  }

  const decided = async (answer: Promise<SmpError | undefined>, respond: Request['respond']): Promise<void> => {
    const error = await answer
    respond(error === undefined ? ok : failed(error))
  }

  return (session, request) => {
    const { command, corrId, entityId, version, queue, respond } = request
    if (command.type === 'PING') return respond({ type: 'PONG' })
    if (command.type === 'NEW') return create(session, command, request)
    if (command.type === 'PRXY') return proxy.connect(command).then(respond)
    if (command.type === 'PFWD') return proxy.forward(entityId, { ...command, corrId }).then(respond)
    if (queue === undefined) return respond(prohibited)
    switch (command.type) {
      case 'SUB':
        return subscribe(session, queue, respond)
      case 'SEND':
        return send(version, queue, command, respond)
      case 'ACK':
        return acknowledge(session, queue, command.messageId, respond)
      case 'GET':
        return get(session, queue, respond)
      case 'KEY':
      case 'SKEY':
        return decided(queues.change(queue, secure(command.key)), respond)
      case 'RKEY':
        return decided(queues.change(queue, replaceKeys(command.keys)), respond)
      case 'OFF':
        return decided(queues.change(queue, suspend), respond)
      case 'DEL':
        return remove(session, queue, respond)
      case 'NKEY':
        return addNotifier(session, queue, { authKey: command.key, dhKey: command.dhKey }, respond)
      case 'NDEL':
        return dropNotifier(session, queue, respond)
      case 'NSUB':
        return subscribeNotifier(session, queue, respond)
      case 'QUE':
        return respond({ type: 'INFO', status: statusOf(queue, session.subscriptions.get(queue.key), messages) })
      case 'LSET':
        return links.set(queue, command.linkId, command.data).then(respond)
      case 'LDEL':
        return links.remove(queue).then(respond)
      case 'LKEY':
        return links.secureAndGet(queue, entityId, command.key).then(respond)
      case 'LGET':
        return links.get(queue, entityId).then(respond)
      default:
        return respond(prohibited)
    }
  }
}
