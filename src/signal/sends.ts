import { fromPromise } from 'xstate'
import {
  type SignalAnswer,
  type SignalHead,
  type SignalKeys,
  type SignalPath,
  signalSendMachine,
  type SignalVerdict,
} from '../../machines/signalSend.js'
import { InternalError } from '../errors.js'
import { Workers } from '../runtime/workers.js'
import { signalOutbox } from '../store/signal/messages.js'
import { workerTrace } from '../agent/actors.js'
import type { SignalContext } from './context.js'
import { type SendHead, takeHead, traceSend } from './sendHead.js'
import { choosePath, encrypt, fetchKeys, storeAnswer, transmit } from './sendSteps.js'
import { noteWait, settleSend } from './settleSend.js'
import { toldFailure } from './toldFailure.js'

/** The workers that send: one signalSend machine for each recipient that has something waiting. */
export class Sends {
  readonly #context: SignalContext
  readonly #heads = new Map<string, SendHead>()
  readonly #workers: Workers<typeof signalSendMachine>
  #closed = false

  constructor(context: SignalContext) {
    this.#context = context
    const { sendRetry: retry, maxRounds } = context.config
    const machine = signalSendMachine.provide({
      actors: {
        takeNext: fromPromise<SignalHead, { recipientId: string }>(({ input }) =>
          this.#step('takeNext', this.#takeNext(input.recipientId)),
        ),
        choosePath: fromPromise<SignalPath, { recipientId: string; identifiedOnly: boolean }>(({ input }) =>
          this.#step('choosePath', choosePath(context, this.#head(input.recipientId), input.identifiedOnly)),
        ),
        fetchKeys: fromPromise<SignalKeys, { recipientId: string }>(({ input }) =>
          this.#step('fetchKeys', fetchKeys(context, this.#head(input.recipientId))),
        ),
        encrypt: fromPromise<'encrypted' | 'needsKeys' | 'gone', { recipientId: string }>(({ input }) =>
          this.#step('encrypt', encrypt(context, this.#head(input.recipientId))),
        ),
        sendSealed: fromPromise<SignalAnswer, { recipientId: string }>(({ input }) =>
          this.#step('sendSealed', transmit(context, this.#head(input.recipientId), true)),
        ),
        sendIdentified: fromPromise<SignalAnswer, { recipientId: string }>(({ input }) =>
          this.#step('sendIdentified', transmit(context, this.#head(input.recipientId), false)),
        ),
        update: fromPromise<void, { recipientId: string; change: 'mismatched' | 'stale' | 'sealedRefused' }>(
          ({ input }) => this.#step('update', storeAnswer(context, this.#head(input.recipientId), input.change)),
        ),
        note: fromPromise<void, { recipientId: string; reason: string; waitMs: number }>(({ input }) =>
          this.#step('note', noteWait(context, this.#head(input.recipientId), input.reason, input.waitMs)),
        ),
        settle: fromPromise<void, { recipientId: string; verdict: SignalVerdict }>(({ input }) =>
          this.#step('settle', this.#settle(input.recipientId, input.verdict)),
        ),
      },
    }) as typeof signalSendMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: recipientId => ({ recipientId, retry, maxRounds }),
      workAdded: { type: 'message.added' },
      idle: recipientId => this.#heads.delete(recipientId),
      ...workerTrace(context, 'signalSend', recipientId => recipientId),
      crashed: (key, error) => context.crashed('signalSend', key, error),
      pausing: { paused: { type: 'send.suspended' }, resumed: { type: 'send.resumed' } },
    })
  }

  wake(recipientId: string): void {
    if (!this.#closed && this.#context.account?.status === 'linked') this.#workers.wake(recipientId)
  }

  /** Starts the workers of everything that waits. */
  async resume(): Promise<void> {
    let after = ''
    for (;;) {
      const [row] = await this.#context.store.find(signalOutbox, {
        where: { userId: this.#context.userId, recipientId: { gt: after } },
        orderBy: ['recipientId', 'messageId'],
        limit: 1,
      })
      if (row === undefined) return
      this.wake(row.recipientId)
      after = row.recipientId
    }
  }

  /** What waits goes on at once: a socket has come back. Waits that the server has named stand, unless `told`. */
  waitOver(): void {
    this.#workers.sendAll({ type: 'wait.over' })
  }

  suspend(suspended: boolean): void {
    if (suspended) this.#workers.pause()
    else this.#workers.resume()
  }

  close(): void {
    this.#closed = true
    this.#workers.stop()
  }

  #step<T>(step: string, work: Promise<T>): Promise<T> {
    const how = { text: 'a step of a send has failed', isClosed: () => this.#closed }
    return toldFailure(this.#context, work, { machine: 'signalSend', step }, how)
  }

  #head(recipientId: string): SendHead {
    const head = this.#heads.get(recipientId)
    if (head === undefined) throw new InternalError('a send has no message', { field: recipientId })
    return head
  }

  async #takeNext(recipientId: string): Promise<SignalHead> {
    const next = this.#closed ? undefined : await takeHead(this.#context, recipientId)
    if (next === undefined) return { type: 'empty' }
    this.#heads.set(recipientId, next.head)
    return next.wants
  }

  async #settle(recipientId: string, verdict: SignalVerdict): Promise<void> {
    const head = this.#head(recipientId)
    await settleSend(this.#context, head, verdict)
    traceSend(this.#context, head, 'settled', { verdict, requests: head.requests })
  }
}
