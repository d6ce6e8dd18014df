/** Serves the visualizer's page on loopback and, for an agent, its live view. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { ConfigError } from '../errors.js'
import { type Clock, systemClock } from '../runtime/clock.js'
import { type LiveSource, maxQuestionLength, serveLive } from './liveSocket.js'

export interface VisualizerHostOptions {
  /** Port on 127.0.0.1; 0 takes a free one. Default 0. */
  readonly port?: number
  /** The agent that can be followed; without it the page has everything but the live view. */
  readonly live?: LiveSource
  readonly clock?: Clock
}

export interface VisualizerHost {
  /** Address of the page. */
  readonly url: string
  /** Ends every reader and stops listening. */
  close(): Promise<void>
}

const pagePath = '/visualizer/'
const livePath = '/visualizer/live'
const mostReaders = 16
const pingMs = 30_000

/** The page as it was built, with the rule that lets only its own script run. */
export const readPage = async (): Promise<{ readonly html: string; readonly policy: string }> => {
  const html = await readBuilt()
  const scripts = [...html.matchAll(/<script type="module">([^]*?)<\/script>/g)].map(
    ([, script = '']) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  )
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.join(' ')}`,
    // The layout runs in a worker that the page starts from a part of itself.
    'worker-src blob:',
    "style-src 'unsafe-inline'",
    'img-src data: blob:',
    'font-src data:',
    "connect-src 'self' data: ws://127.0.0.1:* ws://localhost:*",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return { html, policy }
}

// Beside the compiled program, or in a checkout where the program runs from its sources.
const readBuilt = async (): Promise<string> => {
  for (const place of ['../../visualizer/index.html', '../../dist/visualizer/index.html']) {
    try {
      return await readFile(new URL(place, import.meta.url), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  throw new ConfigError('CONFIG_FILE', 'the page of the visualizer has not been built', {
    field: 'visualizer',
    hint: 'npm run build',
  })
}

/**
 * Listens on loopback only.
 *
 * @throws ConfigError CONFIG_FILE when the page was not built, CONFIG_PORT when the port is taken.
 */
export const openVisualizerHost = async (options: VisualizerHostOptions = {}): Promise<VisualizerHost> => {
  const { port = 0, live, clock = systemClock } = options
  const page = await readPage()
  const server = createServer((request, response) => respond(page, request, response))
  server.headersTimeout = 10_000
  server.requestTimeout = 10_000
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxQuestionLength, perMessageDeflate: false })
  server.on('upgrade', (request, socket, head) => {
    const isLive = new URL(request.url ?? '/', 'http://localhost').pathname === livePath
    if (live === undefined || !isLive || sockets.clients.size >= mostReaders) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, accepted => {
      keepAlive(accepted, clock)
      serveLive(accepted, live, clock)
    })
  })
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new ConfigError('CONFIG_PORT', 'the visualizer cannot listen on this port', { field: String(port), cause })
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${pagePath}`,
    close: async () => {
      for (const socket of sockets.clients) socket.terminate()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const respond = (
  { html, policy }: { readonly html: string; readonly policy: string },
  request: IncomingMessage,
  response: ServerResponse,
): void => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
    return
  }
  if (pathname === '/' || pathname === '/visualizer') {
    response.writeHead(302, { location: pagePath }).end()
    return
  }
  if (pathname !== pagePath) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not here\n')
    return
  }
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
  })
  response.end(request.method === 'HEAD' ? undefined : html)
}

/** A reader that does not answer two pings in turn is gone. */
const keepAlive = (socket: WebSocket, clock: Clock): void => {
  let answered = true
  const ping = (): void => {
    if (!answered) {
      socket.terminate()
      return
    }
    answered = false
    socket.ping()
    timer = clock.setTimeout(ping, pingMs)
  }
  let timer = clock.setTimeout(ping, pingMs)
  socket.on('pong', () => {
    answered = true
  })
  socket.on('close', () => clock.clearTimeout(timer))
}
