import type { CommandOutcome } from '../../machines/commandWorker.js'
import type { RcvQueueSwitchEvent } from '../../machines/queueSwitch.js'
import { rcvQueueMachine } from '../../machines/rcvQueue.js'
import { decodePublicKey } from '../crypto/index.js'
import { InternalError, RouterError } from '../errors.js'
import { decide } from '../runtime/decide.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import { rcvQueues } from '../store/agent/connections.js'
import { type Change, patch, remove } from '../store/index.js'
import { type CommandRow, dropCommand, endCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { drain } from './drainQueue.js'
import { errorFact } from './events.js'
import { abandonQueue, queueCreated } from './queues.js'
import { decideRcvSwitch, droppedWake, rcvSwitchTo } from './rcvSwitch.js'
import { eventOf, findConnection, findRcvQueue, type RcvQueueRow } from './rows.js'
import { makeQueue, senderKeys } from './runHandshakeStep.js'

/** Commands of a queue rotation at the party that receives. */
export const switchSteps = ['switchQueue', 'switchSecure', 'switchDelete', 'dropQueue'] as const
export type SwitchStep = (typeof switchSteps)[number]
export const isSwitchStep = ({ type }: Pick<CommandRow, 'type'>): boolean => switchSteps.some(step => step === type)

/**
 * Runs a step of a rotation: one command to a router, then one commit with its result and the next step; each can be repeated after a kill
 * with the same keys. Rejects with the router’s or the network’s error.
 */
export const runSwitchStep = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const queue = await readQueue(context, command)
  if (queue === undefined) return dropCommand(context, command)
  switch (command.type) {
    case 'switchQueue':
      return createQueue(context, command, queue)
    case 'switchSecure':
      return secureQueue(context, command, queue)
    case 'switchDelete':
      return deleteOld(context, command, queue)
    case 'dropQueue':
      return dropQueue(context, command, queue)
    default:
      throw new InternalError(`${command.type} is no step of a rotation`)
  }
}

const readQueue = async ({ store }: AgentContext, { argument }: CommandRow): Promise<RcvQueueRow | undefined> => {
  const { queueId = '' } = argument as { readonly queueId?: string }
  return (await store.find(rcvQueues, { where: { queueId } }))[0]
}

// NEW at the router of the new queue, which is then offered to the other party.
const createQueue = async (context: AgentContext, command: CommandRow, queue: RcvQueueRow): Promise<CommandOutcome> => {
  const made = await makeQueue(context, queue)
  const used = await endSwitchStep(context, command, queue, {
    event: { type: 'queue.created' },
    changes: row => [patch(rcvQueues, { queueId: row.queueId }, createdOf(made))],
    fresh: row => ({ ...row, ...createdOf(made) }),
  })
  // The switch was aborted, or the connection deleted, while the router made the queue.
  if (!used) abandonQueue(context, made)
  return 'done'
}

const createdOf = ({ rcvId, sndId, routerDhSecret, queueMode }: RcvQueueRow): ReturnType<typeof queueCreated> => ({
  rcvId,
  sndId,
  routerDhSecret,
  queueMode,
})

// KEY: the same key again succeeds (B15).
const secureQueue = async (context: AgentContext, command: CommandRow, queue: RcvQueueRow): Promise<CommandOutcome> => {
  if (queue.rcvId === null || queue.senderKey === null) return dropCommand(context, command)
  await context.sessions.request(queue, {
    command: { type: 'KEY', key: decodePublicKey(queue.senderKey, senderKeys, 'senderKey') },
    entityId: queue.rcvId,
    key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
  })
  await endSwitchStep(context, command, queue, {
    event: { type: 'queue.secured' },
    changes: (row, state) => secured(state, row),
  })
  return 'done'
}

const secured = (state: UnitState, { queueId, status }: RcvQueueRow): Change[] => {
  const decision = decide(rcvQueueMachine, status, { secret: true, securable: false }, { type: 'queue.secured' })
  state.traced('rcvQueue', queueId, 'queue.secured', decision)
  return decision.from === decision.to ? [] : [patch(rcvQueues, { queueId }, { status: decision.to })]
}

