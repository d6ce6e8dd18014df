import type { Bytes } from '../../encoding/index.js'
import { asDuologueError, type TransportError } from '../../errors.js'
import type { Clock } from '../../runtime/clock.js'
import { decode, encode, type MessageOf } from '../wire/codec.js'
import { frameTypes, webSocketMessage } from '../wire/messages.js'
import { type FrameChannel, signalTransportError } from './port.js'

export interface SignalRequest {
  readonly verb: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly path: string
  /** Written as JSON. */
  readonly json?: object
  readonly headers?: Readonly<Record<string, string>>
}

export interface SignalResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Bytes
}

/** A request of the server: a message, or word that its queue is empty. */
export interface ServerRequest {
  readonly verb: string
  readonly path: string
  readonly body: Bytes
  /** The session has ended: what it says is of the past. */
  readonly ended: boolean
  /** Answers; 200 acknowledges a message. Does nothing when the session has ended. */
  respond(status: number): void
}

interface Pending {
  readonly resolve: (response: SignalResponse) => void
  readonly reject: (error: TransportError) => void
}

/** Requests without an answer in one session. */
const maxPending = 256

/**
 * One WebSocket session: requests with their answers, each under a deadline, and requests of the server. It ends once, and
 * fails then whatever waits for it.
 */
export class SignalSession {
  readonly #channel: FrameChannel
  readonly #clock: Clock
  readonly #socket: string
  readonly #pending = new Map<number, Pending>()
  #lastId = 0
  #lastReceivedAt: number
  #closed = false
  /** Set before the first frame can come. */
  onRequest: (request: ServerRequest) => void = () => {}
  onClose: (code: number) => void = () => {}

  constructor(channel: FrameChannel, clock: Clock, socket: string) {
    this.#channel = channel
    this.#clock = clock
    this.#socket = socket
    this.#lastReceivedAt = clock.now()
    channel.onClose(code => this.#end(code))
    channel.onFrame(frame => this.#received(frame))
  }

  get closed(): boolean {
    return this.#closed
  }

  /** When the last frame came, in ms since 1970. */
  get lastReceivedAt(): number {
    return this.#lastReceivedAt
  }

  /** Rejects with TransportError: SIGNAL_TIMEOUT, SIGNAL_CLOSED. In both cases the server may have processed the request. */
  request({ verb, path, json, headers = {} }: SignalRequest, timeoutMs: number): Promise<SignalResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw signalTransportError('SIGNAL_CLOSED', 'the socket is closed', { field: this.#socket })
      if (this.#pending.size >= maxPending)
        throw signalTransportError('SIGNAL_CLOSED', 'too many requests wait for an answer', { field: this.#socket })
      const id = ++this.#lastId
      const timer = this.#clock.setTimeout(() => {
        this.#pending
          .get(id)
          ?.reject(
            signalTransportError('SIGNAL_TIMEOUT', 'no answer in time', { field: this.#socket, facts: { timeoutMs } }),
          )
      }, timeoutMs)
      const done = (): void => {
        this.#pending.delete(id)
        this.#clock.clearTimeout(timer)
      }
      this.#pending.set(id, {
        resolve: response => {
          done()
          resolve(response)
        },
        reject: error => {
          done()
          reject(error)
        },
      })
      const body = json === undefined ? undefined : Buffer.from(JSON.stringify(json))
      const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}`)
      if (body !== undefined) lines.push('content-type:application/json')
      try {
        this.#channel.send(
          encode(webSocketMessage, { type: frameTypes.request, request: { verb, path, id, headers: lines, body } }),
        )
      } catch (error) {
        this.#pending.get(id)?.reject(asDuologueError(error) as TransportError)
      }
    })
  }

  /** Ends the session at once. */
  destroy(): void {
    this.#channel.destroy()
    this.#end(1006)
  }

  #received(frame: Bytes): void {
    if (this.#closed) return
    this.#lastReceivedAt = this.#clock.now()
    let message: Frame
    try {
      message = decode(webSocketMessage, frame)
    } catch {
      // A peer that speaks another language: nothing after this can be understood.
      this.destroy()
      return
    }
    const { request, response } = message
    if (message.type === frameTypes.response && response !== undefined) {
      this.#pending.get(response.id ?? 0)?.resolve({
        status: response.status ?? 0,
        headers: headersOf(response.headers ?? []),
        body: response.body ?? Buffer.alloc(0),
      })
    } else if (message.type === frameTypes.request && request !== undefined) {
      this.onRequest(this.#requestOf(request))
    }
  }

  #requestOf({ verb = '', path = '', body = Buffer.alloc(0), id = 0 }: NonNullable<Frame['request']>): ServerRequest {
    const isClosed = (): boolean => this.#closed
    return {
      verb,
      path,
      body,
      get ended() {
        return isClosed()
      },
      respond: status => this.#respond(id, status),
    }
  }

  #respond(id: number, status: number): void {
    if (this.#closed) return
    const message = status === 200 ? 'OK' : 'Error'
    try {
      this.#channel.send(encode(webSocketMessage, { type: frameTypes.response, response: { id, status, message } }))
    } catch {
      // The socket is closing: the server delivers the message again.
    }
  }

  #end(code: number): void {
    if (this.#closed) return
    this.#closed = true
    const error = signalTransportError('SIGNAL_CLOSED', 'the socket was closed', {
      field: this.#socket,
      facts: { closeCode: code },
    })
    for (const pending of this.#pending.values()) pending.reject(error)
    this.onClose(code)
  }
}

type Frame = MessageOf<typeof webSocketMessage>

const headersOf = (lines: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    lines.map(line => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )

/** The JSON of an answer, or an empty object where there is none. */
export const jsonOf = ({ body }: SignalResponse): Record<string, unknown> => {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
