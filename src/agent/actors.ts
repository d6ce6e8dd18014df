/** Who is in which state: connections and queues by their rows, workers and sessions as they run. */
import { connectionMachine } from '../../machines/connection.js'
import { rcvQueueMachine } from '../../machines/rcvQueue.js'
import { sndQueueMachine } from '../../machines/sndQueue.js'
import type { WorkersOptions } from '../runtime/workers.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'

/** A worker or a session that runs. */
export interface LiveActor {
  readonly machine: string
  readonly id: string
  readonly state: string
  readonly connectionId?: string
}

type Counts = ResultOf<'countActors'>['counts']
type Actors = ResultOf<'listActors'>['actors']

const statesOf = (machine: { readonly states: object }): string[] => Object.keys(machine.states)

/** How many actors each machine has in each state; states that nobody is in are left out. */
export const countActors = async ({ store, liveActors }: AgentContext): Promise<ResultOf<'countActors'>> => {
  const counted = [
    ...statesOf(connectionMachine).map(async state => ({
      machine: 'connection',
      state,
      count: await store.count(connections, { status: state }),
    })),
    ...statesOf(rcvQueueMachine).map(async state => ({
      machine: 'rcvQueue',
      state,
      count: await store.count(rcvQueues, { status: state }),
    })),
    ...statesOf(sndQueueMachine).map(async state => ({
      machine: 'sndQueue',
      state,
      count: await store.count(sndQueues, { status: state }),
    })),
  ]
  const live = new Map<string, Counts[number]>()
  for (const { machine, state } of liveActors()) {
    const key = `${machine} ${state}`
    live.set(key, { machine, state, count: (live.get(key)?.count ?? 0) + 1 })
  }
  const rows = (await Promise.all(counted)).filter(({ count }) => count > 0)
  return { counts: [...rows, ...live.values()] }
}

/** The actors of one machine after an id, optionally of one connection. A machine that nothing runs has none. */
export const listActors = async (
  context: AgentContext,
  { machine, connectionId, after = '', limit }: ParsedParamsOf<'listActors'>,
): Promise<ResultOf<'listActors'>> => {
  const ofConnection = connectionId === undefined ? {} : { connectionId }
  return { actors: await rowsOrLive(context, machine, ofConnection, after, limit) }
}

const rowsOrLive = async (
  { store, liveActors }: AgentContext,
  machine: string,
  ofConnection: { readonly connectionId?: string },
  after: string,
  limit: number,
): Promise<Actors> => {
  if (machine === 'connection') {
    const { connectionId } = ofConnection
    if (connectionId !== undefined && connectionId <= after) return []
    const where = { connectionId: connectionId ?? { gt: after } }
    const rows = await store.find(connections, { where, orderBy: ['connectionId'], limit })
    return rows.map(({ connectionId, status }) => ({
      id: connectionId,
      connectionId,
      state: status,
    }))
  }
  const where = { ...ofConnection, queueId: { gt: after } }
  const query = { where, orderBy: ['queueId'] as const, limit }
  const queues =
    machine === 'rcvQueue'
      ? await store.find(rcvQueues, query)
      : machine === 'sndQueue'
        ? await store.find(sndQueues, query)
        : undefined
  if (queues !== undefined)
    return queues.map(({ queueId, connectionId, status }) => ({ id: queueId, connectionId, state: status }))
  return [...liveActors()]
    .filter(actor => actor.machine === machine && actor.id > after)
    .filter(actor => ofConnection.connectionId === undefined || actor.connectionId === ofConnection.connectionId)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, limit)
    .map(({ id, connectionId, state }) => ({ id, state, ...(connectionId === undefined ? {} : { connectionId }) }))
}

/** Puts the transitions of a family of workers into the trace. */
export const workerTrace = (
  { trace, clock }: Pick<AgentContext, 'trace' | 'clock'>,
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
