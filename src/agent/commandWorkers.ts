import { fromPromise } from 'xstate'
import { type CommandOutcome, type CommandRun, commandWorkerMachine } from '../../machines/commandWorker.js'
import { asDuologueError, type DuologueError, StoreError } from '../errors.js'
import { Workers } from '../runtime/workers.js'
import { isTemporaryOrHostError } from '../smp/client.js'
import { commands } from '../store/agent/connections.js'
import { type LiveActor, workerTrace } from './actors.js'
import { type CommandRow, commandWorkerKey, noRouter } from './commandRows.js'
import type { AgentContext } from './context.js'
import { giveUpCommand, tellKeepsTrying } from './failCommand.js'
import { runCommand } from './runCommand.js'
import { isNotNow } from './triedAgain.js'

/** A command that has failed and is tried again. */
interface Failing {
  readonly commandId: number
  readonly attempts: number
  readonly told: boolean
  readonly error: DuologueError
  readonly at: number
}

/** How far the first command of a worker has come. */
export interface CommandProgress {
  readonly commandId: number
  /** Failed attempts since the agent was opened. */
  readonly attempts: number
  readonly lastError: DuologueError
  /** Undefined while an attempt is under way. */
  readonly nextAttemptAt: number | undefined
}

/** The command workers: one commandWorker machine for each (connection, router) that has stored commands (B50). */
export class CommandWorkers {
  readonly #context: AgentContext
  readonly #workers: Workers<typeof commandWorkerMachine>
  /** By worker: its first command, once that has failed. */
  readonly #failing = new Map<string, Failing>()
  #closed = false

