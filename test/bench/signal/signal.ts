/** The Signal channel: sends against libsignal alone, requests for a send, memory of recipients, time to find a dead socket. */
import { randomUUID } from 'node:crypto'
import {
  IdentityKeyStore,
  IdentityChange,
  PrivateKey,
  ProtocolAddress,
  processPreKeyBundle,
  type PublicKey,
  sealedSenderEncrypt,
  SenderCertificate,
  ServerCertificate,
  type SessionRecord,
  SessionStore,
  signalEncrypt,
  UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { bundlesOf } from '../../../src/signal/envelopes.js'
import { isSignalEvent, openSignal, type Signal } from '../../../src/signal/index.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import { frameTypes, webSocketMessage } from '../../../src/signal/wire/messages.js'
import { pad } from '../../../src/signal/wire/padding.js'
import { openMemoryStore } from '../../../src/store/memory.js'
import { put, type Store } from '../../../src/store/index.js'
import { signalAccounts } from '../../../src/store/signal/account.js'
import { signalSyncItems } from '../../../src/store/signal/messages.js'
import { type Effort, type Figure, figureOf, repeated, round } from '../measure.js'
import { deadSocketConfig, findDeadSocket } from './deadSocket.js'
import { benchService, type BenchService } from './service.js'
import { within } from './within.js'

export interface SignalResults {
  /** libsignal alone: messages for 4 devices, encrypted and sealed, in one thread. */
  readonly ceilingPerSecond: Figure
  readonly sends: ReadonlyArray<{ readonly store: string; readonly perSecond: Figure; readonly ofCeiling: number }>
  /** Requests to the server for one message with known devices: the message itself, and its transcript. */
  readonly requestsPerSend: { readonly message: number; readonly transcript: number; readonly keys: number }
  /** Bytes of heap and buffers for each of 1,000 recipients with 4 devices, all of them in use. */
  readonly bytesPerRecipient: number
  /** From a blackhole to the knowledge of it, with a keepalive of 3 s and a deadline of 1.2 s (a tenth of the defaults). */
  readonly deadSocketMs: Figure
  readonly deadSocketBoundMs: number
}

const devices = 4
const text = 'x'.repeat(100)
const recipients = 100

export const runSignal = async (
  effort: Effort,
  options: {
    readonly quick: boolean
    readonly postgres: (() => Promise<Store>) | undefined
    readonly progress: (text: string) => void
  },
): Promise<SignalResults> => {
  const { quick, postgres, progress } = options
  const messages = quick ? 200 : 2_000
  progress('signal: libsignal alone')
  const ceiling = await repeated(effort.repeats, () => ceilingPerSecond(messages))
  const sends: Array<SignalResults['sends'][number]> = []
  let requestsPerSend: SignalResults['requestsPerSend'] | undefined
  for (const [store, open] of [
    ['memory', async () => openMemoryStore()],
    ['postgres', postgres],
  ] as const) {
    if (open === undefined) continue
    progress(`signal: sends, ${store}: sessions with ${recipients} people`)
    const world = await openWorld(await open())
    let run = 0
    const perSecond = await repeated(effort.repeats, () => {
      progress(`signal: sends, ${store}, ${++run} of ${effort.repeats}: ${messages} messages`)
      return sendsPerSecond(world, messages)
    })
    sends.push({ store, perSecond, ofCeiling: round(perSecond.median / ceiling.median) })
    requestsPerSend ??= await requestsOfSend(world)
    await world.signal.close()
  }
  const people = quick ? 100 : 1_000
  progress(`signal: memory of ${people} recipients`)
  const bytesPerRecipient = await memoryOfRecipients(people, postgres ?? (async () => openMemoryStore()))
  const sockets = quick ? 2 : 8
  const { keepaliveMs, probeDeadlineMs } = deadSocketConfig
  progress(`signal: ${sockets} dead sockets, found after ${keepaliveMs} + ${probeDeadlineMs} ms at the latest`)
  // Spread over the time between two keepalives: the network breaks at any moment of it.
  const deadSocketMs = figureOf(
    await Promise.all(
      Array.from({ length: sockets }, (_, index) => findDeadSocket(((index + 0.5) * keepaliveMs) / sockets)),
    ),
  )
  return {
    ceilingPerSecond: ceiling,
    sends,
    requestsPerSend: requestsPerSend ?? { message: 0, transcript: 0, keys: 0 },
    bytesPerRecipient,
    deadSocketMs,
    deadSocketBoundMs: keepaliveMs + probeDeadlineMs,
  }
}

interface World {
  readonly signal: Signal
  readonly service: BenchService
  readonly people: string[]
  readonly store: Store
  /** Resolves when so many more messages are SENT. */
  sent(count: number): Promise<void>
}

const openWorld = async (store: Store, people = recipients): Promise<World> => {
  const identity = PrivateKey.generate()
  const aci = randomUUID()
  const service = benchService({ aci, deviceId: 2, identity }, () => devices)
  await store.commit([put(signalAccounts, accountRow(aci, identity))])
  const signal = await openSignal({
    store: { open: store },
    server: { url: 'https://bench', trustRoots: [service.trustRoot] },
    dialer: service.dialer,
  })
  let done = 0
  let failure: unknown
  let wake = (): void => {}
  void (async () => {
    for await (const event of signal.events()) {
      if (isSignalEvent(event) && event.type === 'SENT') done += 1
      if (isSignalEvent(event) && event.type === 'MERR') failure ??= new Error(`a message failed: ${event.error.code}`)
      await signal.ackEvents({ cursor: event.cursor })
      wake()
    }
  })().catch((error: unknown) => {
    failure ??= error
    wake()
  })
  await until('the channel is not healthy', () => signal.health().state === 'healthy')
  let expected = 0
  const sent = async (count: number): Promise<void> => {
    expected += count
    while (done < expected) {
      if (failure !== undefined) throw failure
      await within(stallMs, 'no message is sent', new Promise<void>(resolve => (wake = resolve)))
    }
  }
  const world = { signal, service, people: [], store, sent }
  await acquaint(world, people)
  return world
}

/** Makes people known and writes to each of them once: sessions with all of their devices. */
const acquaint = async ({ signal, people, sent }: World, count: number): Promise<void> => {
  const profileKey = Buffer.alloc(32, 1)
  for (let made = 0; made < count; made++) {
    const aci = randomUUID()
    await signal.setRecipient({ aci, profileKey })
    await signal.send({ to: aci, text })
    people.push(aci)
  }
  await sent(count)
}

const accountRow = (aci: string, identity: PrivateKey) => ({
  accountId: 'signal-account:1',
  userId: 1,
  status: 'linked',
  aci,
  pni: null,
  e164: null,
  deviceId: 2,
  deviceName: 'bench',
  password: 'bench',
  registrationId: 1,
  pniRegistrationId: 1,
  aciIdentityKey: identity.serialize(),
  pniIdentityKey: null,
  profileKey: null,
  nextKeyId: 1,
  keysRotatedAt: Date.now(),
  createdAt: Date.now(),
})

const sendsPerSecond = async ({ signal, people, sent }: World, messages: number): Promise<number> => {
  const start = performance.now()
  const done = sent(messages)
  for (let index = 0; index < messages; index += people.length) {
    const batch = people.slice(0, Math.min(people.length, messages - index))
    await Promise.all(batch.map(to => signal.send({ to, text })))
  }
  await done
  return (messages * 1_000) / (performance.now() - start)
}

const requestsOfSend = async ({
  signal,
  service,
  people,
  sent,
  store,
}: World): Promise<SignalResults['requestsPerSend']> => {
  await transcriptsOut(store)
  service.requests.clear()
  const done = sent(1)
  await signal.send({ to: people[0] ?? '', text })
  await done
  await transcriptsOut(store)
  const all = service.requests.get('PUT /v1/messages') ?? 0
  return { message: all - 1, transcript: 1, keys: service.requests.get('GET /v2/keys') ?? 0 }
}

const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let pass = 0; pass < 3; pass++) collect()
}

