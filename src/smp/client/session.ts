import { type Bytes, type Parts, partsLength } from '../../encoding/index.js'
import { asDuologueError, RouterError, type TransportError } from '../../errors.js'
import { nextTurn } from '../../runtime/nextTurn.js'
import { authorize } from '../protocol/authorization.js'
import { commandParts } from '../protocol/commands.js'
import type { Response } from '../protocol/responses.js'
import { toRouterError } from '../protocol/routerErrors.js'
import { authorizedBytes, authorizedTransmission, batchParts, compact } from '../protocol/transmission.js'
import { type BlockChannel, blockSize, transportError } from '../transport/port.js'
import type { Agreed } from './handshake.js'
import { openInbox, type Received } from './inbox.js'
import { keepAlive } from './keepAlive.js'
import { type ExpiredRequest, type OpenRequest, Requests } from './requests.js'
import type {
  ConnectOptions,
  RequestOptions,
  RouterEvent,
  RouterRequest,
  RouterSession,
  SessionCounts,
  SessionLimits,
  UnexpectedTransmission,
} from './types.js'

/** Encoded and signed in one turn of the event loop, before looking again whether the channel still takes blocks. */
const sliceBytes = 8 * blockSize
/** The same for small commands: signing takes tens of microseconds, and others want their turn. As many SUBs fill a block. */
const sliceRequests = 135
/** Events that wait for `onEvent`. */
const maxEarlyEvents = 1_024

const empty = new Uint8Array(0)
let lastSessionId = 0

