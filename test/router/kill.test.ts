/** Real processes, real files: what a killed router had accepted is there after its restart. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { tlsDialer } from '../../src/smp/transport/tls.js'
import { cliPath } from '../support/cli.js'
import {
  authKey,
  type AuthKey,
  bodyText,
  errorOf,
  newQueue,
  publicOf,
  send,
  startClient,
  type TestClient,
  type TestQueue,
} from '../support/router/client.js'

let root: string
let child: ChildProcess | undefined

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'router-kill-'))
})
afterEach(async () => {
  await kill()
  await rm(root, { recursive: true, force: true })
})

/** Starts the router of the directory; the answer is its address. */
const start = async (): Promise<string> => {
  const args = ['router', 'start', '--dir', join(root, 'router'), '--host', '127.0.0.1', '--port', '0', '--json']
  const started = spawn(process.execPath, [cliPath, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  child = started
  for await (const line of createInterface({ input: started.stdout })) {
    return (JSON.parse(line) as { address: string }).address
  }
  throw new Error('the router ended before it had an address')
}

const kill = async (): Promise<void> => {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

const connect = async (address: string): Promise<TestClient> => {
  const router = parseRouterAddress(address)
  return startClient(await tlsDialer().dial(router, { timeoutMs: 10_000 }), { keyHash: router.keyHash })
}

interface Line {
  readonly queue: TestQueue
  readonly key: AuthKey
  sent: number
  /** Bodies whose SEND was answered OK. */
  readonly accepted: string[]
  readonly received: string[]
}

const queuesPerRun = 8

/** Sends to all queues as fast as answers come; the router is killed at the given answer, with many more on their way. */
const sendUntilKilled = async (client: TestClient, lines: readonly Line[], killAt: number): Promise<void> => {
  let answers = 0
  const padding = 'x'.repeat(8000)
  const sendLine = async (line: Line): Promise<void> => {
    for (;;) {
      const body = `${line.sent++} ${padding}`
      const answer = await client.one(send(body), line.queue.sndId, line.key).catch(() => undefined)
      if (answer === undefined) return
      answers++
      if (answers === killAt) child?.kill('SIGKILL')
      if (answer.type === 'OK') line.accepted.push(body)
      else throw new Error(errorOf(answer))
    }
  }
  // Two at once to each queue: commits hold several messages of one queue.
  await Promise.all([...lines, ...lines].map(sendLine))
}

/** Takes everything that is in a queue. */
const drain = async (client: TestClient, { queue, received }: Line): Promise<void> => {
  let answer = await client.one({ type: 'GET' }, queue.rcvId, queue.key)
  while (answer.type === 'MSG') {
    const message = queue.open(answer)
    if (message.type === 'message') received.push(bodyText(message))
    const acked = await client.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key)
    expect(errorOf(acked)).toBe('OK')
    answer = await client.one({ type: 'GET' }, queue.rcvId, queue.key)
  }
  expect(errorOf(answer)).toBe('OK')
}

/** Short links that were set, replaced and deleted; the answer checks them. */
const makeLinks = async (client: TestClient): Promise<(client: TestClient) => Promise<void>> => {
  const fixedData = randomBytes(2_048)
  const queues = await Promise.all([0, 1, 2].map(() => newQueue(client, { mode: 'contact', subscribe: false })))
  const links = queues.map(queue => ({ queue, linkId: randomBytes(24), userData: randomBytes(13_824) }))
  const set = async ({ queue, linkId }: (typeof links)[number], userData: Uint8Array): Promise<void> => {
    const command = { type: 'LSET', linkId, data: { fixedData, userData } } as const
    expect(errorOf(await client.one(command, queue.rcvId, queue.key))).toBe('OK')
  }
  const [kept, replaced, deleted] = links as [(typeof links)[0], (typeof links)[0], (typeof links)[0]]
  await set(kept, kept.userData)
  await set(replaced, randomBytes(13_824))
  await set(replaced, replaced.userData)
  await set(deleted, deleted.userData)
  expect(errorOf(await client.one({ type: 'LDEL' }, deleted.queue.rcvId, deleted.queue.key))).toBe('OK')
  return async later => {
    for (const { queue, linkId, userData } of [kept, replaced]) {
      const answer = await later.one({ type: 'LGET' }, linkId)
      expect(answer).toEqual({ type: 'LNK', senderId: queue.sndId, data: { fixedData, userData } })
    }
    expect(errorOf(await later.one({ type: 'LGET' }, deleted.linkId))).toBe('AUTH')
  }
}

describe('B10 a router that is killed with SIGKILL while it takes messages', () => {
  it('B10 loses none that it answered OK, keeps their order, its queues and its links', {
    timeout: 120_000,
  }, async () => {
    const address = await start()
    const first = await connect(address)
    const expectLinks = await makeLinks(first)
    const lines: Line[] = []
    for (let i = 0; i < queuesPerRun; i++) {
      const queue = await newQueue(first, { subscribe: false })
      const key = authKey()
      expect(errorOf(await first.one({ type: 'SKEY', key: publicOf(key) }, queue.sndId, key))).toBe('OK')
      lines.push({ queue, key, sent: 0, accepted: [], received: [] })
    }
    for (const [run, killAt] of [40, 300].entries()) {
      const client = run === 0 ? first : await connect(await start())
      for (const line of lines) await drain(client, line)
      const gone = once(child as ChildProcess, 'exit')
      await Promise.all([sendUntilKilled(client, lines, killAt), gone])
    }
    const last = await connect(await start())
    await expectLinks(last)
    for (const line of lines) {
      await drain(last, line)
      const accepted = new Set(line.accepted)
      expect(line.accepted.length).toBeGreaterThan(0)
      const numbers = line.received.map(body => Number(body.split(' ')[0]))
      // In order and none twice; what was received without an answer had been sent when the process died.
      expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
      expect(line.received.filter(body => accepted.has(body)).toSorted()).toEqual(line.accepted.toSorted())
    }
  })
})
