import type { CommandOutcome } from '../../machines/commandWorker.js'
import { fromBase64url } from '../encoding/index.js'
import { RouterError } from '../errors.js'
import { rcvQueues } from '../store/agent/connections.js'
import { rcvMessages } from '../store/agent/messages.js'
import { remove } from '../store/index.js'
import { type CommandRow, dropCommand, endCommand } from './commandRows.js'
import type { AgentContext } from './context.js'
import { finishDeletion, queueGone } from './finishDeletion.js'
import { isHandshakeStep } from './handshakeSteps.js'
import { createdQueue } from './queues.js'
import type { RcvQueueRow } from './rows.js'
import { runCall } from './runCall.js'
import { runHandshakeStep } from './runHandshakeStep.js'
import { isSwitchStep, runSwitchStep } from './runSwitchStep.js'

/** What a command names in its row. */
interface Arguments {
  readonly queueId?: string
  readonly brokerId?: string
  readonly messageId?: number
}

/**
 * Runs a stored command: one step on the network, then one commit that leaves the step’s result and takes the command away. Every step
 * can be repeated after a kill with the same keys (B15). Rejects with the router’s or the network’s error.
 */
export const runCommand = (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  if (isHandshakeStep(command)) return runHandshakeStep(context, command)
  if (isSwitchStep(command)) return runSwitchStep(context, command)
  switch (command.type) {
    case 'deleteQueue':
      return deleteQueue(context, command)
    case 'finishDeletion':
      return finishDeletion(context, command)
    case 'ack':
    case 'ackDelete':
      return ack(context, command)
    case 'call':
      return runCall(context, command)
    default:
      return dropCommand(context, command)
  }
}

const argumentsOf = (command: CommandRow): Arguments => command.argument as Arguments

const deleteQueue = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const queue = await readRcvQueue(context, argumentsOf(command).queueId)
  if (queue === undefined || queue.rcvId === null) return dropCommand(context, command)
  try {
    await context.sessions.request(queue, {
      command: { type: 'DEL' },
      entityId: queue.rcvId,
      key: { algorithm: 'ed25519', privateKey: queue.rcvPrivateKey },
    })
  } catch (error) {
    // The queue is gone already: this command was run before.
    if (!(error instanceof RouterError) || error.code !== 'AUTH') throw error
  }
  return queueGone(context, command, queue)
}

// An ACK that could not be sent in its session, again and again; ackDelete takes the message’s row away as well.
const ack = async (context: AgentContext, command: CommandRow): Promise<CommandOutcome> => {
  const { queueId, brokerId = '', messageId } = argumentsOf(command)
  const queue = await readRcvQueue(context, queueId)
  if (queue === undefined || queue.rcvId === null) return dropCommand(context, command)
  await context.inbox.sendAck(createdQueue(queue), fromBase64url(brokerId, 'brokerId'))
  return endCommand<CommandOutcome>(context, command, {
    name: 'ack',
    gone: 'done',
    compute: () => ({
      result: 'done',
      changes:
        command.type === 'ackDelete' && messageId !== undefined
          ? [remove(rcvMessages, { connectionId: command.connectionId, messageId })]
          : [],
    }),
  })
}

const readRcvQueue = async ({ store }: AgentContext, queueId = ''): Promise<RcvQueueRow | undefined> =>
  (await store.find(rcvQueues, { where: { queueId } }))[0]
