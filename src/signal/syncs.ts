import type { PreKeyBundle } from '@signalapp/libsignal-client'
import { fromPromise } from 'xstate'
import { signalSyncMachine, type SignalSyncOutcome } from '../../machines/signalSync.js'
import type { Outcome } from '../runtime/unit.js'
import { workerTrace } from '../agent/actors.js'
import { Workers } from '../runtime/workers.js'
import { patch, remove, type Row } from '../store/index.js'
import { signalSyncItems } from '../store/signal/messages.js'
import { requireAccount, type SignalContext } from './context.js'
import { answerOf, type DetailedAnswer, fitsFrame, messageList, unanswered } from './envelopes.js'
import { ciphertextsOf, lacks } from './outbox.js'
import {
  devicesAnswered,
  devicesWorked,
  type Encrypted,
  encryptFor,
  fetchBundles,
  type Target,
  targetOf,
} from './target.js'
import { toldFailure } from './toldFailure.js'
import { encode } from './wire/codec.js'
import { type EncryptedMessage, encryptedMessages } from './wire/messages.js'
import { pad } from './wire/padding.js'

type SyncRow = Row<typeof signalSyncItems>

/** Attempts for one transcript in a row before the worker waits. */
const maxRounds = 5

/** Transcripts that are on their way at once. */
const perTurn = 16

/** The worker that brings transcripts to the account’s own devices (S10). */
export class Syncs {
  readonly #context: SignalContext
  readonly #workers: Workers<typeof signalSyncMachine>
  #rounds = 0
  #closed = false

  constructor(context: SignalContext) {
    this.#context = context
    const machine = signalSyncMachine.provide({
      actors: { syncNext: fromPromise<SignalSyncOutcome>(() => this.#attemptNext()) },
    }) as typeof signalSyncMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: accountId => ({ accountId, retry: context.config.sendRetry }),
      workAdded: { type: 'sync.added' },
      ...workerTrace(context, 'signalSync', accountId => accountId),
      crashed: (key, error) => context.crashed('signalSync', key, error),
      pausing: { paused: { type: 'sync.suspended' }, resumed: { type: 'sync.resumed' } },
    })
  }

