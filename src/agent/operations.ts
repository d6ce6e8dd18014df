import { type Actor, createActor } from 'xstate'
import { agentOperationsMachine, type Operation, operations } from '../../machines/agentOperations.js'
import { CallError } from '../errors.js'
import type { Clock } from '../runtime/clock.js'
import { stateName } from '../runtime/decide.js'
import { type Traced, tracing } from '../runtime/tracing.js'

/** Who stops and goes on with one kind of work. */
export interface Operating {
  /** Nothing of the kind begins from now on; what is under way is finished. */
  stop(): void
  resume(): void
}

export interface OperationsOptions {
  readonly clock: Clock
  /** By kind. Asked at the first suspension, when everything is there. */
  readonly operating: (operation: Operation) => Operating
  /** A gradual suspension has come to its end. */
  readonly suspended: () => void
  readonly traced?: Traced | undefined
}

/**
 * What is under way in this agent, kind by kind, and the agentOperations machine that suspends it (B04). Counting is plain
 * arithmetic, since it is on the way of every message; the machine hears of it only while it suspends.
 */
export class Operations {
  readonly #options: OperationsOptions
  readonly #inProgress: Record<Operation, number> = { receiving: 0, delivery: 0, sending: 0, database: 0 }
  readonly #stopped = new Set<Operation>()
  readonly #actor: Actor<typeof agentOperationsMachine>
  /** What the machine has decided and nobody has done yet. */
  #todo: Array<() => void> = []
  #closed = false

  constructor(options: OperationsOptions) {
    this.#options = options
    const { clock } = options
    const machine = agentOperationsMachine.provide({
      actions: {
        stopOperation: (_, { operation }) => this.#stop(operation),
        resumeOperation: (_, { operation }) => this.#resume(operation),
        notifySuspended: () => this.#later(() => options.suspended()),
      },
    })
    this.#actor = createActor(machine, {
      ...tracing(() => this.#actor, options.traced),
      clock: {
        setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms),
        clearTimeout: (handle: never) => clock.clearTimeout(handle),
      } as never,
    })
    this.#actor.start()
  }

  get state(): string {
    return stateName(this.#actor.getSnapshot().value)
  }

  isStopped(operation: Operation): boolean {
    return this.#stopped.has(operation)
  }

  began(operation: Operation): void {
    this.#inProgress[operation]++
    if (this.#suspending) this.#send({ type: 'operation.began', operation })
  }

  ended(operation: Operation): void {
    this.#inProgress[operation]--
    if (this.#suspending) this.#send({ type: 'operation.ended', operation })
  }

  /** Counts a call’s own work while it runs. Throws CallError `AGENT_SUSPENDED` when its kind is stopped. */
  async during<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    if (this.isStopped(operation)) throw agentSuspended()
    this.began(operation)
    try {
      return await work()
    } finally {
      this.ended(operation)
    }
  }

  /** Suspends: at once (0), or kind by kind within `maxDelay` ms. */
  suspend(maxDelay: number): void {
    this.#send({ type: 'agent.suspend', maxDelay, inProgress: { ...this.#inProgress } })
  }

  foreground(): void {
    this.#send({ type: 'agent.foreground' })
  }

  close(): void {
    this.#closed = true
    this.#actor.stop()
  }

  get #suspending(): boolean {
    return this.#stopped.size > 0
  }

  #send(event: Parameters<Actor<typeof agentOperationsMachine>['send']>[0]): void {
    if (this.#closed) return
    this.#actor.send(event)
    this.#do()
  }

  #stop(operation: Operation): void {
    if (this.#stopped.has(operation)) return
    this.#stopped.add(operation)
    this.#later(() => this.#options.operating(operation).stop())
  }

  #resume(operation: Operation): void {
    if (this.#stopped.delete(operation)) this.#later(() => this.#options.operating(operation).resume())
  }

  // Other machines must not run inside an action of this one; a timer’s transition has no `send` that it could follow.
  #later(run: () => void): void {
    this.#todo.push(run)
    queueMicrotask(() => this.#do())
  }

  #do(): void {
    for (let run = this.#todo.shift(); run !== undefined; run = this.#todo.shift()) run()
  }
}

export { operations }

/** The refusal of a call while the agent is suspended. */
export const agentSuspended = (): CallError =>
  new CallError('AGENT_SUSPENDED', 'the agent is suspended', {
    field: 'agent',
    hint: 'call foregroundAgent first',
  })