  constructor(context: AgentContext) {
    this.#context = context
    const machine = commandWorkerMachine.provide({
      actors: {
        runNext: fromPromise<CommandOutcome, CommandRun>(({ input }) =>
          this.#runNext(input).catch((error: unknown) => {
            this.#unexpected(input, error)
            throw error
          }),
        ),
      },
    }) as typeof commandWorkerMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: key => ({
        ...splitKey(key),
        retry: context.config.fastRetry,
        offlineRetry: context.config.offlineRetryMs,
      }),
      workAdded: { type: 'command.added' },
      ...workerTrace(context, 'commandWorker', key => splitKey(key).connectionId),
      attempts: {
        state: 'running',
        began: () => context.operations.began('sending'),
        ended: () => context.operations.ended('sending'),
      },
      pausing: { paused: { type: 'worker.suspended' }, resumed: { type: 'worker.resumed' } },
      idle: key => void this.#failing.delete(key),
      crashed: (key, error) => context.supervisor.crashed('commandWorker', key, error),
    })
  }

  get closed(): boolean {
    return this.#closed
  }

  /** The device is online again: what waits for that, or for its next attempt, goes on at once. */
  online(): void {
    this.#workers.sendAll({ type: 'network.online' })
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

  /** Rows of a worker’s commands were changed: if it waits for its next attempt, it looks again at once. */
  changed(key: string): void {
    this.#workers.send(key, { type: 'commands.changed' })
  }

  /** What the worker of a key is at, if its first command has failed. */
  progressOf(key: string): CommandProgress | undefined {
    const failing = this.#failing.get(key)
    if (failing === undefined) return undefined
    const { commandId, attempts, error: lastError, at } = failing
    const worker = this.#workers.snapshotOf(key)
    const nextAttemptAt = worker?.state === 'waiting' ? at + worker.context.delay : undefined
    return { commandId, attempts, lastError, nextAttemptAt }
  }

  /** Starts the workers of all stored commands, of these connections or of all. */
  async resume(connectionIds?: readonly string[]): Promise<void> {
    const ofConnections = connectionIds === undefined ? {} : { connectionId: { in: [...connectionIds] } }
    let after = 0
    for (;;) {
      const page = await this.#context.store.find(commands, {
        where: { commandId: { gt: after }, ...ofConnections },
        orderBy: ['commandId'],
        limit: 500,
      })
      const last = page.at(-1)
      if (last === undefined) return
      for (const { connectionId, router } of page) this.wake(commandWorkerKey(connectionId, router))
      after = last.commandId
    }
  }

  /** The workers that run now. */
  *actors(): Iterable<LiveActor> {
    for (const [id, state] of this.#workers.states()) {
      yield { machine: 'commandWorker', id, state, connectionId: splitKey(id).connectionId }
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

  async #runNext({ connectionId, router, insist }: CommandRun): Promise<CommandOutcome> {
    if (this.#closed) return 'empty'
    // What needs no certain router may need no network at all: it is tried first.
    if (!insist && router !== noRouter && !this.#context.network.online) return 'offline'
    const [command] = await this.#context.store.find(commands, {
      where: { connectionId, router },
      orderBy: ['commandId'],
      limit: 1,
    })
    if (command === undefined) return 'empty'
    const key = commandWorkerKey(connectionId, router)
    try {
      const outcome = await runCommand(this.#context, command)
      if (outcome !== 'retry') this.#failing.delete(key)
      return outcome
    } catch (error) {
      return this.#failed(key, command, error)
    }
  }

  // Temporary errors are tried again, permanent ones are reported and delete the command (B53).
  async #failed(key: string, command: CommandRow, error: unknown): Promise<CommandOutcome> {
    const { log, config, clock } = this.#context
    const cause = asDuologueError(error)
    log.debug({ code: cause.code, command: command.type, connectionId: command.connectionId }, 'command failed')
    if (this.#closed) return 'empty'
    if (isNotNow(error)) return 'retry'
    const before = this.#failing.get(key)
    const known = before?.commandId === command.commandId ? before : undefined
    const attempts = (known?.attempts ?? 0) + 1
    if (
      !(isTemporaryOrHostError(error) || isUnread(cause)) ||
      (command.type === 'deleteQueue' && attempts >= config.deleteAttempts)
    ) {
      this.#failing.delete(key)
      return giveUpCommand(this.#context, command, error)
    }
    const tell = known?.told !== true && isToldAt(command, cause, attempts)
    const failing = { commandId: command.commandId, attempts, told: known?.told === true || tell, error: cause }
    this.#failing.set(key, { ...failing, at: clock.now() })
    if (attempts === 1 && !isQuiet(command, cause)) this.#warn(command, cause.code)
    const outcome = tell ? await tellKeepsTrying(this.#context, command, error) : 'retry'
    return outcome === 'retry' && !this.#context.network.online ? 'offline' : outcome
  }

  #warn({ type, connectionId, router }: CommandRow, code: string): void {
    this.#context.log.warn({ code, command: type, connectionId, router }, 'a command failed: it is tried again')
  }
}

/** The router is another one than its address names, or pretends to be: more attempts tell nothing new. */
const provesNothing = new Set(['TRANSPORT_IDENTITY', 'TRANSPORT_CERTIFICATE'])

/** The old queue of a rotation waits for its reader, or for a router that cannot tell what it has. */
const isUnread = ({ code }: DuologueError): boolean => code === 'AGENT_QUEUE_UNREAD'

// The deletion of a queue reports its end by itself (DEL_RCVQ); a reader takes as long as it takes.
const isQuiet = ({ type }: CommandRow, error: DuologueError): boolean =>
  type === 'deleteQueue' || (isUnread(error) && error.cause === undefined)

// A router that is away for a moment is no news.
const isToldAt = (command: CommandRow, error: DuologueError, attempts: number): boolean =>
  !isQuiet(command, error) && (provesNothing.has(error.code) || attempts >= attemptsUntilTold)
const attemptsUntilTold = 3

const splitKey = (key: string): { connectionId: string; router: string } => {
  const space = key.indexOf(' ')
  return { connectionId: key.slice(0, space), router: key.slice(space + 1) }
}
