/**
 * Signal’s service in memory, scripted: what only its answers, or time, decide is tried on a virtual clock. It keeps a queue
 * for the account as the real one does: what was not acknowledged is delivered again on the next socket.
 */
import { PrivateKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client'
import { type FrameChannel, signalTransportError } from '../../../src/signal/net/port.js'
import type { SignalDialer } from '../../../src/signal/index.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import { frameTypes, webSocketMessage } from '../../../src/signal/wire/messages.js'
import type { MemoryPerson } from './memoryPerson.js'

export type SocketName = 'identified' | 'unidentified' | 'provisioning'

/** A request of the channel. */
export interface Asked {
  readonly socket: SocketName
  readonly verb: string
  readonly path: string
  readonly json: Record<string, unknown>
}

/** An answer; `silence`: none ever, `close`: the socket breaks instead. */
export type Reply =
  | { readonly status: number; readonly json?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | 'silence'
  | 'close'

export interface MemoryService {
  readonly dialer: SignalDialer
  readonly trustRoot: string
  /** Everything that was asked, in order. */
  readonly asked: Asked[]
  /** Messages that were asked to be sent to a service id. */
  messagesTo(serviceId: string): Asked[]
  /** Decides before the service does; undefined leaves it to the service. `taken`: what the service would answer, done. */
  script: ((asked: Asked, take: () => Reply) => Reply | Promise<Reply> | undefined) | undefined
  /** Messages that may be unacknowledged on one socket. */
  window: number
  /** Whether sockets open. */
  dialing: 'open' | 'fail'
  readonly people: Map<string, MemoryPerson>
  /** The bodies of the last uploads of prekeys, by identity. */
  readonly preKeys: Map<string, Record<string, never>>
  /** Puts a message into the account’s queue. */
  queue(envelope: Uint8Array): void
  /** How many messages wait there for their acknowledgement. */
  readonly queued: number
  /** Makes a request over the open socket; resolves with the status of its answer. */
  push(path: string, body?: Uint8Array, socket?: SocketName): Promise<number>
  /** A frame of any bytes. */
  frame(bytes: Uint8Array, socket?: SocketName): void
  close(socket: SocketName, code: number): void
  /** A certificate that the service signs; of another root when `trusted` is false. */
  certificate(options?: { readonly expires?: number; readonly trusted?: boolean; readonly deviceId?: number }): string
}

export interface ServiceAccount {
  readonly aci: string
  readonly deviceId: number
  readonly identity: PrivateKey
  readonly e164: string
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const jsonOf = (body: Uint8Array | undefined): Record<string, unknown> => {
  try {
    return JSON.parse(Buffer.from(body ?? []).toString()) as Record<string, unknown>
  } catch {
    return {}
  }
}

interface OpenSocket {
  receive(frame: Uint8Array): void
  close(code: number): void
  readonly acks: Map<number, (status: number) => void>
}

export const memoryService = (account: ServiceAccount, now: () => number): MemoryService => {
  const root = PrivateKey.generate()
  const serverKey = PrivateKey.generate()
  const signedBy = (key: PrivateKey): ServerCertificate => ServerCertificate.new(1, serverKey.getPublicKey(), key)
  const sockets = new Map<SocketName, OpenSocket>()
  const items: Array<{ readonly envelope: Uint8Array; socket: OpenSocket | undefined }> = []
  let lastId = 0

  const request = (socket: OpenSocket, path: string, body: Uint8Array): Promise<number> => {
    const id = ++lastId
    const answered = new Promise<number>(resolve => socket.acks.set(id, resolve))
    const frame = { type: frameTypes.request, request: { verb: 'PUT', path, id, headers: [], body } }
    socket.receive(encode(webSocketMessage, frame))
    return answered
  }
  const pump = (): void => {
    const socket = sockets.get('identified')
    if (socket === undefined) return
    for (const item of items.slice()) {
      if (item.socket === socket) continue
      if (items.filter(one => one.socket === socket).length >= service.window) return
      item.socket = socket
      void request(socket, '/api/v1/message', item.envelope).then(status => {
        if (status === 200) items.splice(items.indexOf(item), 1)
        pump()
      })
    }
  }

  const service: MemoryService = {
    trustRoot: base64(root.getPublicKey().serialize()),
    asked: [],
    script: undefined,
    window: 256,
    dialing: 'open',
    people: new Map(),
    preKeys: new Map(),
    messagesTo: serviceId => service.asked.filter(({ path }) => path === `/v1/messages/${serviceId}`),
    queue: envelope => {
      items.push({ envelope, socket: undefined })
      pump()
    },
    get queued() {
      return items.length
    },
    push: (path, body = new Uint8Array(), name = 'identified') => {
      const socket = sockets.get(name)
      return socket === undefined ? Promise.reject(new Error(`no ${name} socket`)) : request(socket, path, body)
    },
    frame: (bytes, name = 'identified') => sockets.get(name)?.receive(bytes),
    close: (name, code) => sockets.get(name)?.close(code),
    certificate: ({ expires = now() + 7 * 24 * 3_600_000, trusted = true, deviceId = account.deviceId } = {}) =>
      base64(
        SenderCertificate.new(
          account.aci,
          account.e164,
          deviceId,
          account.identity.getPublicKey(),
          expires,
          signedBy(trusted ? root : PrivateKey.generate()),
          serverKey,
        ).serialize(),
      ),
    dialer: {
      dial: async ({ socket }) => {
        if (service.dialing === 'fail') throw signalTransportError('SIGNAL_UNREACHABLE', 'no')
        return open(socket)
      },
      http: async () => ({ status: 404, body: Buffer.alloc(0) }),
    },
  }

  const answer = ({ verb, path, json }: Asked): Reply => {
    if (path.startsWith('/v1/certificate')) return { status: 200, json: { certificate: service.certificate() } }
    if (path.startsWith('/v2/keys?')) {
      const identity = path.split('=').at(-1) ?? ''
      if (verb === 'GET') return { status: 200, json: { count: service.preKeys.has(identity) ? 100 : 0, pqCount: 100 } }
      service.preKeys.set(identity, json as Record<string, never>)
      return { status: 200 }
    }
    const [, , kind, serviceId = '', deviceId] = path.split('/')
    const person = service.people.get(serviceId)
    if (kind === 'keys') return person?.keysOf(Number(deviceId)) ?? { status: 404 }
    if (kind === 'messages') return person?.take(json, account) ?? { status: 404 }
    return { status: 200, json: {} }
  }

  const open = (name: SocketName): FrameChannel => {
    let ended = false
    let onFrame: (frame: Uint8Array) => void = () => {}
    let onClose: (code: number) => void = () => {}
    const socket: OpenSocket = {
      acks: new Map(),
      receive: frame => {
        if (!ended) onFrame(frame)
      },
      close: code => {
        if (ended) return
        ended = true
        if (sockets.get(name) === socket) sockets.delete(name)
        for (const item of items) if (item.socket === socket) item.socket = undefined
        onClose(code)
      },
    }
    sockets.set(name, socket)
    setImmediate(() => {
      if (!ended && name === 'identified') pump()
    })
    return {
      send: frame => {
        if (ended) throw signalTransportError('SIGNAL_CLOSED', 'the socket has ended')
        const { request, response } = decode(webSocketMessage, frame)
        if (response !== undefined) socket.acks.get(response.id ?? 0)?.(response.status ?? 0)
        if (request === undefined) return
        const { verb = '', path = '', id, body } = request
        const asked: Asked = { socket: name, verb, path, json: jsonOf(body) }
        service.asked.push(asked)
        void Promise.resolve(service.script?.(asked, () => answer(asked)) ?? answer(asked)).then(reply =>
          respond(socket, id, reply),
        )
      },
      destroy: () => socket.close(1006),
      onFrame: listener => {
        onFrame = listener
      },
      onClose: listener => {
        onClose = listener
      },
    }
  }
  const respond = (socket: OpenSocket, id: number | undefined, reply: Reply): void => {
    if (reply === 'silence') return
    if (reply === 'close') return void setImmediate(() => socket.close(1006))
    const headers = Object.entries(reply.headers ?? {}).map(([key, value]) => `${key}:${value}`)
    const bytes = Buffer.from(reply.json === undefined ? '' : JSON.stringify(reply.json))
    const answered = { id, status: reply.status, message: '', headers, body: bytes }
    setImmediate(() => socket.receive(encode(webSocketMessage, { type: frameTypes.response, response: answered })))
  }
  return service
}