  wake(): void {
    if (!this.#closed && this.#context.account?.status === 'linked') this.#workers.wake(this.#context.accountId)
  }

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

  #attemptNext(): Promise<SignalSyncOutcome> {
    const how = { text: 'a transcript could not be sent', isClosed: () => this.#closed }
    return toldFailure(this.#context, this.#syncNext(), { machine: 'signalSync', step: 'syncNext' }, how)
  }

  async #syncNext(): Promise<SignalSyncOutcome> {
    const { store, accountId, clock, config, links } = this.#context
    if (this.#closed) return 'empty'
    const rows = await store.find(signalSyncItems, { where: { accountId }, orderBy: ['itemId'], limit: perTurn })
    const [first, ...others] = rows
    if (first === undefined) return 'empty'
    if (clock.now() - first.createdAt >= config.messageTimeoutMs) return this.#finish(first, 'dropped', undefined, [])
    if ((first.waitUntil ?? 0) > clock.now()) return 'retry'
    if (!(await links.identified.ensureAlive(config.probeQuietMs, config.sendConnectMs))) return 'retry'
    const outcome = await this.#attempt(first)
    if (outcome !== 'synced') return outcome
    // Devices and sessions are right, as the first has shown: what waits behind it goes out together.
    const outcomes = await Promise.all(others.map(row => this.#attempt(row)))
    return outcomes.find(one => one === 'retry') ?? outcomes.find(one => one === 'again') ?? 'synced'
  }

  async #attempt(row: SyncRow): Promise<SignalSyncOutcome> {
    const account = requireAccount(this.#context)
    const target = targetOf(this.#context, account.aci, { except: account.deviceId })
    const bundles = new Map<number, PreKeyBundle>()
    let encrypted = await this.#encrypt(row, target, bundles)
    if ('missing' in encrypted) {
      const gone: number[] = []
      const keys = await fetchBundles(this.#context, target, encrypted.missing, bundles, gone, () => {})
      if (gone.length > 0) await this.#devicesAnswered(row, target, { extra: gone })
      if (keys.type === 'limited' || keys.type === 'unusable') return this.#wait(row, keys.waitMs)
      if (keys.type !== 'ready') return 'retry'
      encrypted = await this.#encrypt(row, target, bundles)
      if ('missing' in encrypted) return 'retry'
    }
    // The account has no other device that could want it.
    if (encrypted.messages.length === 0) return this.#finish(row, 'synced', target, [])
    return this.#answered(row, target, encrypted.messages, await this.#send(row, target, encrypted.messages))
  }

  async #answered(
    row: SyncRow,
    target: Target,
    messages: readonly EncryptedMessage[],
    answer: DetailedAnswer,
  ): Promise<SignalSyncOutcome> {
    this.#trace(row, { type: answer.type, status: answer.status ?? null, devices: messages.length })
    switch (answer.type) {
      case 'accepted':
        return this.#finish(row, 'synced', target, messages)
      case 'mismatched':
      case 'stale':
        await this.#devicesAnswered(row, target, answer)
        this.#rounds += 1
        return this.#rounds % maxRounds === 0 ? 'retry' : 'again'
      case 'challenge':
      case 'limited':
        return this.#wait(row, answer.waitMs)
      case 'tooLarge':
      case 'invalid':
      case 'unregistered':
        return this.#finish(row, 'dropped', undefined, [])
      default:
        return 'retry'
    }
  }

  async #send(row: SyncRow, target: Target, messages: readonly EncryptedMessage[]): Promise<DetailedAnswer> {
    const { links, config } = this.#context
    if (!fitsFrame(messages)) return { type: 'tooLarge' }
    try {
      const response = await links.identified.request({
        verb: 'PUT',
        path: `/v1/messages/${target.serviceId}`,
        json: messageList(messages, { timestamp: row.timestamp, urgent: false }),
      })
      return answerOf(response, config)
    } catch (error) {
      return unanswered(error)
    }
  }

  async #encrypt(row: SyncRow, target: Target, bundles: ReadonlyMap<number, PreKeyBundle>): Promise<Encrypted> {
    const { accountId, itemId } = row
    return this.#context.runtime.run({
      name: 'signal.encryptSync',
      internal: true,
      locks: [target.peer],
      load: read => read(signalSyncItems, { where: { accountId, itemId } }),
      compute: async (state, [stored]): Promise<Outcome<Encrypted>> => {
        const account = requireAccount(this.#context)
        const before = ciphertextsOf(stored?.encrypted)
        const result = await encryptFor(account, state, target, before, bundles, { padded: pad(row.content) })
        if ('missing' in result || result.made === 0) return { result }
        const encrypted = encode(encryptedMessages, { devices: result.messages })
        return { result, changes: [...result.changes, patch(signalSyncItems, { accountId, itemId }, { encrypted })] }
      },
    })
  }

  async #devicesAnswered(
    { accountId, itemId }: SyncRow,
    target: Target,
    answer: Pick<DetailedAnswer, 'missing' | 'extra' | 'stale'>,
  ): Promise<void> {
    await this.#context.runtime.run({
      name: 'signal.ownDevicesAnswered',
      internal: true,
      locks: [target.peer],
      load: read => read(signalSyncItems, { where: { accountId, itemId } }),
      compute: (state, [stored]) => {
        const account = requireAccount(this.#context)
        const { changes, gone } = devicesAnswered(this.#context, account, state, target, answer)
        const before = ciphertextsOf(stored?.encrypted)
        const encrypted = encode(encryptedMessages, {
          devices: before.filter(({ deviceId = 0 }) => !gone.has(deviceId)),
        })
        return {
          result: undefined,
          changes: [...changes, patch(signalSyncItems, { accountId, itemId }, { encrypted })],
        }
      },
    })
  }

  async #wait({ accountId, itemId }: SyncRow, waitMs: number): Promise<'retry'> {
    await this.#context.runtime.run({
      name: 'signal.syncWait',
      internal: true,
      locks: [],
      compute: state => ({
        result: undefined,
        changes: [patch(signalSyncItems, { accountId, itemId }, { waitUntil: state.now + waitMs })],
      }),
    })
    return 'retry'
  }

  async #finish(
    row: SyncRow,
    outcome: 'synced' | 'dropped',
    target: Target | undefined,
    messages: readonly EncryptedMessage[],
  ): Promise<SignalSyncOutcome> {
    const { accountId, itemId } = row
    this.#rounds = 0
    const done = await this.#context.runtime.run({
      name: 'signal.synced',
      internal: true,
      locks: target === undefined ? [] : [target.peer],
      load: read => read(signalSyncItems, { where: { accountId, itemId } }),
      compute: (state, [stored]): Outcome<SignalSyncOutcome> => ({
        // A device has asked for it again before this answer came (S13): its ciphertext must be made anew.
        result: lacks(stored?.encrypted, messages) ? 'again' : outcome,
        changes: [
          ...(lacks(stored?.encrypted, messages) ? [] : [remove(signalSyncItems, { accountId, itemId })]),
          ...(target === undefined || messages.length === 0
            ? []
            : devicesWorked(this.#context, state, target, messages)),
        ],
      }),
    })
    if (outcome === 'dropped') {
      this.#context.log.warn({ timestamp: row.timestamp }, 'a transcript for the own devices was given up')
      this.#trace(row, { type: 'dropped' })
    }
    return done
  }

  #trace({ correlationId }: SyncRow, facts: Parameters<SignalContext['sendTrace']>[2]): void {
    this.#context.sendTrace(
      { correlationId, recipientId: this.#context.accountId, messageId: undefined },
      'sync',
      facts,
    )
  }
}
