/** A Signal channel on a virtual clock against the service in memory, which a test can kill and start again. */
import { randomUUID } from 'node:crypto'
import { PrivateKey } from '@signalapp/libsignal-client'
import type { AgentEvent } from '../../../src/agent/index.js'
import type { TraceRecord } from '../../../src/runtime/ports.js'
import { openSignal, type Signal, type SignalConfig, type SignalEvent } from '../../../src/signal/index.js'
import { put } from '../../../src/store/index.js'
import { type MemoryStore, openMemoryStore } from '../../../src/store/memory.js'
import { signalAccounts } from '../../../src/store/signal/account.js'
import { type VirtualClock, virtualClock } from '../../../src/testing/virtualClock.js'
import { MemoryPerson } from './memoryPerson.js'
import { type MemoryService, memoryService, type ServiceAccount } from './service.js'

export interface MemoryWorld {
  readonly clock: VirtualClock
  readonly service: MemoryService
  readonly account: ServiceAccount
  /** The account’s own primary device. */
  readonly own: MemoryPerson
  /** What the running channel has told, since it began to run. */
  readonly events: SignalEvent[]
  readonly trace: TraceRecord[]
  /** What was logged as a warning or an error. */
  readonly warned: object[]
  readonly signal: Signal
  readonly store: MemoryStore
  person(devices?: number): MemoryPerson
  /** Lets things happen until something holds, without moving time; fails when nothing happens any more. */
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>
  /** Ends the channel as kill -9 does; nothing of it reaches its rows or the service any more. */
  kill(): void
  /** Starts it again on its rows. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Work of libsignal takes some turns of the event loop. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 25; turn++) await new Promise<void>(resolve => setImmediate(resolve))
}

export const memoryWorld = async (
  options: { readonly config?: Partial<SignalConfig>; readonly store?: MemoryStore } = {},
): Promise<MemoryWorld> => {
  const clock = virtualClock(Date.UTC(2026, 0, 1), settle)
  const identity = PrivateKey.generate()
  const account: ServiceAccount = { aci: randomUUID(), deviceId: 2, identity, e164: '+15550000000' }
  const service = memoryService(account, () => clock.now())
  const primary = new MemoryPerson(account.aci, [1], identity)
  service.people.set(account.aci, primary)
  let store = options.store ?? openMemoryStore()
  await store.commit([put(signalAccounts, accountRow(account, clock.now()))])
  let signal: Signal | undefined
  const events: SignalEvent[] = []
  const trace: TraceRecord[] = []
  const warned: object[] = []
  const quiet = (): void => {}
  const note = (facts: object): void => void warned.push(facts)
  let generation = 0

  const world: MemoryWorld = {
    clock,
    service,
    account,
    own: primary,
    events,
    trace,
    warned,
    get signal() {
      if (signal === undefined) throw new Error('the channel does not run')
      return signal
    },
    get store() {
      return store
    },
    person: (devices = 1) => {
      const ids = Array.from({ length: devices }, (_, index) => index + 1)
      const person = new MemoryPerson(randomUUID(), ids)
      service.people.set(person.aci, person)
      return person
    },
    until: async (what, holds) => {
      for (let look = 0; look < 400; look++) {
        if (await holds()) return
        await new Promise<void>(resolve => setImmediate(resolve))
      }
      throw new Error(`does not happen: ${what}`)
    },
    kill: () => {
      generation += 1
      store = store.reopen()
      for (const socket of ['identified', 'unidentified'] as const) service.close(socket, 1006)
      void signal?.close().catch(() => {})
      signal = undefined
    },
    start: async () => {
      generation += 1
      const own = generation
      const running = await openSignal({
        server: { url: 'https://memory', trustRoots: [service.trustRoot] },
        dialer: whileAlive(service, () => generation === own),
        store: { open: store },
        clock,
        trace: record => trace.push(record),
        logger: { debug: quiet, info: quiet, warn: note, error: note },
        config: { preKeysBatch: 4, ...options.config },
      })
      signal = running
      void (async () => {
        for await (const event of running.events()) {
          events.push(event as AgentEvent as unknown as SignalEvent)
          await running.ackEvents({ cursor: event.cursor })
        }
      })().catch(() => {})
    },
    close: async () => {
      await signal?.close()
    },
  }
  await world.start()
  await world.until('healthy', () => world.signal.health().state === 'healthy')
  await world.until('keys are up', () => service.preKeys.has('aci'))
  return world
}

/** A killed process dials nobody. */
const whileAlive = ({ dialer }: MemoryService, alive: () => boolean): MemoryService['dialer'] => ({
  ...dialer,
  dial: (target, signal) => (alive() ? dialer.dial(target, signal) : new Promise(() => {})),
})

const accountRow = ({ aci, deviceId, identity, e164 }: ServiceAccount, now: number) => ({
  accountId: 'signal-account:1',
  userId: 1,
  status: 'linked',
  aci,
  pni: null,
  e164,
  deviceId,
  deviceName: 'memory',
  password: 'memory',
  registrationId: 1,
  pniRegistrationId: 1,
  aciIdentityKey: identity.serialize(),
  pniIdentityKey: null,
  profileKey: null,
  nextKeyId: 1,
  keysRotatedAt: null,
  createdAt: now,
})
