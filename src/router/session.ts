/**
 * One client: handshake, then blocks of commands. Commands of a block are started in their order and answered when their work is
 * done, so many SENDs share a commit. What a client costs is bounded: time for its hello, commands in flight, blocks read ahead,
 * bytes that wait for it, silence.
 */
import type { Bytes } from '../encoding/index.js'
import { asDuologueError, CryptoError, TransportError } from '../errors.js'
import type { Clock, TimerHandle } from '../runtime/clock.js'
import { nextTurn } from '../runtime/nextTurn.js'
import type { Response } from '../smp/protocol/responses.js'
import type { SmpError } from '../smp/protocol/routerErrors.js'
import { authorizedBytes } from '../smp/protocol/transmission.js'
import type { BlockChannel } from '../smp/transport/port.js'
import { isAuthorized, type Verify } from './authorize.js'
import type { Execute } from './commands.js'
import type { RouterSettings } from './config.js'
import { openForwarded } from './forwarded.js'
import type { AgreedSession, Handshaker } from './handshake.js'
import { createOutput, type Output } from './output.js'
import type { QueueParty } from './queue.js'
import type { Queue, Queues } from './queues.js'
import { type ReadRequest, readRequests, type RejectedRequest } from './requests.js'
import type { Subscriber } from './subscriptions.js'

/** What a session needs of its router. */
export interface SessionContext {
  readonly handshaker: Handshaker
  readonly queues: Queues
  readonly execute: Execute
  readonly verify: Verify
  readonly limits: RouterSettings['limits']
  readonly clock: Clock
  /** Undefined: messages may be stored; else resolves when they may. */
  readonly room: () => Promise<void> | undefined
  /** A proxy's command was opened. */
  readonly onForwarded: () => void
  /** The client has read what waited for it. */
  readonly onRoom: (session: Session) => void
  readonly onClose: (session: Session) => void
  readonly log: (level: 'debug' | 'warn', event: string, facts: Readonly<Record<string, unknown>>) => void
}

export interface Session extends Subscriber {
  /** Ends the session; a client that is owed answers takes its commands as not done. */
  close(reason?: TransportError): void
}

/** A command of a block, direct or through a proxy. */
interface Item {
  readonly request: ReadRequest | RejectedRequest
  /** Of the protocol that its sender speaks. */
  readonly version: number
  readonly respond: (response: Response) => void
}

/** Blocks that wait while one is being worked on; past it the channel is paused. */
const blocksAhead = 2
/** Commands of one client that are started without a turn for the others, and how long that may take, ms. */
const commandsPerTurn = 32
const turnMs = 2