const transcriptsOut = async (store: Store): Promise<void> => {
  let waiting = await store.count(signalSyncItems)
  while (waiting > 0) {
    const before = waiting
    await until('transcripts wait', async () => (waiting = await store.count(signalSyncItems)) < before)
  }
}

/** Looks until something is so; a benchmark that stands still fails. */
const until = async (why: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  const since = performance.now()
  while (!(await isSo())) {
    if (performance.now() - since > stallMs) throw new Error(`${why} after ${stallMs / 1_000} s`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** Past this nothing goes on any more, however busy the machine is. */
const stallMs = 120_000

const memoryOfRecipients = async (count: number, open: () => Promise<Store>): Promise<number> => {
  const used = (): number => {
    collectGarbage()
    const { heapUsed, external, arrayBuffers } = process.memoryUsage()
    return heapUsed + external + arrayBuffers
  }
  const store = await open()
  const world = await openWorld(store, 0)
  const before = used()
  await acquaint(world, count)
  await transcriptsOut(store)
  const bytes = Math.round((used() - before) / count)
  await world.signal.close()
  return bytes
}

/** What no channel over libsignal can beat: its own work for one message, with stores that cost nothing. */
const ceilingPerSecond = async (messages: number): Promise<number> => {
  const identity = PrivateKey.generate()
  const aci = randomUUID()
  const service = benchService({ aci, deviceId: 2, identity }, () => devices)
  const sessions = new Sessions()
  const identities = new Identities(identity)
  const root = PrivateKey.generate()
  const serverKey = PrivateKey.generate()
  const certificate = SenderCertificate.new(
    aci,
    null,
    2,
    identity.getPublicKey(),
    Date.now() + 1e9,
    ServerCertificate.new(1, serverKey.getPublicKey(), root),
    serverKey,
  )
  const local = ProtocolAddress.new(aci, 2)
  const addresses: ProtocolAddress[] = []
  for (let person = 0; person < recipients; person++) {
    const name = randomUUID()
    for (let deviceId = 1; deviceId <= devices; deviceId++) {
      const address = ProtocolAddress.new(name, deviceId)
      addresses.push(address)
      const [bundle] = bundlesOf({ status: 200, headers: {}, body: await keysOf(service, deviceId) })
      if (bundle !== undefined) await processPreKeyBundle(bundle, address, local, sessions, identities)
    }
  }
  const padded = pad(Buffer.from(text))
  const start = performance.now()
  for (let index = 0; index < messages; index++) {
    for (let device = 0; device < devices; device++) {
      const address = addresses[((index % recipients) * devices + device) % addresses.length] as ProtocolAddress
      const message = await signalEncrypt(padded, address, local, sessions, identities)
      const content = UnidentifiedSenderMessageContent.new(message, certificate, 1, null)
      await sealedSenderEncrypt(content, address, identities)
    }
  }
  return (messages * 1_000) / (performance.now() - start)
}

const keysOf = async ({ dialer }: BenchService, deviceId: number): Promise<Uint8Array> => {
  const channel = await dialer.dial({ socket: 'unidentified', path: '/' }, new AbortController().signal)
  return new Promise(resolve => {
    channel.onFrame(frame => resolve(decode(webSocketMessage, frame).response?.body ?? Buffer.alloc(0)))
    const request = { verb: 'GET', path: `/v2/keys/somebody/${deviceId}`, id: 1, headers: [] }
    channel.send(encode(webSocketMessage, { type: frameTypes.request, request }))
  })
}

class Sessions extends SessionStore {
  readonly #records = new Map<string, SessionRecord>()
  async saveSession(name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.#records.set(name.toString(), record)
  }
  async getSession(name: ProtocolAddress): Promise<SessionRecord | null> {
    return this.#records.get(name.toString()) ?? null
  }
  async getExistingSessions(): Promise<SessionRecord[]> {
    return []
  }
}

class Identities extends IdentityKeyStore {
  readonly #own: PrivateKey
  readonly #keys = new Map<string, PublicKey>()
  constructor(own: PrivateKey) {
    super()
    this.#own = own
  }
  async getIdentityKey(): Promise<PrivateKey> {
    return this.#own
  }
  async getLocalRegistrationId(): Promise<number> {
    return 1
  }
  async saveIdentity(name: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    this.#keys.set(name.name(), key)
    return IdentityChange.NewOrUnchanged
  }
  async isTrustedIdentity(): Promise<boolean> {
    return true
  }
  async getIdentity(name: ProtocolAddress): Promise<PublicKey | null> {
    return this.#keys.get(name.name()) ?? null
  }
}
