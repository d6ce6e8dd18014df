import { CallError } from '../errors.js'
import { formatRouterAddress, parseRouterAddressWithAuth } from '../smp/protocol/routerAddress.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { newRcvQueue } from './queues.js'
import { isSynchronized } from './ratchetSync.js'
import { decideRcvSwitch, rcvSwitchOf } from './rcvSwitch.js'
import { type ConnectionRow, type RcvQueueRow, rcvQueuesOf, requireConnection, sndQueuesOf } from './rows.js'

/**
 * switchConnection: the queue that this side receives from moves to another router (B70). Keys and the first step are stored, and SWITCH
 * tells of the phases; nothing is lost or comes twice on the way. Throws CallError `CMD_PROHIBITED` while the connection is not complete,
 * is switching already, or its ratchet is not synchronised, and `CONFIG_NO_ROUTERS`.
 */
export const switchConnection = (
  context: AgentContext,
  { connectionId, router }: ParsedParamsOf<'switchConnection'>,
): Promise<ResultOf<'switchConnection'>> =>
  context.runtime.run({
    name: 'switchConnection',
    locks: [connectionId],
    compute: (state): Outcome<ResultOf<'switchConnection'>> => {
      const connection = requireConnection(state, connectionId)
      const old = primaryQueue(state, connection)
      const place = router === undefined ? anotherRouter(context, state, connection, old) : addressOf(router)
      const fresh = {
        ...newRcvQueue(context.random, connection, place, context.config.clientVersions.max, state.now),
        primary: false,
        replaces: old.queueId,
      }
      const synchronized = isSynchronized(connection)
      // The last one may have its new queue in use already, and its old one still to be deleted.
      const rotation = rcvSwitchOf(state, connection) ?? { connection, old, fresh }
      const effects = decideRcvSwitch(context, state, rotation, { type: 'switch.start', synchronized })
      return { result: { router: place }, ...effects }
    },
  })

/**
 * abortSwitch: the new queue is dropped and the old one stays, as long as the other party cannot have given that one up (B75). Throws
 * CallError `CMD_PROHIBITED` after that, and when no switch is under way.
 */
export const abortSwitch = (
  context: AgentContext,
  { connectionId }: ParsedParamsOf<'abortSwitch'>,
): Promise<ResultOf<'abortSwitch'>> =>
  context.runtime.run({
    name: 'abortSwitch',
    locks: [connectionId],
    compute: (state): Outcome<ResultOf<'abortSwitch'>> => {
      const connection = requireConnection(state, connectionId)
      const old = primaryQueue(state, connection)
      const rotation = rcvSwitchOf(state, connection) ?? { connection, old, fresh: old }
      const synchronized = isSynchronized(connection)
      return { result: {}, ...decideRcvSwitch(context, state, rotation, { type: 'switch.abort', synchronized }) }
    },
  })

const primaryQueue = (state: UnitState, connection: ConnectionRow): RcvQueueRow => {
  const queue = rcvQueuesOf(state, connection.connectionId).find(row => row.primary)
  if (queue !== undefined && connection.status === 'connected') return queue
  throw new CallError('CMD_PROHIBITED', 'the connection is not complete', {
    field: 'connectionId',
    hint: 'wait for its CON event',
  })
}

const anotherRouter = (
  { routers, random }: AgentContext,
  state: UnitState,
  { connectionId, userId }: ConnectionRow,
  old: RcvQueueRow,
): string => {
  const used = [...rcvQueuesOf(state, connectionId), ...sndQueuesOf(state, connectionId)].map(queue => queue.router)
  return routers.pickUnused(userId, random, used, old.router)
}

const addressOf = (address: string): string => formatRouterAddress(parseRouterAddressWithAuth(address).router)
