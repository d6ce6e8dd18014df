import type { CommandOutcome } from '../../machines/commandWorker.js'
import type { Outcome, Read, UnitState, Wake } from '../runtime/unit.js'
import { commands } from '../store/agent/connections.js'
import { type Change, insert, type Json, patch, remove, type Row } from '../store/index.js'
import type { AgentContext } from './context.js'

export type CommandRow = Row<typeof commands>
export type CommandType =
  | 'secureSend'
  | 'createReply'
  | 'createQueue'
  | 'sendInvitation'
  | 'secureReceive'
  | 'allowSecure'
  | 'switchQueue'
  | 'switchSecure'
  | 'switchDelete'
  | 'dropQueue'
  | 'deleteQueue'
  | 'finishDeletion'
  | 'ack'
  | 'ackDelete'
  /** An asynchronous call of the application (B21). */
  | 'call'

/** What stands for the router in a command that needs no certain one. */
export const noRouter = ''

/** The worker of a command: one for each connection and router (B50). */
export const commandWorkerKey = (connectionId: string, router: string): string => `${connectionId} ${router}`

/** Tells the worker of a command that it need not wait any longer: rows have changed. */
export const commandsChanged = ({ connectionId, router }: Pick<CommandRow, 'connectionId' | 'router'>): Wake => ({
  worker: 'commandsChanged',
  key: commandWorkerKey(connectionId, router),
})

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

export const commandDone = ({ commandId }: Pick<CommandRow, 'commandId'>): Change => remove(commands, { commandId })

/**
 * The commit that ends a command, or leaves it for the next attempt. A command that was taken away while it ran (its connection was
 * deleted, its router given up) changes nothing any more: `gone` is the result then. What `retry` and `moved` return stays stored.
 */
export const endCommand = <Result, Loaded = undefined>(
  context: Pick<AgentContext, 'runtime'>,
  command: CommandRow,
  how: {
    readonly name: string
    readonly gone: Result
    /** What the aggregate of the connection does not hold. */
    readonly load?: (read: Read) => Promise<Loaded>
    readonly compute: (state: UnitState, loaded: Loaded) => Outcome<Result>
  },
): Promise<Result> =>
  context.runtime.run({
    name: how.name,
    internal: true,
    locks: [command.connectionId],
    load: async read => {
      const [stored] = await read(commands, { where: { commandId: command.commandId } })
      return { stored, loaded: (await how.load?.(read)) as Loaded }
    },
    compute: (state, { stored, loaded }): Outcome<Result> => {
      if (stored === undefined) return { result: how.gone }
      const outcome = how.compute(state, loaded)
      if (outcome.result === 'retry' || outcome.result === 'moved') return outcome
      return {
        ...outcome,
        changes: [commandDone(command), ...(outcome.changes ?? [])],
        wakes: [commandsChanged(command), ...(outcome.wakes ?? [])],
      }
    },
  })

/** Takes a command away that means nothing any more, or that no version knows (B51). */
export const dropCommand = (context: AgentContext, command: CommandRow): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'command.dropped',
    gone: 'done',
    compute: () => ({ result: 'done' }),
  })

/** Hands a command over to the worker of another router (B52). */
export const moveCommand = (context: AgentContext, command: CommandRow, router: string): Promise<CommandOutcome> =>
  endCommand<CommandOutcome>(context, command, {
    name: 'command.moved',
    gone: 'done',
    compute: () => ({
      result: 'moved',
      changes: [patch(commands, { commandId: command.commandId }, { router })],
      wakes: [{ worker: 'command', key: commandWorkerKey(command.connectionId, router) }],
    }),
  })
