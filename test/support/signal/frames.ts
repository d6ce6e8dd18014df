/** Frames in memory, for what only time decides: a scripted server behind a SignalLink on a virtual clock. */
import type { FrameChannel } from '../../../src/signal/net/port.js'
import { signalTransportError } from '../../../src/signal/net/port.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import { frameTypes, webSocketMessage } from '../../../src/signal/wire/messages.js'

export interface ScriptedServer {
  /** Connections so far; the last one is the open one. */
  readonly dials: number
  /** Requests that have arrived, as `GET /v1/keepalive`. */
  readonly requests: string[]
  /** How the next attempts to connect end. */
  dialing: 'open' | 'fail' | 'refuse' | 'hang'
  /** Whether requests are answered; a request that is not is lost. */
  answering: boolean
  dial(signal: AbortSignal): Promise<FrameChannel>
  /** Closes the open connection with a code. */
  close(code: number): void
  /** Sends a request to the client. */
  push(path: string): void
}

export const scriptedServer = (): ScriptedServer => {
  let open: { readonly close: (code: number) => void; readonly receive: (frame: Uint8Array) => void } | undefined
  const server: ScriptedServer = {
    dials: 0,
    requests: [],
    dialing: 'open',
    answering: true,
    dial: async signal => {
      ;(server as { dials: number }).dials += 1
      if (server.dialing === 'fail') throw signalTransportError('SIGNAL_UNREACHABLE', 'no')
      if (server.dialing === 'refuse') throw signalTransportError('SIGNAL_REFUSED', 'no')
      if (server.dialing === 'hang') {
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
      return channel()
    },
    close: code => open?.close(code),
    push: path =>
      open?.receive(
        encode(webSocketMessage, { type: frameTypes.request, request: { verb: 'PUT', path, id: 1, headers: [] } }),
      ),
  }
  const channel = (): FrameChannel => {
    let ended = false
    let onFrame: (frame: Uint8Array) => void = () => {}
    let onClose: (code: number) => void = () => {}
    const close = (code: number): void => {
      if (ended) return
      ended = true
      onClose(code)
    }
    const receive = (frame: Uint8Array): void => {
      if (!ended) onFrame(frame)
    }
    open = { close, receive }
    return {
      send: frame => {
        const { request } = decode(webSocketMessage, frame)
        if (request === undefined) return
        server.requests.push(`${request.verb} ${request.path}`)
        if (!server.answering) return
        const response = { id: request.id, status: 200, message: 'OK', headers: [] }
        queueMicrotask(() => receive(encode(webSocketMessage, { type: frameTypes.response, response })))
      },
      destroy: () => close(1006),
      onFrame: listener => {
        onFrame = listener
      },
      onClose: listener => {
        onClose = listener
      },
    }
  }
  return server
}
