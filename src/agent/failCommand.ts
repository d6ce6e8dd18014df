import type { CommandOutcome } from '../../machines/commandWorker.js'
import { follow } from '../runtime/follow.js'
import type { NewEvent, Outcome, UnitState } from '../runtime/unit.js'
import { invitations, rcvQueues } from '../store/agent/connections.js'
import { type Change, patch, type Row } from '../store/index.js'
import { type CommandRow, dropCommand, endCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { decideConnection } from './decideConnection.js'
import { errorFact } from './events.js'
import { queueGone } from './finishDeletion.js'
import { type ConnectionRow, eventOf, findConnection, isDeleted } from './rows.js'
import { giveUpSwitchStep, isSwitchStep } from './runSwitchStep.js'
import { callAnswer, callFailed } from './storeCall.js'

/** Says in an ERR event that its command is not given up. */
const keepsTryingHint = 'the agent keeps trying'

/**
 * A command that failed for good, or that nobody wants to wait for any longer: it goes, and an event tells (B53). The queue that it
 * was to delete counts as deleted.
 */
export const giveUpCommand = async (
  context: AgentContext,
  command: CommandRow,
  error: unknown,
): Promise<CommandOutcome> => {
  if (command.type === 'deleteQueue') {
    const { queueId = '' } = command.argument as { queueId?: string }
    const [queue] = await context.store.find(rcvQueues, { where: { queueId } })
    return queue === undefined ? dropCommand(context, command) : queueGone(context, command, queue, error)
  }
  if (isSwitchStep(command)) return giveUpSwitchStep(context, command, error)
  const { connectionId } = command
  return endCommand(context, command, {
    name: 'command.failed',
    gone: 'done' as CommandOutcome,
    load: read => read(invitations, { where: { acceptedBy: connectionId } }),
    compute: (state, accepted): Outcome<CommandOutcome> => {
      if (command.type === 'call') return { result: 'failed', events: [callFailed(command, error)] }
      const connection = findConnection(state, connectionId)
      if (connection === undefined) return { result: 'failed' }
      const changes = stepFailed(state, connection, accepted)
      return { result: 'failed', changes, events: [eventOf(connection, 'ERR', { error: errorFact(error) })] }
    },
  })
}

// An invitation that was being accepted can be accepted again, with the same keys (B15, B18); commands of other kinds come later.
const stepFailed = (
  state: UnitState,
  connection: ConnectionRow,
  accepted: ReadonlyArray<Row<typeof invitations>>,
): readonly Change[] => {
  const { changes } = follow(decideConnection(state, connection, { type: 'step.failed' }), {
    releaseInvitation: () => ({
      changes: accepted.map(({ invitationId }) => patch(invitations, { invitationId }, { accepted: false })),
    }),
  })
  return changes
}

/** Tells once that a command has failed and is tried again. */
export const tellKeepsTrying = (context: AgentContext, command: CommandRow, error: unknown): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'command.failing',
    gone: 'done',
    compute: state => {
      const connection = findConnection(state, command.connectionId)
      const wanted = command.type === 'call' || (connection !== undefined && !isDeleted(connection))
      return { result: 'retry', events: wanted ? [temporaryError(command, error, connection)] : [] }
    },
  })

const temporaryError = (command: CommandRow, error: unknown, connection: ConnectionRow | undefined): NewEvent => {
  const payload = { error: { ...errorFact(error), hint: keepsTryingHint }, temporary: true }
  if (command.type === 'call') return callAnswer(command, 'ERR', payload, connection?.connectionId)
  return eventOf(command, 'ERR', payload)
}