/** The commit of a step: what its event means for the rotation as it is now. Answers false when the queue is not used any more. */
const endSwitchStep = (
  context: AgentContext,
  command: CommandRow,
  { queueId }: RcvQueueRow,
  how: {
    readonly event: RcvQueueSwitchEvent
    readonly changes?: (row: RcvQueueRow, state: UnitState) => readonly Change[]
    readonly fresh?: (row: RcvQueueRow) => RcvQueueRow
    readonly error?: unknown
  },
): Promise<boolean> =>
  endCommand<boolean>(context, command, {
    name: command.type,
    gone: false,
    compute: (state): Outcome<boolean> => {
      const connection = findConnection(state, command.connectionId)
      const row = findRcvQueue(state, command.connectionId, queueId)
      if (connection === undefined || row === undefined) return { result: false }
      const fresh = how.fresh?.(row) ?? row
      const rotation = rcvSwitchTo(state, connection, fresh)
      if (rotation === undefined) return { result: false }
      const { error } = how
      const effects = decideRcvSwitch(context, state, { ...rotation, error }, how.event)
      return { result: true, ...effects, changes: [...(how.changes?.(row, state) ?? []), ...(effects.changes ?? [])] }
    },
  })

// DEL of the old queue, once it was read empty. A router that refuses for good has no queue of ours: the switch is complete all the same
// (B74).
const deleteOld = async (context: AgentContext, command: CommandRow, queue: RcvQueueRow): Promise<CommandOutcome> => {
  await drain(context, queue)
  // A SUB that crosses the DEL would be refused; in a session of GETs none is made.
  if (context.sessions.stateOf(queue) !== 'getting') context.sessions.remove(queue)
  await deleteAtRouter(context, queue)
  return oldDeleted(context, command, queue)
}

const oldDeleted = (
  context: AgentContext,
  command: CommandRow,
  { queueId }: RcvQueueRow,
  error?: unknown,
): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'switchDelete',
    gone: 'done',
    compute: (state): Outcome<CommandOutcome> => {
      const { connectionId } = command
      const connection = findConnection(state, connectionId)
      const old = findRcvQueue(state, connectionId, queueId)
      const fresh = state.rows(rcvQueues, connectionId).find(row => row.replaces === queueId)
      if (connection === undefined || old === undefined || fresh === undefined) return { result: 'done' }
      const effects = decideRcvSwitch(context, state, { connection, old, fresh }, { type: 'queue.deleted' })
      const told = error === undefined ? [] : [eventOf(connection, 'ERR', { error: errorFact(error) })]
      return {
        result: error === undefined ? 'done' : 'failed',
        ...effects,
        events: [...told, ...(effects.events ?? [])],
      }
    },
  })

// DEL of a new queue that is not used any more.
const dropQueue = async (context: AgentContext, command: CommandRow, queue: RcvQueueRow): Promise<CommandOutcome> => {
  await deleteAtRouter(context, queue)
  return queueForgotten(context, command, queue, 'done')
}

const queueForgotten = (
  context: AgentContext,
  command: CommandRow,
  queue: RcvQueueRow,
  result: CommandOutcome,
): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'dropQueue',
    gone: 'done',
    compute: () => ({
      result,
      changes: [remove(rcvQueues, { queueId: queue.queueId })],
      wakes: [droppedWake(queue)],
    }),
  })

const deleteAtRouter = async (context: AgentContext, queue: RcvQueueRow): Promise<void> => {
  if (queue.rcvId === null) return
  try {
    await context.sessions.request(queue, {
      command: { type: 'DEL' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    })
  } catch (error) {
    // Deleted already, by this command before a kill.
    if (!(error instanceof RouterError) || error.code !== 'AUTH') throw error
  }
}

/**
 * A step that failed for good, or whose router was given up: a new queue that cannot be had leaves the old one in use; an old one that
 * cannot be deleted completes the switch (B74, B77).
 */
export const giveUpSwitchStep = async (
  context: AgentContext,
  command: CommandRow,
  error: unknown,
): Promise<CommandOutcome> => {
  const queue = await readQueue(context, command)
  if (queue === undefined) return dropCommand(context, command)
  if (command.type === 'switchDelete') return oldDeleted(context, command, queue, error)
  if (command.type === 'dropQueue') return queueForgotten(context, command, queue, 'failed')
  await endSwitchStep(context, command, queue, { event: { type: 'queue.lost' }, error })
  return 'failed'
}
