import type { CommandOutcome } from '../../machines/commandWorker.js'
import { CallError } from '../errors.js'
import { handlers } from './calls.js'
import { type CommandRow, endCommand } from './commandRows.js'
import type { AgentContext, Calling } from './context.js'
import { callAnswer, decodeParams, resultJson, storedCallOf } from './storeCall.js'

/**
 * Runs a stored call and answers it with an OK event (B21). A kill between the effect and the answer runs it again: under its key, or
 * because it may be repeated, it has its effect once. Rejects with the call’s error.
 */
export const runCall = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { call, key } = storedCallOf(command)
  const { commandId, connectionId } = command
  const handle = handlers[call as keyof typeof handlers] as Handle | undefined
  if (handle === undefined || command.secret === null) throw unknownCall(call)
  const params = decodeParams(call as keyof typeof handlers, command.secret, key)
  const result = await handle(context, params, { urgency: 'background', commandId, connectionId, key })
  // The sessions end before the store does: what they have refused is asked again by the next agent on these rows.
  if (context.isClosing()) return 'empty'
  return endCommand<CommandOutcome>(context, command, {
    name: 'call.done',
    gone: 'done',
    compute: () => ({
      result: 'done',
      events: [callAnswer(command, 'OK', { call, result: resultJson(result) }, idIn(result))],
    }),
  })
}

type Handle = (context: AgentContext, params: object, calling: Calling) => Promise<object>

// A call that makes a connection tells its id in the result.
const idIn = (result: object): string | undefined => (result as { connectionId?: string }).connectionId

const unknownCall = (call: string): CallError =>
  new CallError('CMD_UNKNOWN', 'this version does not know the stored call', { field: call })
