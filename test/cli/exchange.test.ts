import { describe, expect, it, vi } from 'vitest'
import { demoBodies } from '../../src/cli/demo/bodies.js'
import { connect } from '../../src/cli/demo/connect.js'
import { type ExchangeOptions, exchange } from '../../src/cli/demo/exchange.js'
import { readEvents } from '../../src/cli/demo/party.js'
import { isPerfect, resultJson, resultTable } from '../../src/cli/demo/report.js'
import { FakeAgent, type FakeNetwork, fakeNetwork } from '../support/fakeAgent.js'

const options: ExchangeOptions = {
  messages: 40,
  maxLength: 300,
  window: 8,
  stallMs: 5000,
  settleMs: 1,
  onProgress: () => {},
}

const connected = async (fate?: FakeNetwork['fate']) => {
  const network = fakeNetwork(fate)
  const agents = [new FakeAgent('alice', network), new FakeAgent('bob', network)] as const
  const readers = [readEvents(agents[0]), readEvents(agents[1])] as const
  const parties = await connect(
    [
      { agent: agents[0], events: readers[0] },
      { agent: agents[1], events: readers[1] },
    ],
    5000,
  )
  return { agents, readers, parties }
}

describe('the exchange of the demo', () => {
  it('finds nothing wrong where every message arrives once and in order', async () => {
    const { agents, readers, parties } = await connected()
    const progress = vi.fn()
    const result = await exchange(parties, readers, { ...options, onProgress: progress })
    expect(result).toMatchObject({ messages: 80, lost: 0, duplicated: 0, reordered: 0 })
    expect(isPerfect(result)).toBe(true)
    expect(result.perSecond).toBeGreaterThan(0)
    expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms)
    expect(progress).toHaveBeenLastCalledWith(80)
    for (const agent of agents) expect(agent.log.filter(event => event.type === 'MSG')).toEqual([])
  })

  it('counts messages that arrive again', async () => {
    const { readers, parties } = await connected(n => ({ copies: n === 5 || n === 60 ? 2 : 1 }))
    const result = await exchange(parties, readers, options)
    expect(result).toMatchObject({ lost: 0, duplicated: 2, reordered: 0 })
    expect(isPerfect(result)).toBe(false)
  })

  it('counts messages that a later one overtakes', async () => {
    const { readers, parties } = await connected(n => ({ copies: 1, late: n === 4 }))
    const result = await exchange(parties, readers, options)
    expect(result).toMatchObject({ lost: 0, duplicated: 0, reordered: 1 })
    expect(isPerfect(result)).toBe(false)
  })

  it('counts messages that the agent reports failed as lost', async () => {
    const { agents, readers, parties } = await connected(n => ({ copies: n === 3 ? 0 : 1 }))
    const send = agents[0].sendMessage.bind(agents[0])
    vi.spyOn(agents[0], 'sendMessage').mockImplementation(async params => {
      const before = agents[0].network.sent
      const answer = await send(params)
      const error = { code: 'SMP_AUTH', message: 'the queue is gone' }
      if (before === 3) agents[0].emit(params.connectionId, { type: 'MERR', messageId: answer.messageId, error })
      return answer
    })
    const result = await exchange(parties, readers, options)
    expect(result).toMatchObject({ lost: 1, duplicated: 0 })
    expect(isPerfect(result)).toBe(false)
  })

  it('ends with a typed error and the counts when a message never comes', async () => {
    const { readers, parties } = await connected(n => ({ copies: n === 3 ? 0 : 1 }))
    await expect(exchange(parties, readers, { ...options, stallMs: 50 })).rejects.toMatchObject({
      code: 'CMD_DEADLINE',
      facts: { accepted: 80, arrived: 79 },
    })
  })

  it('ends with the error of an agent', async () => {
    const { agents, readers, parties } = await connected()
    agents[1].emit('bob-1', { type: 'ERR', error: { code: 'CRYPTO_RATCHET', message: 'cannot decrypt' } })
    await expect(exchange(parties, readers, options)).rejects.toMatchObject({ code: 'CRYPTO_RATCHET' })
  })

  it('ends with an error when a body is not what was sent', async () => {
    const { agents, readers, parties } = await connected()
    const sending = exchange(parties, readers, options)
    agents[1].emit('bob-1', {
      type: 'MSG',
      messageId: 999,
      body: Buffer.from('something else'),
      integrity: { result: 'ok' },
      brokerId: 'b',
      brokerAt: 0,
      senderMessageId: 1,
      notify: true,
      pqEncryption: false,
    })
    await expect(sending).rejects.toMatchObject({ code: 'INTERNAL', field: 'body' })
  })

  it('has no more messages unacknowledged than the window allows', async () => {
    const { agents, readers, parties } = await connected()
    let [sent, acknowledged, most] = [0, 0, 0]
    const send = agents[0].sendMessage.bind(agents[0])
    vi.spyOn(agents[0], 'sendMessage').mockImplementation(params => {
      sent += 1
      most = Math.max(most, sent - acknowledged)
      return send(params)
    })
    const acknowledge = agents[1].ackMessage.bind(agents[1])
    vi.spyOn(agents[1], 'ackMessage').mockImplementation(async params => {
      acknowledged += 1
      return acknowledge(params)
    })
    await exchange(parties, readers, { ...options, window: 3 })
    expect(most).toBe(3)
  })
})

