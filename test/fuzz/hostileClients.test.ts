/**
 * Clients that want to do harm to a router: they connect and say nothing, say nonsense, ask without end, read nothing, or ask for what is
 * somebody else's. What they cost is bounded, and another client is served meanwhile.
 */
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/crypto/index.js'
import type { Command } from '../../src/smp/protocol/commands.js'
import { padBlock } from '../../src/smp/protocol/block.js'
import { encodeClientHello } from '../../src/smp/protocol/handshake.js'
import type { BlockChannel } from '../../src/smp/transport/port.js'
import { fuzzRuns } from '../support/fuzzRuns.js'
import {
  authKey,
  bodyText,
  errorOf,
  newQueue,
  publicOf,
  send,
  type TestClient,
  type TestQueue,
} from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

/** Small enough that every attack runs into them. */
const limits = {
  connections: 120,
  connectionsPerAddress: 60,
  subscriptionsPerSession: 40,
  inFlightPerSession: 64,
  outputBytesPerSession: 65_536,
  cachedQueues: 50,
}
const open = (): Promise<RouterWorld> => routerWorld({ settings: { limits, messageQuota: 16 } })

let world: RouterWorld
afterEach(async () => {
  // Who reads nothing would be waited for.
  for (const link of world.network.links()) link.cut()
  await world.close()
})

/** What is answered while time passes, at most `ms` of it. */
const within = async <T>(ms: number, promise: Promise<T>): Promise<T> => {
  let done = false
  void promise.then(
    () => (done = true),
    () => (done = true),
  )
  const from = world.clock.now()
  for (;;) {
    await world.settle()
    if (done) return promise
    if (world.clock.now() - from >= ms) throw new Error(`not answered within ${ms} ms`)
    await world.clock.advance(100)
  }
}

/** An honest client with a queue and the sender of it: a message goes through, within ten seconds. */
interface Honest {
  readonly alice: TestClient
  readonly bob: TestClient
  readonly queue: TestQueue
  /** The connection, queue and messages of before still work, and a new client is taken. */
  served(): Promise<void>
}

const honestClients = async (): Promise<Honest> => {
  const [alice, bob] = [await world.client({ from: 'honest' }), await world.client({ from: 'honest' })]
  const queue = await newQueue(alice)
  let sent = 0
  const exchange = async (): Promise<void> => {
    const text = `message ${++sent}`
    expect(errorOf(await bob.one(send(text), queue.sndId))).toBe('OK')
    const { response } = await alice.event()
    const message = queue.open(response)
    expect(bodyText(message)).toBe(text)
    expect(errorOf(await alice.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key))).toBe('OK')
  }
  const served = async (): Promise<void> => {
    await within(10_000, exchange())
    const carol = await within(10_000, world.client({ from: 'honest' }))
    await within(10_000, newQueue(carol))
    carol.close()
    await world.settle()
  }
  await served()
  return { alice, bob, queue, served }
}

/** A client of an attacker; undefined where the router has no room for it. */
const intruder = (): Promise<TestClient | undefined> => world.client({ from: 'attacker' }).catch(() => undefined)
const dial = (from = 'attacker'): Promise<BlockChannel | undefined> =>
  (world.dial(from) as Promise<BlockChannel>).catch(() => undefined)
const times = async (count: number, run: (index: number) => Promise<unknown>): Promise<void> => {
  for (let index = 0; index < count; index++) await run(index)
}
/** Answers of an attacker's commands are nobody's business, and its end neither. */
const ignore = (answers: Promise<unknown>): void => void answers.catch(() => {})
const nowhere = (): Buffer => randomBytes(24)

const strangersCommands = (): Command[] => {
  const key = publicOf(authKey())
  const dhKey = generateKeyPair('x25519').publicKey
  return [
    { type: 'SUB' },
    { type: 'GET' },
    { type: 'ACK', messageId: randomBytes(24) },
    { type: 'KEY', key },
    { type: 'RKEY', keys: [key] },
    { type: 'OFF' },
    { type: 'DEL' },
    { type: 'QUE' },
    { type: 'NKEY', key, dhKey },
    { type: 'NDEL' },
    { type: 'LSET', linkId: randomBytes(24), data: { fixedData: randomBytes(10), userData: randomBytes(10) } },
    { type: 'LDEL' },
  ]
}

