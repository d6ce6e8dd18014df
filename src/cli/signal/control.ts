/**
 * How other commands reach a running service: JSON lines over a Unix socket beside its database, `{"call", "params"}` and an
 * answer each. A send that waits is answered when SENT or MERR has come.
 */
import { chmod, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { asDuologueError, CallError, type DuologueError, TransportError } from '../../errors.js'
import { createLineWriter, readLines } from '../../service/lines.js'
import { toJson } from '../../service/json.js'
import type { Signal, SignalEvent } from '../../signal/index.js'

/** What a send came to. */
export interface SendResult {
  readonly recipientId: string
  readonly messageId: number
  readonly timestamp: number
  readonly correlationId: string
  /** `waiting`: neither SENT nor MERR has come in time; the message stands in the outbox and is sent when it can be. */
  readonly outcome: 'sent' | 'failed' | 'waiting'
  readonly sealed?: boolean
  /** Of MERR, or why it waits, if a MWARN has told. */
  readonly error?: object
  /** From the call to the outcome, in ms. */
  readonly tookMs: number
}

export interface ControlServer {
  /** Tells sends that wait. */
  readonly heard: (event: SignalEvent) => void
  close(): Promise<void>
}

/** What the control socket’s `send` takes: a message, and how long its end is waited for. */
export type ControlSend = Parameters<Signal['send']>[0] & { readonly waitMs?: number }

type Waiter = (event: SignalEvent) => void
const keyOf = (recipientId: string, messageId: number): string => `${recipientId}/${messageId}`

/** Serves the calls of a channel at a path; a socket that a killed service has left there is replaced. */
export const serveControl = async (signal: Signal, path: string): Promise<ControlServer> => {
  const waiting = new Map<string, Waiter>()
  /** Outcomes of messages whose send has not been answered yet. */
  const early = new Map<string, SignalEvent>()
  const connections = new Set<Socket>()
  const answer = async (line: string): Promise<object> => {
    try {
      const { call, params } = JSON.parse(line) as { call?: unknown; params?: unknown }
      return { result: toJson(await callOf(call)(params as never)) }
    } catch (error) {
      return { error: asDuologueError(error) }
    }
  }
  const send = async ({ waitMs = defaultWaitMs, ...params }: ControlSend): Promise<SendResult> => {
    const startedAt = Date.now()
    const accepted = await signal.send(params)
    const key = keyOf(accepted.recipientId, accepted.messageId)
    const event = await endOf(key, waitMs)
    return { ...accepted, ...outcomeOf(event), tookMs: Date.now() - startedAt }
  }
  /** SENT or MERR; when the time is over the last MWARN, or undefined. */
  const endOf = async (key: string, waitMs: number): Promise<SignalEvent | undefined> => {
    let warning: SignalEvent | undefined
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<SignalEvent | undefined>(resolve => {
        const waiter = (event: SignalEvent): void => {
          if (event.type === 'MWARN') warning = event
          else resolve(event)
        }
        waiting.set(key, waiter)
        timer = setTimeout(() => resolve(warning), waitMs)
        const known = early.get(key)
        if (known !== undefined) waiter(known)
      })
    } finally {
      clearTimeout(timer)
      waiting.delete(key)
      early.delete(key)
    }
  }
  const callOf = (call: unknown): ((params: never) => Promise<unknown>) => {
    if (call === 'send') return send
    if (call === 'health') return async () => signal.health()
    throw new CallError('RPC_METHOD', 'no such call', { field: 'call', hint: 'send, health' })
  }
  const server = createServer(socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', () => socket.destroy())
    void serveConnection(socket, answer)
  })
  await rm(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  // Whoever reaches it can send in the account’s name.
  await chmod(path, 0o600)
  return {
    heard: event => {
      if (event.type !== 'SENT' && event.type !== 'MERR' && event.type !== 'MWARN') return
      const key = keyOf(event.connectionId, event.messageId)
      const waiter = waiting.get(key)
      if (waiter !== undefined) waiter(event)
      else remember(early, key, event)
    },
    close: async () => {
      for (const socket of connections) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

const defaultWaitMs = 60_000

const outcomeOf = (event: SignalEvent | undefined): Pick<SendResult, 'outcome' | 'sealed' | 'error'> => {
  if (event?.type === 'SENT') return { outcome: 'sent', sealed: event.sealed }
  const error = event !== undefined && 'error' in event ? { error: event.error } : {}
  return { outcome: event?.type === 'MERR' ? 'failed' : 'waiting', ...error }
}

/** The outcome of a message may come before the answer that names it. */
const mostEarly = 1_000

const remember = (early: Map<string, SignalEvent>, key: string, event: SignalEvent): void => {
  early.set(key, event)
  for (const oldest of early.keys()) {
    if (early.size <= mostEarly) return
    early.delete(oldest)
  }
}

const maxLine = 1_048_576

const serveConnection = async (socket: Socket, answer: (line: string) => Promise<object>): Promise<void> => {
  const writer = createLineWriter(socket)
  try {
    for await (const line of readLines(socket, maxLine)) {
      if (!('text' in line)) return
      await writer.write(JSON.stringify(await answer(line.text)))
    }
  } catch {
    // Whoever asked is gone.
  } finally {
    socket.destroy()
  }
}

/** A connection to a running service. */
export interface ControlClient {
  /** Throws what the service answers, and TransportError SIGNAL_NO_SERVICE when it ends. */
  call<T>(call: string, params: object): Promise<T>
  close(): void
}

/** Connects to a running service. Throws TransportError SIGNAL_NO_SERVICE. */
export const connectControl = async (path: string): Promise<ControlClient> => {
  const socket = createConnection(path)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', () => reject(noService(path)))
  })
  socket.on('error', () => {})
  const lines = readLines(socket, maxLine)[Symbol.asyncIterator]()
  return {
    call: async <T>(call: string, params: object): Promise<T> => {
      socket.write(`${JSON.stringify({ call, params })}\n`)
      const next = await lines.next().catch(() => {
        throw noService(path)
      })
      if (next.done === true || !('text' in next.value)) throw noService(path)
      const { result, error } = JSON.parse(next.value.text) as { result?: T; error?: DuologueError }
      if (error === undefined) return result as T
      throw new CallError(error.code, error.message, {
        ...(error.field === undefined ? {} : { field: error.field }),
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      })
    },
    close: () => socket.destroy(),
  }
}

const noService = (path: string): TransportError =>
  new TransportError('SIGNAL_NO_SERVICE', 'no service is running there', {
    field: path,
    hint: 'start it: duologue signal monitor',
  })
