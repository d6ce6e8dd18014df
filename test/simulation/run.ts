/** Plays a plan and says what was wrong. */
import { createHash } from 'node:crypto'
import { commands, rcvQueues, sndQueues, connections } from '../../src/store/agent/connections.js'
import { deliveries } from '../../src/store/agent/messages.js'
import { agentTables } from '../../src/store/agent/tables.js'
import { events } from '../../src/store/eventLog.js'
import type { End, Pair } from './pair.js'
import type { Plan } from './plan.js'
import { World, type WorldOptions } from './world.js'

export interface Outcome {
  /** What must not be; empty when all is well. */
  readonly wrong: readonly string[]
  /** How each message ended. */
  readonly messages: readonly string[]
  readonly delivered: number
  /** Of everything that the agents have done, in its order. */
  readonly traceHash: string
}

export interface RunOptions extends WorldOptions {
  /** Gets every line of the trace, as `--trace` writes it. */
  readonly line?: (line: string) => void
  /** Whether the trace is hashed: it costs as much as the run. */
  readonly hash?: boolean
}

const hour = 3_600_000
/** All that waits must have come to its end in this time after the last fault, before anything expires. */
const patience = 24 * hour
/** Longer than anything is kept that messages leave behind. */
const age = 22 * 24 * hour

export const run = async (plan: Plan, { line, hash = false, ...options }: RunOptions = {}): Promise<Outcome> => {
  const hashed = createHash('sha256')
  const traced = line !== undefined || hash
  const world = new World(plan, {
    ...options,
    ...(traced
      ? {
          trace: (agent, record) => {
            const text = JSON.stringify(record.id === undefined ? record : { ...record, id: `${agent} ${record.id}` })
            hashed.update(text)
            line?.(text)
          },
        }
      : {}),
  })
  try {
    await world.start()
    await play(world)
  } finally {
    await world.close()
  }
  const { ledger, pairs } = world
  const ways = [...pairs.keys()].flatMap(id => [ledger.direction(id, 'a'), ledger.direction(id, 'b')])
  return {
    wrong: ledger.wrong,
    messages: ledger.outcome(),
    delivered: ways.reduce((sum, { delivered }) => sum + delivered.length, 0),
    traceHash: hashed.digest('hex'),
  }
}

const play = async (world: World): Promise<void> => {
  const { plan, clock, ledger } = world
  const start = clock.now()
  const until = (ms: number): Promise<void> => clock.advance(Math.max(0, start + ms - clock.now()))
  for (const step of plan.steps) {
    await until(step.at)
    if (ledger.wrong.length > 0) return
    world.apply(step)
  }
  await until(plan.healAt)
  await world.heal()
  if (!(await converges(world, 'after the last fault'))) return
  for (const pair of world.pairs.values()) if (pair.neverMet) pair.over = true
  for (const pair of world.pairs.values()) {
    for (const end of pair.over ? [] : pair.ends) end.app.say(end, 1, 'one')
  }
  if (!(await converges(world, 'after a last message each way'))) return
  for (const pair of world.pairs.values())
    for (const side of ['a', 'b'] as const) ledger.check(pair.id, side, { lossy: pair.over })
  await cleanUp(world)
}

/** Lets time pass until nothing waits any more; false when that does not come to pass. */
const converges = async (world: World, when: string): Promise<boolean> => {
  const { clock, ledger } = world
  const from = clock.now()
  for (;;) {
    await clock.settle()
    if (ledger.wrong.length > 0) return false
    const waiting = await stillWaiting(world)
    if (waiting.length === 0) return true
    const waited = clock.now() - from
    if (waited > patience) {
      for (const what of waiting) ledger.blame(`${when}: ${what}`)
      return false
    }
    await clock.advance(Math.max(100, Math.floor(waited / 20)))
  }
}