const attacks: Readonly<Record<string, (honest: Honest) => Promise<void>>> = {
  'connect and say nothing': () => times(80, () => dial()),
  'connect, read nothing and say nothing': () => times(70, async () => (await dial())?.pause()),
  'say another thing than hello': () =>
    times(100, async index => {
      const channel = await dial()
      if (channel === undefined) return
      const hello = { version: index, keyHash: randomBytes(32), clientKey: randomBytes(32), proxy: index % 2 === 0 }
      channel.send(index % 3 === 0 ? randomBytes(16_384) : padBlock(encodeClientHello(hello)))
      channel.send(randomBytes(16_384))
    }),
  'send blocks that do not decrypt': () =>
    times(50, async () => {
      const client = await intruder()
      for (let block = 0; block < 5; block++) client?.channel.send(randomBytes(16_384))
    }),
  'send blocks of another length': () =>
    times(20, async index => {
      await dial()
      const link = world.network.links({ from: 'attacker' }).at(-1)
      link?.inject('toRouter', randomBytes([0, 1, 16_383, 16_385, 1 << 20][index % 5] ?? 0))
      await world.settle()
      expect(link?.router.closed).toBe(true)
    }),
  'send batches of nonsense and read no answers': async () => {
    const rubbish = Buffer.concat([Buffer.of(255), ...Array.from({ length: 255 }, () => Buffer.of(0, 0))])
    await times(4, async () => {
      const client = await intruder()
      client?.channel.pause()
      for (let block = 0; block < 20 && client?.channel.closed === false; block++) client.raw(rubbish)
    })
  },
  'ask for queues that are not there': async () => {
    const client = await intruder()
    const key = authKey()
    for (let round = 0; round < 10 && client !== undefined; round++) {
      ignore(
        client.ask(
          ...Array.from({ length: 60 }, () => ({ command: { type: 'SUB' } as const, entityId: nowhere(), key })),
        ),
      )
      ignore(client.ask(...Array.from({ length: 60 }, () => ({ command: send('x'), entityId: nowhere() }))))
    }
  },
  'make queues without end': async () => {
    const client = await intruder()
    await times(150, async () => client && (await newQueue(client, { subscribe: false })))
    expect(world.router.stats().queuesCached).toBeLessThanOrEqual(limits.cachedQueues + limits.subscriptionsPerSession)
  },
  'subscribe without end': async () => {
    const client = await intruder()
    if (client === undefined) return
    const queues: TestQueue[] = []
    await times(limits.subscriptionsPerSession + 20, async () =>
      queues.push(await newQueue(client, { subscribe: false })),
    )
    const answers: string[] = []
    for (const { rcvId, key } of [...queues, ...queues])
      answers.push(errorOf(await client.one({ type: 'SUB' }, rcvId, key)))
    expect(answers.filter(word => word === 'QUOTA').length).toBe(40)
    expect(world.router.stats().subscriptions).toBeLessThanOrEqual(limits.subscriptionsPerSession + 2)
  },
  'fill a queue that nobody reads': async () => {
    const client = await intruder()
    if (client === undefined) return
    const queue = await newQueue(client, { subscribe: false })
    const body = randomBytes(16_000)
    const words: string[] = []
    await times(60, async () => words.push(errorOf(await client.one(send(body), queue.sndId))))
    expect(new Set(words)).toEqual(new Set(['OK', 'QUOTA']))
    expect(words.filter(word => word === 'OK').length).toBeLessThanOrEqual(17)
  },
  'send more than a message may be': async () => {
    const client = await intruder()
    if (client === undefined) return
    const queue = await newQueue(client, { subscribe: false })
    for (const length of [16_049, 16_100]) {
      expect(errorOf(await client.one(send(randomBytes(length)), queue.sndId))).toBe('LARGE_MSG')
    }
  },
  'ask for what is somebody else’s, signed with other keys, or not at all': async ({ queue }) => {
    const client = await intruder()
    if (client === undefined) return
    for (const command of strangersCommands()) {
      for (const key of [authKey('ed25519'), authKey('x25519'), undefined]) {
        for (const entityId of [queue.rcvId, queue.sndId]) {
          expect(errorOf(await client.one(command, entityId, key))).toMatch(
            /^(AUTH|CMD NO_AUTH|CMD PROHIBITED|CMD UNKNOWN)$/,
          )
        }
      }
    }
    for (const length of [1, 64, 80, 114, 255]) {
      const [answer] = await client.ask({
        command: { type: 'DEL' },
        entityId: queue.rcvId,
        authorization: randomBytes(length),
      })
      expect(answer === undefined ? '' : errorOf(answer)).toMatch(/^(AUTH|BLOCK|CMD|SERVICE)/)
    }
  },
  'have the router connect elsewhere': async () => {
    const client = await intruder()
    const router = (index: number) => ({ keyHash: randomBytes(32), hosts: [`relay${index}.example`], port: '' })
    if (client === undefined) return
    for (let round = 0; round < 5; round++) {
      ignore(
        client.ask(
          ...Array.from({ length: 20 }, (_, index) => ({ command: { type: 'PRXY', router: router(index) } as const })),
        ),
      )
    }
  },
  'connect and go away at once': () => times(100, async () => (await dial())?.destroy()),
  'shake hands and leave in the middle of their commands': () =>
    times(30, async () => {
      const client = await intruder()
      if (client === undefined) return
      ignore(client.ask(...Array.from({ length: 20 }, () => ({ command: send('x'), entityId: nowhere() }))))
      client.channel.destroy()
    }),
}