/** A session on a channel whose SMP handshake is done. */
export const createSession = (
  channel: BlockChannel,
  { version, routerKey, blocks }: Agreed,
  { router, clock, random }: ConnectOptions,
  limits: SessionLimits,
): RouterSession => {
  lastSessionId += 1
  const id = lastSessionId
  const counters = { timedOut: 0, late: 0, unexpected: 0 }
  const earlyEvents: RouterEvent[] = []
  let onEvent: ((event: RouterEvent) => void) | undefined
  let onUnexpected: ((transmission: UnexpectedTransmission) => void) | undefined
  let end: TransportError | undefined
  let flushing = false

  const requests = new Requests(clock, limits, () => {
    counters.timedOut += 1
    alive.timedOut()
    scheduleFlush()
  })

  const send = (request: RouterRequest, { timeoutMs = limits.requestTimeoutMs }: RequestOptions = {}) => {
    if (end !== undefined || channel.closed) return Promise.reject(closedBefore(end))
    const answer = requests.add(request, request.corrId ?? random(24), timeoutMs)
    scheduleFlush()
    return answer
  }

  /** Requests of one turn go together; while blocks wait for the network, so do requests. */
  const scheduleFlush = (): void => {
    if (flushing || requests.queued === 0) return
    flushing = true
    setImmediate(() => void flush())
  }

  const flush = async (): Promise<void> => {
    await channel.drained()
    while (!channel.closed && sendSlice()) {
      await nextTurn()
      await channel.drained()
    }
    flushing = false
  }

  /** Sends what fits into a few blocks; true if there may be more to send. */
  const sendSlice = (): boolean => {
    const open: OpenRequest[] = []
    const encoded: Parts[] = []
    let size = 0
    const isFull = (): boolean => size >= sliceBytes || encoded.length >= sliceRequests
    let request = requests.next()
    for (; request !== undefined; request = isFull() ? undefined : requests.next()) {
      const transmission = encode(request)
      if (transmission === undefined) continue
      open.push(request)
      encoded.push(transmission)
      size += partsLength(transmission)
    }
    let next = 0
    for (const batch of batchParts(encoded)) {
      if ('error' in batch) open[next]?.reject(batch.error)
      else channel.send(blocks.encrypt(batch.block))
      next += batch.count
    }
    return isFull()
  }

  /** The signed transmission; a command that cannot be written or authorized fails alone. */
  const encode = (open: OpenRequest): Parts | undefined => {
    const { corrId, request } = open
    const { command, entityId, key } = request
    try {
      const authorized = authorizedBytes(channel.sessionId, {
        corrId,
        entityId,
        command: commandParts(version, command),
      })
      const authorization =
        key === undefined ? empty : authorize(key.algorithm, key.privateKey, authorized, { corrId, routerKey })
      return compact(authorizedTransmission(version, channel.sessionId, authorized, authorization))
    } catch (error) {
      open.reject(asDuologueError(error))
      return undefined
    }
  }

  const handle = (received: Received): 'answered' | 'handled' => {
    const { corrId, entityId, response } = received
    if (corrId.length === 0) {
      if (response instanceof RouterError) unexpected(entityId, response)
      else event({ sessionId: id, entityId, response })
      return 'handled'
    }
    const open = requests.find(corrId)
    if (open !== undefined) {
      answer(open, received)
      scheduleFlush()
      return 'answered'
    }
    const expired = requests.takeExpired(corrId)
    if (expired === undefined) unexpected(entityId, mismatch('unknown correlation id', response))
    else lateAnswer(expired, received)
    return 'handled'
  }

  const answer = (open: OpenRequest, { entityId, response }: Received): void => {
    const { command, entityId: asked } = open.request
    if (response instanceof RouterError) open.reject(response)
    else if (!sameBytes(asked, entityId)) open.reject(mismatch('wrong entity id', response))
    else if (response.type === 'ERR') open.reject(toRouterError(response.error, command.type))
    else open.resolve(response)
  }

  const lateAnswer = ({ command, entityId: asked }: ExpiredRequest, { entityId, response }: Received): void => {
    counters.late += 1
    if (response instanceof RouterError) unexpected(entityId, response)
    else if (!sameBytes(asked, entityId)) unexpected(entityId, mismatch('wrong entity id', response))
    else event({ sessionId: id, entityId, response, answerTo: command })
  }

  const event = (event: RouterEvent): void => {
    if (onEvent !== undefined) guarded(onEvent, event)
    else if (earlyEvents.length < maxEarlyEvents) earlyEvents.push(event)
    else channel.destroy(transportError('TRANSPORT_HANDLER', 'nobody takes the events of this session'))
  }

  const unexpected = (entityId: Bytes, error: RouterError): void => {
    counters.unexpected += 1
    if (onUnexpected !== undefined) guarded(onUnexpected, { sessionId: id, entityId, error })
  }

  /** A receiver that throws ends its session, not the process. */
  const guarded = <T>(handler: (value: T) => void, value: T): void => {
    try {
      handler(value)
    } catch (cause) {
      channel.destroy(transportError('TRANSPORT_HANDLER', 'the receiver of an event failed', { cause }))
    }
  }

  const alive = keepAlive(
    clock,
    limits,
    () => send({ command: { type: 'PING' }, entityId: empty }),
    () => channel.destroy(transportError('TRANSPORT_TIMEOUT', 'the router has not answered for a long time')),
  )

  channel.onClose(reason => {
    end = reason
    alive.stop()
    requests.rejectAll(reason)
  })
  openInbox(channel, blocks, version, received => {
    alive.received()
    return handle(received)
  })

  return {
    id,
    router,
    version,
    routerKey,
    tlsSessionId: channel.sessionId,
    get closed() {
      return channel.closed
    },
    send,
    sendMany: (all, options) => Promise.allSettled(all.map(request => send(request, options))),
    onEvent: handler => {
      onEvent = handler
      for (const early of earlyEvents.splice(0)) guarded(handler, early)
    },
    onUnexpected: handler => {
      onUnexpected = handler
    },
    onClose: handler => channel.onClose(handler),
    counts: (): SessionCounts => ({ inFlight: requests.inFlight, queued: requests.queued, ...counters }),
    close: () => channel.close(),
  }
}

const closedBefore = (end: TransportError | undefined): TransportError =>
  transportError('TRANSPORT_CLOSED', 'the session has ended', {
    facts: { sent: false },
    ...(end === undefined ? {} : { cause: end }),
  })

const mismatch = (problem: string, response: Response | RouterError): RouterError =>
  new RouterError(
    'SMP_UNEXPECTED',
    `the router sent an answer with ${problem === 'unknown correlation id' ? 'an' : 'a'} ${problem}`,
    {
      field: 'response',
      facts: { type: response instanceof RouterError ? 'unreadable' : response.type },
    },
  )

const sameBytes = (a: Bytes, b: Bytes): boolean => Buffer.compare(a, b) === 0
