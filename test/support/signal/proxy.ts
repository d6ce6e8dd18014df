/** The fault proxy in the words of the Signal tests. */
import { startFaultProxy } from '../../../src/testing/faultProxy.js'

export type ProxyMode =
  | 'pass'
  /** Connections stay open and everything is lost, on new ones too. */
  | 'blackhole'
  /** What the server says is lost; what the client says arrives. */
  | 'deaf'
  /** What the client says is lost. */
  | 'mute'
  /** New connections are refused. */
  | 'refuse'

export interface SignalProxy {
  readonly port: number
  mode: ProxyMode
  /** Connections so far. */
  readonly accepted: number
  /** Breaks every connection with RST. */
  reset(): void
  close(): Promise<void>
}

const pass = { type: 'pass' } as const
const drop = { type: 'drop' } as const

export const startSignalProxy = async (port: number): Promise<SignalProxy> => {
  const proxy = await startFaultProxy({ port })
  let mode: ProxyMode = 'pass'
  return {
    port: proxy.port,
    get mode() {
      return mode
    },
    set mode(next) {
      mode = next
      proxy.refuse(next === 'refuse')
      proxy.set(next === 'blackhole' || next === 'mute' ? drop : pass, 'toServer')
      proxy.set(next === 'blackhole' || next === 'deaf' ? drop : pass, 'toClient')
    },
    get accepted() {
      return proxy.accepted
    },
    reset: () => proxy.break('reset'),
    close: () => proxy.close(),
  }
}
