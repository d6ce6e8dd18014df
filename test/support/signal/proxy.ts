/** A TCP proxy that fails as networks do: reset, blackholed, open in one direction only. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type ProxyMode =
  | 'pass'
  /** Connections stay open and nothing goes through, new ones neither. */
  | 'blackhole'
  /** What the server says is lost; what the client says arrives. */
  | 'deaf'
  /** What the client says is lost. */
  | 'mute'
  /** New connections are refused. */
  | 'refuse'

export interface FaultProxy {
  readonly port: number
  mode: ProxyMode
  /** Connections so far. */
  readonly accepted: number
  /** Breaks every connection with RST. */
  reset(): void
  close(): Promise<void>
}

export const startFaultProxy = async (port: number): Promise<FaultProxy> => {
  const sockets = new Set<Socket>()
  let mode: ProxyMode = 'pass'
  let accepted = 0
  const server = createServer(client => {
    accepted += 1
    if (mode === 'refuse') {
      client.resetAndDestroy()
      return
    }
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to, blocked] of [
      [client, upstream, ['blackhole', 'mute']],
      [upstream, client, ['blackhole', 'deaf']],
    ] as const) {
      sockets.add(from)
      from.on('data', bytes => {
        if (!(blocked as readonly string[]).includes(mode)) to.write(bytes)
      })
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        // A network that swallows everything swallows the end of connections as well.
        if (mode !== 'blackhole') to.destroy()
      })
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    get mode() {
      return mode
    },
    set mode(next) {
      mode = next
    },
    get accepted() {
      return accepted
    },
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