/** Starts the handshake on a fresh channel. */
export const startSession = (channel: BlockChannel, context: SessionContext): Session => {
  const { limits, clock, log } = context
  const readHello = context.handshaker.start(channel)
  let agreed: AgreedSession | undefined
  let output: Output | undefined
  let inbox: Bytes[] = []
  let working = false
  let paused = false
  let inFlight = 0
  let forwarding = 0
  let startedInTurn = 0
  let turnBegan = 0
  let answered: (() => void) | undefined
  let lastBlockAt = clock.elapsed()
  let stallTimer: TimerHandle | undefined
  let timer: TimerHandle = clock.setTimeout(handshakeTimeout, limits.handshakeSeconds * 1000)

  function handshakeTimeout(): void {
    close(new TransportError('TRANSPORT_TIMEOUT', 'no client hello in time', { field: channel.remoteAddress }))
  }

  const close = (reason?: TransportError): void => {
    if (reason !== undefined) log('debug', 'session closed', { code: reason.code, from: channel.remoteAddress })
    channel.destroy(reason)
  }

  const session: Session = {
    subscriptions: new Map(),
    notifiers: new Set(),
    deferred: new Set(),
    get congested() {
      return output?.congested ?? true
    },
    send: (corrId, entityId, response) => output?.send(corrId, entityId, response),
    expect: messages => output?.expect(messages),
    failed: error => fail(error),
    close,
  }

  const watchSilence = (): void => {
    const left = lastBlockAt + limits.idleSeconds * 1000 - clock.elapsed()
    if (left <= 0) return close(timeout('the client was silent too long'))
    timer = clock.setTimeout(watchSilence, left)
  }

  /** From the moment on in which the socket takes nothing more; most clients never come to that. */
  const watchStall = (): void => {
    stallTimer = undefined
    const blockedSince = output?.blockedSince
    if (blockedSince === undefined || channel.closed) return
    const left = blockedSince + limits.stalledSeconds * 1000 - clock.elapsed()
    if (left <= 0) return close(timeout('the client does not read'))
    stallTimer = clock.setTimeout(watchStall, left)
  }

  const timeout = (message: string): TransportError =>
    new TransportError('TRANSPORT_TIMEOUT', message, { field: channel.remoteAddress })

  const handshake = (block: Bytes): void => {
    const result = readHello(block)
    clock.clearTimeout(timer)
    if (result === 'refused') return channel.close()
    agreed = result
    const { version, blocks: coding } = result
    const onRoom = (): void => {
      context.onRoom(session)
      answered?.()
    }
    const maxBytes = limits.outputBytesPerSession
    const onBlocked = (): void => {
      // One that waits already looks for itself at what is blocked then.
      if (stallTimer === undefined) watchStall()
    }
    output = createOutput({ channel, version, coding, maxBytes, now: () => clock.elapsed(), onBlocked, onRoom })
    watchSilence()
  }

  const work = async (): Promise<void> => {
    working = true
    beginTurn()
    try {
      for (let block = inbox.shift(); block !== undefined && !channel.closed; block = inbox.shift()) {
        await workBlock(block)
        if (!paused || inbox.length > 0) continue
        paused = false
        channel.resume()
      }
    } catch (error) {
      fail(error)
    }
    working = false
  }

  const workBlock = async (block: Bytes): Promise<void> => {
    const { version, blocks } = agreed as AgreedSession
    const items = readRequests(version, blocks.decrypt(block)).map(itemOf)
    const loading = context.queues.load(items.flatMap(queueOf))
    if (loading !== undefined) await loading
    for (const { request, version, respond } of items) {
      await leaveTurn()
      await mayGoOn(request)
      if (channel.closed) return
      if ('error' in request) {
        respond(errorResponse(request.error))
        continue
      }
      const queue = request.party === undefined ? undefined : context.queues.get(request.party, request.entityId)
      // What follows a change of a queue (KEY, then a signed SEND) must see it.
      for (let change = queue?.changing; change !== undefined; change = queue?.changing) await change
      start(request, version, queue, respond)
    }
  }

  /** Verifying a full block may take 40 ms: others get their turn in between. */
  const leaveTurn = async (): Promise<void> => {
    if (startedInTurn >= commandsPerTurn || clock.elapsed() - turnBegan >= turnMs) {
      await nextTurn()
      beginTurn()
    }
    startedInTurn++
  }

  const beginTurn = (): void => {
    startedInTurn = 0
    turnBegan = clock.elapsed()
  }

  /** What a proxy forwards becomes the command of the client behind it. */
  const itemOf = (request: ReadRequest | RejectedRequest): Item => {
    const { corrId, entityId } = request
    const { version, ...keys } = agreed as AgreedSession
    const respond = (response: Response): void => output?.send(corrId, entityId, response)
    if ('error' in request || request.command.type !== 'RFWD') return { request, version, respond }
    const opened = openForwarded(keys, corrId, request.command.transmission)
    if ('error' in opened) return { request: { corrId, entityId, error: opened.error }, version, respond }
    context.onForwarded()
    return { ...opened, respond: response => respond(opened.seal(response)) }
  }

  /** Backpressure: by the disk, by unanswered commands, by relays and by what the client has not read. */
  const mayGoOn = async (request: ReadRequest | RejectedRequest): Promise<void> => {
    const room = context.room()
    if (room !== undefined) await room
    const mustWait = (): boolean =>
      inFlight >= limits.inFlightPerSession ||
      session.congested ||
      (isForRelay(request) && forwarding >= limits.forwardsPerSession)
    while (!channel.closed && mustWait()) {
      await new Promise<void>(resolve => {
        answered = resolve
      })
    }
  }

  const start = (
    request: ReadRequest,
    version: number,
    queue: Queue | undefined,
    respond: (response: Response) => void,
  ): void => {
    const { command, corrId, entityId, raw } = request
    const { routerPrivateKey } = agreed as AgreedSession
    const authorized = raw.authorization.length === 0 ? noBytes : authorizedBytes(channel.sessionId, raw)
    const credentials = { authorization: raw.authorization, authorized, corrId, routerPrivateKey }
    if (!isAuthorized(command, queue?.record, credentials, context.verify)) {
      return respond(errorResponse({ type: 'AUTH' }))
    }
    const forRelay = isForRelay(request) ? 1 : 0
    inFlight++
    forwarding += forRelay
    let open = true
    const answer = (response: Response): void => {
      if (!open) return
      open = false
      inFlight--
      forwarding -= forRelay
      respond(response)
      answered?.()
    }
    try {
      const running = context.execute(session, { command, corrId, entityId, version, queue, respond: answer })
      if (running instanceof Promise) running.catch(error => failCommand(error, answer))
    } catch (error) {
      failCommand(error, answer)
    }
  }

  const failCommand = (error: unknown, answer: (response: Response) => void): void => {
    // A key that agrees on nothing.
    if (error instanceof CryptoError) return answer(errorResponse({ type: 'CRYPTO' }))
    fail(error)
  }

  /**
   * Trouble of the router, such as a database that is away: agents take an error for final and would give their messages up, but
   * they repeat what a broken connection left unanswered.
   */
  const fail = (error: unknown): void => {
    const { code, message } = asDuologueError(error)
    const own = error instanceof TransportError
    log(own ? 'debug' : 'warn', 'session failed', { code, message, from: channel.remoteAddress })
    channel.destroy(own ? error : undefined)
  }

  channel.onBlock(block => {
    lastBlockAt = clock.elapsed()
    if (agreed === undefined) {
      try {
        handshake(block)
      } catch (error) {
        fail(error)
      }
      return
    }
    inbox.push(block)
    if (inbox.length >= blocksAhead && !paused) {
      paused = true
      channel.pause()
    }
    if (!working) void work()
  })
  channel.onClose(() => {
    clock.clearTimeout(timer)
    if (stallTimer !== undefined) clock.clearTimeout(stallTimer)
    inbox = []
    answered?.()
    context.onClose(session)
  })
  return session
}

const noBytes: Bytes = new Uint8Array(0)

const errorResponse = (error: SmpError): Response => ({ type: 'ERR', error })

const queueOf = ({ request }: Item): Array<readonly [QueueParty, Bytes]> =>
  'error' in request || request.party === undefined ? [] : [[request.party, request.entityId]]

/** Whether the answer depends on another router. */
const isForRelay = (request: ReadRequest | RejectedRequest): boolean =>
  !('error' in request) && (request.command.type === 'PRXY' || request.command.type === 'PFWD')
