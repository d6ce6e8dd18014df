import { type Actor, createActor, fromPromise } from 'xstate'
import { cleanupMachine } from '../../machines/cleanup.js'
import { stateName } from '../runtime/decide.js'
import { type Traced, tracing } from '../runtime/tracing.js'
import { connections, ratchetKeyHashes, rcvQueues } from '../store/agent/connections.js'
import { deliveries, rcvMessages, sndMessages } from '../store/agent/messages.js'
import { type Change, remove, removeWhere } from '../store/index.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { connectionGone } from './finishDeletion.js'
import { eventOf } from './rows.js'
import { deleteConnectionsOf, removeUserIfEmpty } from './users.js'

/** Rows that one commit takes away. */
const batchLength = 500

type Step = (context: AgentContext, expiredAt: number) => Promise<void>

const commit = ({ runtime }: AgentContext, name: string, changes: readonly Change[]): Promise<void> =>
  runtime.run({ name: `cleanup.${name}`, internal: true, locks: [], compute: () => ({ result: undefined, changes }) })

/** What a message left behind to be known again; what nobody has acknowledged yet stays with its event. */
const receivedMessages: Step = async (context, expiredAt) => {
  for (;;) {
    const rows = await context.store.find(rcvMessages, {
      where: { createdAt: { lt: expiredAt }, state: 'acknowledged' },
      orderBy: ['createdAt'],
      limit: batchLength,
    })
    if (rows.length === 0) return
    await commit(
      context,
      'receivedMessages',
      rows.map(({ connectionId, messageId }) => remove(rcvMessages, { connectionId, messageId })),
    )
  }
}

/** Sent messages that got no receipt; one that still waits for its delivery stays until that ends. */
const sentMessages: Step = async (context, expiredAt) => {
  let after = 0
  for (;;) {
    const rows = await context.store.find(sndMessages, {
      where: { createdAt: { lt: expiredAt, gte: after } },
      orderBy: ['createdAt', 'connectionId', 'messageId'],
      limit: batchLength,
    })
    const waiting = await context.store.find(deliveries, {
      where: { connectionId: { in: [...new Set(rows.map(row => row.connectionId))] } },
    })
    const kept = new Set(waiting.map(row => `${row.connectionId} ${row.messageId}`))
    const gone = rows.filter(row => !kept.has(`${row.connectionId} ${row.messageId}`))
    await commit(
      context,
      'sentMessages',
      gone.map(({ connectionId, messageId }) => remove(sndMessages, { connectionId, messageId })),
    )
    const last = rows.at(-1)
    if (last === undefined || rows.length < batchLength) return
    // A whole batch of one moment that all wait must not be read for ever.
    after = gone.length === 0 && last.createdAt === after ? after + 1 : last.createdAt
  }
}

/** Keys of ratchet synchronisations: one that is as old does not come again. */
const ratchetKeys: Step = (context, expiredAt) =>
  commit(context, 'ratchetKeys', [removeWhere(ratchetKeyHashes, { createdAt: { lt: expiredAt } })])

/** Deleted connections of which nothing is left at any router. */
const deletedConnections: Step = async context => {
  const rows = await context.store.find(connections, { where: { status: 'deleted' }, limit: batchLength })
  for (const { connectionId } of rows) {
    await context.runtime.run({
      name: 'cleanup.deletedConnections',
      internal: true,
      locks: [connectionId],
      compute: state => {
        const [connection] = state.rows(connections, connectionId)
        const left = state.rows(rcvQueues, connectionId).some(queue => queue.rcvId !== null)
        if (connection?.status !== 'deleted' || left) return { result: undefined }
        return { result: undefined, ...connectionGone(connection) }
      },
    })
  }
}

/** Deleted users: what a kill has left of the deletion. */
const deletedUsers: Step = async context => {
  for (const { userId, deleted } of context.users.all) {
    if (!deleted) continue
    await deleteConnectionsOf(context, userId, true)
    await removeUserIfEmpty(context, userId)
  }
}

const savedStatistics: Step = context => commit(context, 'statistics', context.statistics.save())

/** How far the database has come, for the day on which it is a restored backup (B85). */
const sidecar: Step = ({ backup, runtime }) => backup.note(runtime.lastCursor)

/** What is cleaned up, in order; each kind apart (B07). */
const steps: Readonly<Record<string, Step>> = {
  deletedConnections,
  deletedUsers,
  receivedMessages,
  sentMessages,
  ratchetKeys,
  statistics: savedStatistics,
  sidecar,
}

/** The cleanup of an agent in the foreground: first after 30 s, then every 5 min, with 200 ms between two steps (B07). */
export class Cleanup {
  readonly #context: AgentContext
  readonly #actor: Actor<typeof cleanupMachine>

  constructor(context: AgentContext, traced?: Traced) {
    this.#context = context
    const { clock, config } = context
    const machine = cleanupMachine.provide({
      actors: { runStep: fromPromise<void, { step: string }>(({ input }) => this.#run(input.step)) },
      actions: { notifyFailed: (_, { step, error }) => this.#failed(step, error) },
    }) as typeof cleanupMachine
    this.#actor = createActor(machine, {
      ...tracing(() => this.#actor, traced),
      input: {
        steps: Object.keys(steps),
        initial: config.cleanupInitialMs,
        interval: config.cleanupIntervalMs,
        pause: config.cleanupPauseMs,
      },
      clock: {
        setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms),
        clearTimeout: (handle: never) => clock.clearTimeout(handle),
      } as never,
    })
    this.#actor.subscribe({ error: error => context.supervisor.failed('cleanup', error) })
    this.#actor.start()
  }

  get state(): string {
    return stateName(this.#actor.getSnapshot().value)
  }

  pause(): void {
    this.#actor.send({ type: 'cleanup.suspended' })
  }

  resume(): void {
    this.#actor.send({ type: 'cleanup.resumed' })
  }

  close(): void {
    this.#actor.stop()
  }

  #run(step: string): Promise<void> {
    const { clock, config } = this.#context
    return steps[step]?.(this.#context, clock.now() - config.storedDataMs) ?? Promise.resolve()
  }

  #failed(step: string, error: unknown): void {
    this.#context.log.warn({ step, code: errorFact(error).code }, 'a step of the cleanup failed')
    this.#context.publish(eventOf({ connectionId: '', userId: 1 }, 'ERR', { error: errorFact(error), temporary: true }))
  }
}
