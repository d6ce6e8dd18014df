import { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { WebSocket } from 'ws'
import { ConfigError, type TransportError } from '../../errors.js'
import {
  type DialTarget,
  type FrameChannel,
  type HttpAnswer,
  type HttpRequest,
  type SignalDialer,
  signalTransportError,
} from './port.js'

export interface SignalServerAddress {
  /** `https://chat.signal.org` */
  readonly url: string
  /** The certificate authority of the server, PEM; the system’s when absent. */
  readonly ca?: string | undefined
}

/** Signal sends no frame above 512 KiB. */
const maxFrame = 1_048_576
/** An attachment is 100 MiB at the most. */
const maxBody = 110 * 1_048_576
/** Bytes that may wait in the socket before a sender is told that it does not move. */
const maxWaiting = 8 * 1_048_576

/** The real network: WebSocket over TLS, and HTTPS for attachments. Throws ConfigError CONFIG_SERVER. */
export const signalDialer = ({ url, ca }: SignalServerAddress): SignalDialer => {
  checkAddress(url, ca)
  return {
    dial: (target, signal) => dial(url, ca, target, signal),
    http: (request, signal) => http(ca, request, signal),
  }
}

const checkAddress = (url: string, ca: string | undefined): void => {
  if (!/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : ''))
    throw new ConfigError('CONFIG_SERVER', 'the address of the server is none', {
      field: 'server',
      hint: 'give it as https://chat.signal.org',
    })
  // Node takes a text without certificates for none at all, and trusts nobody then.
  if (ca !== undefined && !isCertificate(ca))
    throw new ConfigError('CONFIG_SERVER', 'the certificate authority of the server is none', {
      field: 'ca',
      hint: 'it is a certificate in PEM',
    })
}

const isCertificate = (text: string): boolean => {
  try {
    return new X509Certificate(text).subject !== undefined
  } catch {
    return false
  }
}

/** Why nothing was reached, as Node names it. */
const unreachable = (url: string, field: string, cause: Error): TransportError => {
  const reason = 'code' in cause ? String(cause.code) : cause.message
  return signalTransportError('SIGNAL_UNREACHABLE', 'the server cannot be reached', {
    field,
    facts: { url, reason },
    cause,
    ...(/CERT|SIGN|ISSUER/.test(reason)
      ? { hint: 'its certificate is not trusted: give the certificate authority of the server (ca)' }
      : {}),
  })
}

const dial = (url: string, ca: string | undefined, target: DialTarget, signal: AbortSignal): Promise<FrameChannel> =>
  new Promise((resolve, reject) => {
    const webSocket = new WebSocket(url.replace(/^http/, 'ws') + target.path, {
      perMessageDeflate: false,
      maxPayload: maxFrame,
      ...(ca === undefined ? {} : { ca }),
      headers: target.authorization === undefined ? {} : { authorization: target.authorization },
    })
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort)
      webSocket.on('error', () => {})
      webSocket.terminate()
      reject(error)
    }
    const onAbort = (): void => fail(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    webSocket.once('unexpected-response', (_request, { statusCode = 0 }) =>
      fail(
        // Without credentials there are none to refuse: something stands between, and may be gone the next time.
        target.authorization !== undefined && (statusCode === 403 || statusCode === 401)
          ? signalTransportError('SIGNAL_REFUSED', 'the server does not accept this device', {
              field: target.socket,
              facts: { status: statusCode },
              hint: 'link the device again',
            })
          : signalTransportError('SIGNAL_UNREACHABLE', 'the server does not open a WebSocket', {
              field: target.socket,
              facts: { status: statusCode },
            }),
      ),
    )
    webSocket.once('error', cause => fail(unreachable(url, target.socket, cause)))
    webSocket.once('open', () => {
      signal.removeEventListener('abort', onAbort)
      resolve(frameChannel(webSocket, target))
    })
  })

const frameChannel = (webSocket: WebSocket, { socket }: DialTarget): FrameChannel => {
  webSocket.removeAllListeners('error')
  // The close event follows and says all there is to say.
  webSocket.on('error', () => {})
  webSocket.pause()
  return {
    send: frame => {
      if (webSocket.readyState !== WebSocket.OPEN)
        throw signalTransportError('SIGNAL_CLOSED', 'the socket is closing', { field: socket })
      if (webSocket.bufferedAmount > maxWaiting)
        throw signalTransportError('SIGNAL_CLOSED', 'the socket takes nothing any more', { field: socket })
      webSocket.send(frame)
    },
    destroy: () => webSocket.terminate(),
    onFrame: listener => {
      webSocket.on('message', (data: Buffer, isBinary) => {
        if (isBinary) listener(data)
      })
      webSocket.resume()
    },
    onClose: listener => {
      webSocket.on('close', listener)
      if (webSocket.readyState === WebSocket.CLOSED) listener(1006)
    },
  }
}

/** Where an attachment is comes from the server: nothing but HTTPS is asked. */
const address = (url: string): URL => {
  const parsed = new URL(url)
  if (parsed.protocol !== 'https:') throw new Error('not https')
  return parsed
}

const http = (
  ca: string | undefined,
  { url, method, headers = {}, body }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    const failed = (cause: unknown): void =>
      reject(signalTransportError('SIGNAL_UNREACHABLE', 'the server cannot be reached', { field: 'attachment', cause }))
    const answered = (response: IncomingMessage): void => {
      const parts: Buffer[] = []
      let length = 0
      response.on('data', (part: Buffer) => {
        length += part.length
        if (length > maxBody) response.destroy(new Error('too large'))
        else parts.push(part)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }))
      response.on('error', failed)
    }
    const options = {
      method,
      headers: { ...headers, 'content-length': body?.length ?? 0 },
      signal,
      ...(ca === undefined ? {} : { ca }),
    }
    try {
      const request = httpsRequest(address(url), options, answered)
      request.on('error', failed)
      request.end(body)
    } catch (error) {
      // An address or headers that are none.
      failed(error)
    }
  })