/** What is not at its end. A ratchet or a queue of a pair that is over may wait for ever. */
const stillWaiting = async (world: World): Promise<string[]> => {
  const found: string[] = []
  for (const pair of world.pairs.values()) found.push(...waitingOf(world, pair))
  for (const { name, calls, process } of world.applications) {
    for (const call of calls.pending) found.push(`${name} has no answer to ${call}`)
    if (process.agent === undefined) {
      found.push(`${name} does not run`)
      continue
    }
    const { rows } = process
    for (const table of [deliveries, commands, events]) {
      const all = await rows.count(table)
      const expected = table === deliveries ? await rows.count(table, { connectionId: { in: toLeftQueues(world) } }) : 0
      if (all > expected) found.push(`${name} has ${all - expected} rows of ${table.name}`)
    }
    // Where the other side is gone, nobody answers any more.
    const where = { connectionId: { in: livingOf(world, name) } }
    for (const row of await rows.find(connections, { where })) {
      if (row.ratchetSync !== 'ok') found.push(`${nameOf(endOf(world, row.connectionId))}: ratchet ${row.ratchetSync}`)
    }
    for (const table of [rcvQueues, sndQueues]) {
      for (const { connectionId, switchStatus } of await rows.find(table, { where })) {
        const end = endOf(world, connectionId)
        if (switchStatus === null || (end !== undefined && mayStaySwitching(end, table))) continue
        found.push(`${nameOf(end)}: a queue of ${table.name} is ${switchStatus}`)
      }
    }
  }
  return found
}

const toLeftQueues = ({ pairs }: World): string[] =>
  [...pairs.values()]
    .filter(({ leftQueue }) => leftQueue)
    .flatMap(({ ends }) => ends.map(({ connectionId }) => connectionId ?? ''))

const livingOf = ({ pairs }: World, name: string): string[] =>
  [...pairs.values()]
    .filter(({ over }) => !over)
    .flatMap(({ ends }) => ends)
    .flatMap(({ app, connectionId }) => (app.name === name && connectionId !== undefined ? [connectionId] : []))

/** The end of a pair that a connection is. */
const endOf = ({ pairs }: World, connectionId: string): End | undefined =>
  [...pairs.values()].flatMap(({ ends }) => ends).find(end => end.connectionId === connectionId)

const nameOf = (end: End | undefined): string => (end === undefined ? 'nobody' : `${end.pair.id}.${end.side}`)

// A switch that was given up is told to nobody: the other side keeps its new queue until the next one (B71). One whose messages have
// waited too long and were given up, which was told, goes on when its application starts it anew.
const mayStaySwitching = ({ pair }: End, table: typeof rcvQueues | typeof sndQueues): boolean =>
  pair.switchExpired || (pair.aborted && table === sndQueues)

const waitingOf = ({ ledger }: World, pair: Pair): string[] => {
  if (pair.over || pair.neverMet) return []
  const found: string[] = []
  for (const end of pair.ends) {
    const name = `${pair.id}.${end.side}`
    if (!end.connected) found.push(`${name} is not connected`)
    if (end.wanted.length > 0) found.push(`${name} has ${end.wanted.length} messages to send`)
    const open = ledger.open(pair.id, end.side)
    if (open > 0) found.push(`${name}: ${open} messages on their way`)
  }
  return found
}

/** What stays when every connection is deleted and everything has aged. */
const floor: ReadonlySet<string> = new Set(['users', 'user_routers', 'statistics', 'event_consumers', 'counters'])

const cleanUp = async (world: World): Promise<void> => {
  const { clock, ledger, plan } = world
  for (const pair of world.pairs.values()) {
    for (const end of pair.ends) void end.app.delete(end, pair.id % 2 === 0 && !pair.leftQueue)
    const { addressId } = pair
    if (addressId !== undefined)
      void pair.a.app.may('delete address', agent => agent.deleteConnection({ connectionId: addressId }))
  }
  if (!(await converges(world, 'after everything was deleted'))) return
  for (const { process } of world.applications) process.clock.jump(age)
  await clock.advance(2 * plan.cleanupIntervalMs + 30_000)
  for (const { name, process } of world.applications) {
    for (const table of agentTables) {
      const count = floor.has(table.name) ? 0 : await process.rows.count(table)
      if (count > 0) ledger.blame(`${name}: ${count} rows of ${table.name} are left`)
    }
  }
}
