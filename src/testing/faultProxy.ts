/** A TCP proxy in this process that fails as networks do. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Fault, FaultPipe, type FaultState, resetSocket } from './faultPipe.js'

export type { Fault } from './faultPipe.js'

/** `toServer`: what clients say; `toClient`: what the server answers. */
export type FaultDirection = 'toServer' | 'toClient'

export interface FaultProxy {
  readonly host: string
  readonly port: number
  /** Connections so far. */
  readonly accepted: number
  /** Connections that the proxy holds, half-open ones among them: those it keeps until it is closed, or until RST comes. */
  readonly open: number
  /** Bytes that got through since it began, by direction. */
  readonly passed: Readonly<Record<FaultDirection, number>>
  /** What becomes of bytes from now on, in one direction or both, on connections old and new. `pass` ends a fault. */
  set(fault: Fault, direction?: FaultDirection): void
  /** While refused, new connections are reset as soon as they are made. */
  refuse(refused: boolean): void
  /** Breaks every connection now: in order (FIN, without the end of TLS), or with RST, on both sides. */
  break(how: 'cut' | 'reset'): void
  /**
   * Every connection that there is now is dead and one side does not know: the other side's socket is closed, what this one sends is
   * swallowed, and nothing comes any more. New connections pass. As after a crash of the other machine, or where a NAT has forgotten.
   */
  halfOpen(unaware?: 'client' | 'server'): void
  /** Ends all connections and the proxy. */
  close(): Promise<void>
}

export interface FaultProxyOptions {
  /** The server behind it. */
  readonly port: number
  /** Default 127.0.0.1. */
  readonly host?: string
}

interface Connection {
  readonly client: Socket
  readonly server: Socket
  readonly pipes: readonly FaultPipe[]
}

const directions = ['toServer', 'toClient'] as const

/**
 * Starts a proxy on a free port of 127.0.0.1. What it cannot do in one process: lose the SYN of a new connection (a blackholed one is
 * accepted and then silent), or lose single packets.
 */
export const startFaultProxy = async ({ port, host = '127.0.0.1' }: FaultProxyOptions): Promise<FaultProxy> => {
  const connections = new Set<Connection>()
  /** Sides of half-open connections whose other side is gone. */
  const stranded = new Set<Socket>()
  let refused = false
  let accepted = 0

  const breakAll = (how: 'cut' | 'reset'): void => {
    for (const { client, server, pipes } of connections) {
      for (const pipe of pipes) pipe.close()
      for (const socket of [client, server]) {
        if (how === 'reset') resetSocket(socket)
        else socket.destroySoon()
      }
    }
    connections.clear()
  }
  const newState = (): FaultState => {
    const state: FaultState = {
      fault: { type: 'pass' },
      left: 0,
      passed: 0,
      fire: how => {
        state.fault = { type: 'pass' }
        breakAll(how)
      },
    }
    return state
  }
  const states: Record<FaultDirection, FaultState> = { toServer: newState(), toClient: newState() }

  const server = createServer({ allowHalfOpen: true }, client => {
    accepted += 1
    client.on('error', () => {})
    if (refused) {
      resetSocket(client)
      return
    }
    const upstream = connect({ port, host, allowHalfOpen: true })
    upstream.on('error', () => {})
    for (const socket of [client, upstream]) socket.setNoDelay(true)
    const pipes = [
      new FaultPipe(client, upstream, states.toServer),
      new FaultPipe(upstream, client, states.toClient),
    ] as const
    const connection = { client, server: upstream, pipes }
    connections.add(connection)
    const gone = (): void => {
      if (!client.destroyed || !upstream.destroyed) return
      for (const pipe of pipes) pipe.close()
      connections.delete(connection)
    }
    client.on('close', gone)
    upstream.on('close', gone)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    get open() {
      return [...connections].filter(({ client }) => !client.destroyed).length + stranded.size
    },
    get passed() {
      return { toServer: states.toServer.passed, toClient: states.toClient.passed }
    },
    set: (fault, direction) => {
      for (const name of direction === undefined ? directions : [direction]) {
        states[name].fault = fault
        states[name].left = 'after' in fault ? fault.after : 0
      }
      for (const { pipes } of connections) for (const pipe of pipes) pipe.changed()
    },
    refuse: next => {
      refused = next
    },
    break: breakAll,
    halfOpen: (unaware = 'client') => {
      for (const { client, server: upstream, pipes } of connections) {
        for (const pipe of pipes) pipe.close()
        const [left, gone] = unaware === 'client' ? [client, upstream] : [upstream, client]
        left.removeAllListeners('data').removeAllListeners('end').resume()
        stranded.add(left)
        left.on('close', () => stranded.delete(left))
        resetSocket(gone.removeAllListeners('close'))
      }
      connections.clear()
    },
    close: async () => {
      breakAll('reset')
      for (const socket of stranded) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