describe('connecting in the demo', () => {
  it('ends with a typed error when the other side never answers', async () => {
    const agents = [new FakeAgent('alice'), new FakeAgent('bob')] as const
    vi.spyOn(agents[1], 'joinConnection').mockResolvedValue({ connectionId: 'bob-1' })
    const sides = [
      { agent: agents[0], events: readEvents(agents[0]) },
      { agent: agents[1], events: readEvents(agents[1]) },
    ] as const
    await expect(connect(sides, 20)).rejects.toMatchObject({ code: 'CMD_DEADLINE' })
  })
})

describe('the bodies of the demo', () => {
  it('have mixed sizes up to the largest, and are told apart byte for byte', () => {
    const bodies = demoBodies(1, 100, 1000)
    const lengths = Array.from({ length: 100 }, (_, n) => bodies.body(n).length)
    expect(Math.max(...lengths)).toBe(1000)
    expect(Math.min(...lengths)).toBeLessThan(100)
    expect(new Set(lengths).size).toBeGreaterThan(50)
    for (const n of [0, 1, 99]) expect(bodies.numberOf(bodies.body(n))).toBe(n)
    const damaged = bodies.body(7)
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    expect(bodies.numberOf(damaged)).toBeUndefined()
    expect(bodies.numberOf(demoBodies(2, 100, 1000).body(7))).toBeUndefined()
    expect(bodies.numberOf(new Uint8Array(3))).toBeUndefined()
  })
})

describe('the report of the demo', () => {
  const facts = { messages: 2000, lost: 0, duplicated: 0, reordered: 0, perSecond: 512.5, p50Ms: 20.1, p99Ms: 61 }
  const result = { connectMs: 120.4, ...facts }

  it('is one JSON object with the promised names', () => {
    expect(Object.keys(JSON.parse(resultJson(result)))).toEqual([
      'connectMs',
      'messages',
      'lost',
      'duplicated',
      'reordered',
      'perSecond',
      'p50Ms',
      'p99Ms',
    ])
  })

  it('is a table with a line for each fact', () => {
    expect(resultTable(result, 15_602)).toBe(
      [
        'connected in  120.4 ms',
        'messages      2,000 (1,000 each way, up to 15,602 bytes)',
        'lost          0',
        'duplicated    0',
        'out of order  0',
        'messages/s    512.5',
        'delivery p50  20.1 ms',
        'delivery p99  61 ms',
      ].join('\n'),
    )
  })
})
