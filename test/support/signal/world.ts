/** A long-running Signal channel against the mock server, with a fault proxy on each of its sockets, and people to talk to. */
import type { AgentEvent } from '../../../src/agent/index.js'
import type { TraceRecord } from '../../../src/runtime/ports.js'
import {
  openSignal,
  type OpenSignalOptions,
  type Signal,
  type SignalConfig,
  signalDialer,
  type SignalDialer,
} from '../../../src/signal/index.js'
import type { SignalEvent } from '../../../src/signal/index.js'
import { type MemoryStore, openMemoryStore } from '../../../src/store/memory.js'
import { type MockSignal, type Primary, startMock } from './mock.js'
import { type SignalProxy, startSignalProxy } from './proxy.js'
import { RawDevice } from './rawDevice.js'

/** How long tests wait for what must happen: a machine may be busy with much else. */
export const generousMs = 30_000

/** Short times, so that the real clock does: relations are those of the defaults. */
export const quickConfig: Partial<SignalConfig> = {
  keepaliveMs: 2_000,
  probeDeadlineMs: 1_200,
  probeQuietMs: 150,
  connectTimeoutMs: 3_000,
  requestTimeoutMs: 1_500,
  sendConnectMs: 1_000,
  backoff: { initial: 50, max: 200 },
  sendRetry: { initial: 100, max: 400 },
}

export interface Bot {
  readonly signal: Signal
  readonly store: MemoryStore
  readonly events: SignalEvent[]
  readonly trace: TraceRecord[]
  readonly account: { readonly aci: string; readonly deviceId: number; readonly e164: string }
  /** The next event of a type that no earlier call has returned. */
  next<T extends SignalEvent['type']>(
    type: T,
    which?: (event: Extract<SignalEvent, { type: T }>) => boolean,
    waitMs?: number,
  ): Promise<Extract<SignalEvent, { type: T }>>
  /** Ends it as kill -9 does; its rows, for whoever takes over. */
  crash(): MemoryStore
  close(): Promise<void>
}

export interface SignalWorld {
  readonly mock: MockSignal
  readonly identified: SignalProxy
  readonly unidentified: SignalProxy
  readonly botPrimary: Primary
  readonly dialer: SignalDialer
  /** A channel; linked when it has a fresh store. */
  startBot(options?: Partial<OpenSignalOptions> & { readonly open?: MemoryStore }): Promise<Bot>
  /** A person with a primary device (of the mock) and raw linked devices. */
  person(name: string, devices: number): Promise<{ readonly primary: Primary; readonly devices: RawDevice[] }>
  close(): Promise<void>
}

export const signalWorld = async (): Promise<SignalWorld> => {
  const mock = await startMock()
  const [identified, unidentified] = await Promise.all([startSignalProxy(mock.port), startSignalProxy(mock.port)])
  const botPrimary = await mock.createPrimary('Bot')
  const dialers = {
    identified: signalDialer({ url: `https://127.0.0.1:${identified.port}`, ca: mock.ca }),
    unidentified: signalDialer({ url: `https://127.0.0.1:${unidentified.port}`, ca: mock.ca }),
    provisioning: signalDialer({ url: `https://127.0.0.1:${mock.port}`, ca: mock.ca }),
  }
  const dialer: SignalDialer = {
    dial: (target, signal) => dialers[target.socket].dial(target, signal),
    http: (request, signal) => dialers.provisioning.http(request, signal),
  }
  const closing: Array<() => Promise<void> | void> = []
  const startBot: SignalWorld['startBot'] = async ({ open, ...options } = {}) => {
    const bot = await runBot(mock, botPrimary, open ?? openMemoryStore(), { dialer, ...options })
    closing.push(() => bot.close())
    return bot
  }
  return {
    mock,
    identified,
    unidentified,
    botPrimary,
    dialer,
    startBot,
    person: async (name, count) => {
      const primary = await mock.createPrimary(name)
      const devices: RawDevice[] = []
      for (let made = 0; made < count; made++) {
        const device = await RawDevice.link(mock, primary.aci)
        closing.push(() => device.disconnect())
        devices.push(device)
      }
      return { primary, devices }
    },
    close: async () => {
      identified.mode = unidentified.mode = 'pass'
      for (const close of closing.reverse()) await close()
      await Promise.all([identified.close(), unidentified.close()])
      await mock.close()
    },
  }
}

const runBot = async (
  mock: MockSignal,
  primary: Primary,
  store: MemoryStore,
  options: Partial<OpenSignalOptions>,
): Promise<Bot> => {
  const trace: TraceRecord[] = []
  const events: SignalEvent[] = []
  let crashed = false
  const signal = await openSignal({
    server: { url: `https://127.0.0.1:${mock.port}`, ca: mock.ca, trustRoots: [mock.trustRoot] },
    trace: record => trace.push(record),
    ...(process.env['SIGNAL_LOG'] === undefined ? {} : { logger: stderrLogger }),
    ...options,
    store: { open: store },
    config: { ...quickConfig, ...options.config },
  })
  void (async () => {
    for await (const event of signal.events()) {
      events.push(event as AgentEvent as unknown as SignalEvent)
      await signal.ackEvents({ cursor: event.cursor })
    }
  })().catch(() => {})
  if (signal.account() === undefined) {
    await signal.link({
      deviceName: 'bot',
      onLink: link => void mock.call('provision', { aci: primary.aci, link }).catch(() => {}),
    })
  }
  const { aci = '', deviceId = 0, e164 = '' } = signal.account() ?? {}
  const taken = new Set<SignalEvent>()
  return {
    signal,
    store,
    events,
    trace,
    account: { aci, deviceId, e164: e164 ?? '' },
    next: async (type, which = () => true, waitMs = generousMs) => {
      const deadline = Date.now() + waitMs
      for (;;) {
        const found = events.find(event => event.type === type && !taken.has(event) && which(event as never))
        if (found !== undefined) {
          taken.add(found)
          return found as never
        }
        if (Date.now() > deadline)
          throw new Error(`no ${type} within ${waitMs} ms (has ${events.map(({ type }) => type).join(' ')})`)
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    },
    crash: () => {
      crashed = true
      const rows = store.reopen()
      void signal.close().catch(() => {})
      return rows
    },
    close: () => (crashed ? Promise.resolve() : signal.close()),
  }
}

const stderrLogger = {
  debug: (facts: object, message: string) => console.error('debug', message, facts),
  info: (facts: object, message: string) => console.error('info', message, facts),
  warn: (facts: object, message: string) => console.error('warn', message, facts),
  error: (facts: object, message: string) => console.error('error', message, facts),
}

/** Waits until something holds; fails after `waitMs`. */
export const eventually = async (
  what: string,
  holds: () => boolean | Promise<boolean>,
  waitMs = generousMs,
): Promise<void> => {
  const deadline = Date.now() + waitMs
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`did not happen within ${waitMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
