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
  /** Commands that have failed and are tried again. */
  readonly #failing = new Map<number, { readonly attempts: number; readonly told: boolean }>()
  #closed = false

  constructor(context: AgentContext) {
    this.#context = context
    const machine = commandWorkerMachine.provide({
      actors: {
        runNext: fromPromise<CommandOutcome, { connectionId: string; router: string }>(({ input }) =>
          this.#runNext(input.connectionId, input.router).catch((error: unknown) => {
            this.#unexpected(input, error)
            throw error
          }),
        ),
      },
    }) as typeof commandWorkerMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: key => ({ ...splitKey(key), retry: context.config.fastRetry }),
      workAdded: { type: 'command.added' },
      attempts: {
        state: 'running',
        began: () => context.operations.began('sending'),
        ended: () => context.operations.ended('sending'),
      },
      pausing: { paused: { type: 'worker.suspended' }, resumed: { type: 'worker.resumed' } },
      crashed: (key, error) => context.supervisor.crashed('commandWorker', key, error),
    })
  }

  /** Runs no more commands until `resume` (B06); the one under way is finished. */
  pause(): void {
    this.#workers.pause()
  }

  unpause(): void {
    this.#workers.resume()
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

  // The machine tries again, whatever it was; a bug must be told of.
  #unexpected({ connectionId, router }: { connectionId: string; router: string }, error: unknown): void {
    if (error instanceof StoreError || this.#closed) return
    this.#context.supervisor.crashed('commandWorker', commandWorkerKey(connectionId, router), error)
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
      this.#failing.delete(command.commandId)
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
      const { attempts: before = 0, told = false } = this.#failing.get(command.commandId) ?? {}
      const attempts = before + 1
      if (command.type !== 'deleteQueue' || attempts < config.deleteAttempts) {
        const tell = !told && isToldAt(command, code, attempts)
        this.#failing.set(command.commandId, { attempts, told: told || tell })
        if (attempts === 1 && command.type !== 'deleteQueue') this.#warn(command, code)
        if (tell) await this.#report(command, error, { keepsTrying: true })
        return 'retry'
      }
    }
    this.#failing.delete(command.commandId)
    return command.type === 'deleteQueue' ? this.#giveUpQueue(command, error) : this.#report(command, error)
  }

  async #giveUpQueue(command: CommandRow, error: unknown): Promise<CommandOutcome> {
    const { queueId = '' } = command.argument as { queueId?: string }
    const [queue] = await this.#context.store.find(rcvQueues, { where: { queueId } })
    return queue === undefined ? dropCommand(this.#context, command) : queueGone(this.#context, command, queue, error)
  }

  #warn({ type, connectionId, router }: CommandRow, code: string): void {
    this.#context.log.warn({ code, command: type, connectionId, router }, 'a command failed: it is tried again')
  }

  #report(command: CommandRow, error: unknown, { keepsTrying = false } = {}): Promise<CommandOutcome> {
    const fact = keepsTrying ? { ...errorFact(error), hint: keepsTryingHint } : errorFact(error)
    return this.#context.runtime.run({
      name: 'command.failed',
      internal: true,
      locks: [command.connectionId],
      compute: (state): Outcome<CommandOutcome> => {
        const connection = findConnection(state, command.connectionId)
        const correlation = command.correlationId === null ? {} : { correlationId: command.correlationId }
        const events =
          connection === undefined
            ? []
            : [eventOf(connection, 'ERR', { error: fact, ...(keepsTrying ? { temporary: true } : {}) }, correlation)]
        if (!keepsTrying) return { result: 'failed', changes: [commandDone(command)], events }
        return { result: 'retry', events: connection?.status === 'deleted' ? [] : events }
      },
    })
  }
}

/** Says in an ERR event that its command is not given up. */
export const keepsTryingHint = 'the agent keeps trying'

/** The router is another one than its address names, or pretends to be: more attempts tell nothing new. */
const provesNothing = new Set(['TRANSPORT_IDENTITY', 'TRANSPORT_CERTIFICATE'])

// A router that is away for a moment is no news; the deletion of a queue reports its end by itself (DEL_RCVQ).
const isToldAt = ({ type }: CommandRow, code: string, attempts: number): boolean =>
  type !== 'deleteQueue' && (provesNothing.has(code) || attempts >= attemptsUntilTold)
const attemptsUntilTold = 3

const splitKey = (key: string): { connectionId: string; router: string } => {
  const space = key.indexOf(' ')
  return { connectionId: key.slice(0, space), router: key.slice(space + 1) }
}
