import type { CommandOutcome } from '../../machines/commandWorker.js'
import type { NewEvent } from '../runtime/unit.js'
import { rcvQueues } from '../store/agent/connections.js'
import { type CommandRow, dropCommand, endCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { queueGone } from './finishDeletion.js'
import { type ConnectionRow, eventOf, findConnection, isDeleted } from './rows.js'
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
  return endCommand<CommandOutcome>(context, command, {
    name: 'command.failed',
    gone: 'done',
    compute: state => {
      if (command.type === 'call') return { result: 'failed', events: [callFailed(command, error)] }
      const connection = findConnection(state, command.connectionId)
      const events = connection === undefined ? [] : [eventOf(connection, 'ERR', { error: errorFact(error) })]
      return { result: 'failed', events }
    },
  })
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