setFlagsFromString('--expose_gc')
const collect = runInNewContext('gc') as () => void
/** Bytes that are held: objects, and buffers outside of the heap. */
const held = (): number => {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

describe('hostile clients', () => {
  it.each(Object.entries(attacks))(
    'that %s: another one is served meanwhile, and nothing is left of them',
    async (_name, attack) => {
      world = await open()
      const honest = await honestClients()
      const { sessions } = world.router.stats()
      await attack(honest)
      await honest.served()
      expect(world.router.stats().sessions).toBeLessThanOrEqual(limits.connections)
      for (const link of world.network.links({ from: 'attacker' })) link.cut()
      await world.settle()
      expect(world.router.stats()).toMatchObject({ sessions, subscriptions: 1 })
      await honest.served()
    },
  )

  it('who never finish a handshake are closed at its deadline, and their places are free', async () => {
    world = await open()
    const honest = await honestClients()
    await times(80, () => dial())
    expect(world.router.stats().sessions).toBe(limits.connectionsPerAddress + 2)
    await honest.served()
    await world.clock.advance(31_000)
    expect(world.router.stats().sessions).toBe(2)
    expect(await intruder()).toBeDefined()
  })

  it('from many addresses take the places that there are and no more; who is in goes on', async () => {
    world = await open()
    const honest = await honestClients()
    await times(200, index => dial(`attacker ${index % 10}`))
    expect(world.router.stats().sessions).toBe(limits.connections)
    await expect(world.client({ from: 'late' })).rejects.toMatchObject({ code: expect.stringMatching(/^TRANSPORT_/) })
    const { alice, bob, queue } = honest
    expect(errorOf(await within(10_000, bob.one(send('in'), queue.sndId)))).toBe('OK')
    expect(bodyText(queue.open((await within(10_000, alice.event())).response))).toBe('in')
  })

  it('in any mixture, again and again, leave no memory behind', { timeout: 300_000 }, async () => {
    world = await open()
    const honest = await honestClients()
    const round = async (names: readonly string[]): Promise<void> => {
      for (const name of names) {
        await attacks[name]?.(honest)
        await honest.served()
        for (const link of world.network.links({ from: 'attacker' })) link.cut()
        await world.settle()
      }
    }
    // Queues that are made are rows, which stay: everything else must go.
    const rows = new Set(['make queues without end', 'subscribe without end', 'fill a queue that nobody reads'])
    const names = Object.keys(attacks).filter(name => !rows.has(name))
    await round(names)
    const before = held()
    await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom(...names), { minLength: 3, maxLength: 4 }), round), {
      ...fuzzRuns(2),
      endOnFailure: true,
    })
    expect(held() - before).toBeLessThan(16 * 1024 * 1024)
    expect(world.router.stats()).toMatchObject({ sessions: 2, subscriptions: 1, notificationsPending: 0 })
  })
})
