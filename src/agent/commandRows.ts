import type { Wake } from '../runtime/unit.js'
import { commands } from '../store/agent/connections.js'
import { type Change, insert, type Json, type Row } from '../store/index.js'
import type { AgentContext } from './context.js'

export type CommandRow = Row<typeof commands>
export type CommandType = 'secureSend' | 'createReply' | 'allowSecure' | 'deleteQueue'

/** The worker of a command: one for each connection and router (B50). */
export const commandWorkerKey = (connectionId: string, router: string): string => `${connectionId} ${router}`

/** A command as a row, with the wake-up of its worker. */
export const storedCommand = (
  context: Pick<AgentContext, 'nextCommandId'>,
  command: {
    readonly connectionId: string
    readonly userId: number
    readonly router: string
    readonly type: CommandType
    readonly argument: Json
    readonly secret?: Uint8Array
    readonly correlationId?: string
    readonly now: number
  },
): { readonly changes: Change[]; readonly wake: Wake } => {
  const { now, secret, correlationId, ...fields } = command
  const row: CommandRow = {
    ...fields,
    commandId: context.nextCommandId(),
    secret: secret ?? null,
    correlationId: correlationId ?? null,
    createdAt: now,
  }
  return {
    changes: [insert(commands, row)],
    wake: { worker: 'command', key: commandWorkerKey(command.connectionId, command.router) },
  }
}
