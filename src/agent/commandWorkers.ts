import { fromPromise } from 'xstate'
import { type CommandOutcome, commandWorkerMachine } from '../../machines/commandWorker.js'
import { asDuologueError, StoreError } from '../errors.js'
import type { Outcome } from '../runtime/unit.js'
import { Workers } from '../runtime/workers.js'
import { isTemporaryOrHostError } from '../smp/client.js'
import { commands, rcvQueues } from '../store/agent/connections.js'
import { type CommandRow, commandWorkerKey } from './commandRows.js'
import type { AgentContext } from './context.js'
import { queueGone } from './deleteConnection.js'
import { errorFact } from './events.js'
import { eventOf, findConnection } from './rows.js'
import { commandDone, dropCommand, runCommand } from './runCommand.js'

/** The command workers: one commandWorker machine for each (connection, router) that has stored commands (B50). */
export class CommandWorkers {
  readonly #context: AgentContext
  readonly #workers: Workers<typeof commandWorkerMachine>
  /** Attempts of commands that are given up after some. */
  readonly #attempts = new Map<number, number>()
  #closed = false

  constructor(context: AgentContext) {
    this.#context = context
    const machine = commandWorkerMachine.provide({
      actors: {
        runNext: fromPromise<CommandOutcome, { connectionId: string; router: string }>(({ input }) =>
          this.#runNext(input.connectionId, input.router),
        ),
      },
    }) as typeof commandWorkerMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: key => ({ ...splitKey(key), retry: context.config.fastRetry }),
      workAdded: { type: 'command.added' },
      crashed: (key, error) => context.log.error({ code: asDuologueError(error).code, key }, 'a command worker failed'),
    })
  }

  wake(key: string): void {
    if (!this.#closed) this.#workers.wake(key)
  }

  /** Starts the workers of all stored commands. */
  async resume(): Promise<void> {
    let after = 0
    for (;;) {
      const page = await this.#context.store.find(commands, {
        where: { commandId: { gt: after } },
        orderBy: ['commandId'],
        limit: 500,
      })
      const last = page.at(-1)
      if (last === undefined) return
      for (const { connectionId, router } of page) this.wake(commandWorkerKey(connectionId, router))
      after = last.commandId
    }
  }

  close(): void {
    this.#closed = true
    this.#workers.stop()
  }

  async #runNext(connectionId: string, router: string): Promise<CommandOutcome> {
    if (this.#closed) return 'empty'
    const [command] = await this.#context.store.find(commands, {
      where: { connectionId, router },
      orderBy: ['commandId'],
      limit: 1,
    })
    if (command === undefined) return 'empty'
    try {
      const outcome = await runCommand(this.#context, command)
      this.#attempts.delete(command.commandId)
      return outcome
    } catch (error) {
      return this.#failed(command, error)
    }
  }

  // Temporary errors are tried again, permanent ones are reported and delete the command (B53).
  async #failed(command: CommandRow, error: unknown): Promise<CommandOutcome> {
    const { log, config } = this.#context
    const { code } = asDuologueError(error)
    log.debug({ code, command: command.type, connectionId: command.connectionId }, 'command failed')
    if (this.#closed) return 'empty'
    if (error instanceof StoreError) return 'retry'
    if (isTemporaryOrHostError(error)) {
      const attempts = (this.#attempts.get(command.commandId) ?? 0) + 1
      if (command.type !== 'deleteQueue' || attempts < config.deleteAttempts) {
        this.#attempts.set(command.commandId, attempts)
        return 'retry'
      }
    }
    this.#attempts.delete(command.commandId)
    return command.type === 'deleteQueue' ? this.#giveUpQueue(command, error) : this.#report(command, error)
  }

  async #giveUpQueue(command: CommandRow, error: unknown): Promise<CommandOutcome> {
    const { queueId = '' } = command.argument as { queueId?: string }
    const [queue] = await this.#context.store.find(rcvQueues, { where: { queueId } })
    return queue === undefined ? dropCommand(this.#context, command) : queueGone(this.#context, command, queue, error)
  }

  #report(command: CommandRow, error: unknown): Promise<CommandOutcome> {
    return this.#context.runtime.run({
      name: 'command.failed',
      internal: true,
      locks: [command.connectionId],
      compute: (state): Outcome<CommandOutcome> => {
        const connection = findConnection(state, command.connectionId)
        const correlation = command.correlationId === null ? {} : { correlationId: command.correlationId }
        const events =
          connection === undefined ? [] : [eventOf(connection, 'ERR', { error: errorFact(error) }, correlation)]
        return { result: 'failed', changes: [commandDone(command)], events }
      },
    })
  }
}

const splitKey = (key: string): { connectionId: string; router: string } => {
  const space = key.indexOf(' ')
  return { connectionId: key.slice(0, space), router: key.slice(space + 1) }
}
