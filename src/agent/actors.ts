/** Who is in which state: connections, queues and rotations by their rows, workers and sessions as they run. */
import type { WorkersOptions } from '../runtime/workers.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { switchState, switchStatusOf } from './rotation.js'

/** A worker or a session that runs. */
export interface LiveActor {
  readonly machine: string
  readonly id: string
  readonly state: string
  readonly connectionId?: string
}

type Counts = ResultOf<'countActors'>['counts']
type Actors = ResultOf<'listActors'>['actors']

/** How many actors each machine has in each state; states that nobody is in are left out. */
export const countActors = async ({ store, liveActors }: AgentContext): Promise<ResultOf<'countActors'>> => {
  const stored = await Promise.all([
    store.countBy(connections, 'status').then(named('connection')),
    store.countBy(rcvQueues, 'status').then(named('rcvQueue')),
    store.countBy(sndQueues, 'status').then(named('sndQueue')),
    store.countBy(rcvQueues, 'switchStatus').then(named('rcvQueueSwitch')),
    store.countBy(sndQueues, 'switchStatus').then(named('sndQueueSwitch')),
    store.countBy(connections, 'ratchetSync').then(named('ratchetSync')),
  ])
  const live = new Map<string, Counts[number]>()
  for (const { machine, state } of liveActors()) {
    const key = `${machine} ${state}`
    live.set(key, { machine, state, count: (live.get(key)?.count ?? 0) + 1 })
  }
  return { counts: [...stored.flat(), ...live.values()] }
}

/** A queue without a status of a rotation is in the first state of its machine. */
const named =
  (machine: string) =>
  (counts: ReadonlyArray<{ readonly value: string | null; readonly count: number }>): Counts =>
    counts
      .map(({ value, count }) => ({ machine, state: switchState({ switchStatus: value }), count }))
      .sort((a, b) => (a.state < b.state ? -1 : 1))

/** The actors of one machine after an id, optionally of one connection or in one state. A machine that nothing runs has none. */
export const listActors = async (
  context: AgentContext,
  params: ParsedParamsOf<'listActors'>,
): Promise<ResultOf<'listActors'>> => ({ actors: await (rowsOf[params.machine] ?? running)(context, params) })

type List = (context: AgentContext, params: ParsedParamsOf<'listActors'>) => Actors | Promise<Actors>

const ofConnections =
  (column: 'status' | 'ratchetSync'): List =>
  async ({ store }, { connectionId, state, after = '', limit }) => {
    if (connectionId !== undefined && connectionId <= after) return []
    const where = { connectionId: connectionId ?? { gt: after }, ...(state === undefined ? {} : { [column]: state }) }
    const rows = await store.find(connections, { where, orderBy: ['connectionId'], limit })
    return rows.map(row => ({ id: row.connectionId, connectionId: row.connectionId, state: row[column] }))
  }

const ofQueues =
  (table: typeof rcvQueues | typeof sndQueues, column: 'status' | 'switchStatus'): List =>
  async ({ store }, { connectionId, state, after = '', limit }) => {
    const where = {
      queueId: { gt: after },
      ...(connectionId === undefined ? {} : { connectionId }),
      ...(state === undefined ? {} : { [column]: column === 'status' ? state : switchStatusOf(state) }),
    }
    const rows = await store.find(table as typeof rcvQueues, { where, orderBy: ['queueId'], limit })
    return rows.map(row => ({
      id: row.queueId,
      connectionId: row.connectionId,
      state: column === 'status' ? row.status : switchState(row),
    }))
  }

/** Machines whose actors are rows. */
const rowsOf: Readonly<Record<string, List>> = {
  connection: ofConnections('status'),
  ratchetSync: ofConnections('ratchetSync'),
  rcvQueue: ofQueues(rcvQueues, 'status'),
  sndQueue: ofQueues(sndQueues, 'status'),
  rcvQueueSwitch: ofQueues(rcvQueues, 'switchStatus'),
  sndQueueSwitch: ofQueues(sndQueues, 'switchStatus'),
}

const running: List = ({ liveActors }, { machine, connectionId, state, after = '', limit }) =>
  [...liveActors()]
    .filter(actor => actor.machine === machine && actor.id > after)
    .filter(actor => connectionId === undefined || actor.connectionId === connectionId)
    .filter(actor => state === undefined || actor.state === state)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, limit)
    .map(({ id, connectionId, state }) => ({ id, state, ...(connectionId === undefined ? {} : { connectionId }) }))

/** Puts the transitions of a family of workers into the trace. */
export const workerTrace = (
  { trace, clock }: { readonly trace?: AgentContext['trace']; readonly clock: AgentContext['clock'] },
  machine: string,
  connectionOf: (key: string) => string | undefined,
): Pick<WorkersOptions<never>, 'traced'> =>
  trace === undefined
    ? {}
    : {
        traced: (id, event, from, to) => {
          const connectionId = connectionOf(id)
          const aggregates = connectionId === undefined ? {} : { aggregates: [connectionId] }
          trace({ at: clock.now(), traceId: '', unit: machine, machine, id, event, from, to, ...aggregates })
        },
      }
