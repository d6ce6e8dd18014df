import type { PreKeyBundle } from '@signalapp/libsignal-client'
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
import type { Outcome } from '../runtime/unit.js'
import { Workers } from '../runtime/workers.js'
import { patch } from '../store/index.js'
import { signalRecipients } from '../store/signal/account.js'
import { signalMessages, signalOutbox } from '../store/signal/messages.js'
import { requireAccount, type SignalContext, signalEvent } from './context.js'
import { answerOf, contentHints, type DetailedAnswer, messageList, seal, unanswered } from './envelopes.js'
import type { OutboxRow, SignalMessageRow } from './outbox.js'
import { type RecipientRow, serviceIdOfRecipient } from './recipients.js'
import { noteWait, settleSend, updateDevices } from './settleSend.js'
import type { SendStep } from './sendTrace.js'
import { type Encrypted, encryptFor, fetchBundles, type Target, targetOf } from './target.js'
import { decode, encode } from './wire/codec.js'
import { type EncryptedMessage, encryptedMessages } from './wire/messages.js'
import { pad } from './wire/padding.js'

/** The message at the head of a recipient’s outbox, as its worker has it in memory; the rows are the truth. */
export interface SendHead {
  readonly row: OutboxRow
  readonly message: SignalMessageRow
  readonly recipient: RecipientRow
  readonly target: Target
  readonly bundles: Map<number, PreKeyBundle>
  /** Devices that keys are needed for. */
  missing: readonly number[]
  encrypted: readonly EncryptedMessage[]
  answer: DetailedAnswer | undefined
  /** Requests so far, and whether the last one was sealed. */
  requests: number
  sealed: boolean
}

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
        takeNext: fromPromise<SignalHead, { recipientId: string }>(({ input }) => this.#takeNext(input.recipientId)),
        choosePath: fromPromise<SignalPath, { recipientId: string; identifiedOnly: boolean }>(({ input }) =>
          this.#choosePath(this.#head(input.recipientId), input.identifiedOnly),
        ),
        fetchKeys: fromPromise<SignalKeys, { recipientId: string }>(({ input }) =>
          this.#fetchKeys(this.#head(input.recipientId)),
        ),
        encrypt: fromPromise<'encrypted' | 'needsKeys' | 'gone', { recipientId: string }>(({ input }) =>
          this.#encrypt(this.#head(input.recipientId)),
        ),
        sendSealed: fromPromise<SignalAnswer, { recipientId: string }>(({ input }) =>
          this.#send(this.#head(input.recipientId), true),
        ),
        sendIdentified: fromPromise<SignalAnswer, { recipientId: string }>(({ input }) =>
          this.#send(this.#head(input.recipientId), false),
        ),
        update: fromPromise<void, { recipientId: string; change: 'mismatched' | 'stale' | 'sealedRefused' }>(
          ({ input }) => this.#update(this.#head(input.recipientId), input.change),
        ),
        note: fromPromise<void, { recipientId: string; reason: string; waitMs: number }>(({ input }) =>
          noteWait(this.#context, this.#head(input.recipientId), input.reason, input.waitMs),
        ),
        settle: fromPromise<void, { recipientId: string; verdict: SignalVerdict }>(({ input }) =>
          this.#settle(input.recipientId, input.verdict),
        ),
      },
    }) as typeof signalSendMachine
    this.#workers = new Workers({
      machine,
      clock: context.clock,
      input: recipientId => ({ recipientId, retry, maxRounds }),
      workAdded: { type: 'message.added' },
      idle: recipientId => this.#heads.delete(recipientId),
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

  #head(recipientId: string): SendHead {
    const head = this.#heads.get(recipientId)
    if (head === undefined) throw new InternalError('a send has no message', { field: recipientId })
    return head
  }

  async #takeNext(recipientId: string): Promise<SignalHead> {
    if (this.#closed) return { type: 'empty' }
    const { store, clock, config } = this.#context
    const [row] = await store.find(signalOutbox, { where: { recipientId }, orderBy: ['messageId'], limit: 1 })
    if (row === undefined) return { type: 'empty' }
    const [[message], recipient] = await Promise.all([
      store.find(signalMessages, { where: { recipientId, messageId: row.messageId } }),
      this.#liveRecipient(recipientId),
    ])
    const serviceId = recipient === undefined ? undefined : serviceIdOfRecipient(recipient)
    if (message === undefined || recipient === undefined || serviceId === undefined)
      throw new InternalError('a waiting message has no recipient', { field: recipientId })
    const sealable = recipient.sealed !== 'refused' && recipient.aci !== null
    this.#heads.set(recipientId, {
      row,
      message,
      recipient,
      target: targetOf(this.#context, serviceId, {
        profileKey: sealable ? recipient.profileKey : null,
        ...this.#ownDevice(serviceId),
      }),
      bundles: new Map(),
      missing: [],
      encrypted: row.encrypted === null ? [] : (decode(encryptedMessages, row.encrypted).devices ?? []),
      answer: undefined,
      requests: 0,
      sealed: false,
    })
    if (clock.now() - row.createdAt > config.messageTimeoutMs) return { type: 'expired' }
    const waitMs = (row.waitUntil ?? 0) - clock.now()
    return waitMs > 0 ? { type: 'wait', waitMs } : { type: 'message' }
  }

  // What goes to the own account leaves this device out.
  #ownDevice(serviceId: string): { except?: number } {
    const { aci, deviceId } = requireAccount(this.#context)
    return serviceId === aci ? { except: deviceId } : {}
  }

  // A recipient that was found to be another one sends to where that one is.
  async #liveRecipient(recipientId: string): Promise<RecipientRow | undefined> {
    const { store } = this.#context
    let [row] = await store.find(signalRecipients, { where: { recipientId } })
    for (let hops = 0; row !== undefined && row.mergedInto !== null && hops < 5; hops++) {
      ;[row] = await store.find(signalRecipients, { where: { recipientId: row.mergedInto } })
    }
    return row
  }

  async #choosePath(head: SendHead, identifiedOnly: boolean): Promise<SignalPath> {
    const { links, config, certificates } = this.#context
    const both = (connectMs: number): Promise<boolean[]> =>
      Promise.all([
        links.identified.ensureAlive(config.probeQuietMs, connectMs),
        links.unidentified.ensureAlive(config.probeQuietMs, connectMs),
      ])
    let [identified = false, unidentified = false] = await both(0)
    if (!identified && !unidentified) {
      await Promise.race([
        links.identified.ensureAlive(config.probeQuietMs, config.sendConnectMs),
        links.unidentified.ensureAlive(config.probeQuietMs, config.sendConnectMs),
      ])
      ;[identified, unidentified] = [links.identified.isOpen, links.unidentified.isOpen]
    }
    this.#trace(head, 'probed', { identified: links.identified.state, unidentified: links.unidentified.state })
    const canSeal = !identifiedOnly && unidentified && head.target.accessKey !== undefined
    const certificate = canSeal ? await certificates.current() : undefined
    const path: SignalPath = certificate !== undefined ? 'sealed' : identified ? 'identified' : 'unreached'
    this.#trace(head, 'path', {
      path,
      accessKey: head.target.accessKey !== undefined,
      certificate: certificate !== undefined,
    })
    return path
  }

  async #fetchKeys(head: SendHead): Promise<SignalKeys> {
    if (head.missing.length === 0) return { type: 'ready' }
    const wanted = head.missing
    const gone: number[] = []
    const keys = await fetchBundles(this.#context, head.target, wanted, head.bundles, gone, (deviceId, status) =>
      this.#trace(head, 'keys', { deviceId, status }),
    )
    if (gone.length === 0) return keys
    const left = await updateDevices(this.#context, head, { extra: gone })
    return left === 0 ? { type: 'unregistered' } : keys
  }

  // Sessions, ciphertexts and the row that names them are one commit, before a byte leaves (S11).
  async #encrypt(head: SendHead): Promise<'encrypted' | 'needsKeys' | 'gone'> {
    const { runtime } = this.#context
    const { recipientId, messageId } = head.row
    const { target, message, recipient } = head
    const outcome = await runtime.run({
      name: 'signal.encrypt',
      internal: true,
      locks: [recipientId, target.peer],
      load: read => read(signalOutbox, { where: { recipientId, messageId } }),
      compute: async (state, [row]): Promise<Outcome<Encrypted | 'gone'>> => {
        if (row === undefined || message.content === null) return { result: 'gone' }
        const account = requireAccount(this.#context)
        const stored = row.encrypted === null ? [] : (decode(encryptedMessages, row.encrypted).devices ?? [])
        const content =
          message.kind === 'retryReceipt' ? { plaintext: message.content } : { padded: pad(message.content) }
        const result = await encryptFor(account, state, target, stored, head.bundles, content)
        if ('missing' in result) return { result }
        const encrypted = encode(encryptedMessages, { devices: result.messages })
        return {
          result,
          changes:
            result.made === 0 && stored.length === result.messages.length
              ? []
              : [...result.changes, patch(signalOutbox, { recipientId, messageId }, { encrypted })],
          events: result.identityChanged
            ? [signalEvent(this.#context, recipient.recipientId, 'IDENTITY_CHANGED', { serviceId: target.serviceId })]
            : [],
        }
      },
    })
    if (outcome === 'gone') return 'gone'
    if ('missing' in outcome) {
      head.missing = outcome.missing
      this.#trace(head, 'devices', { needKeys: [...outcome.missing] })
      return 'needsKeys'
    }
    head.missing = []
    head.encrypted = outcome.messages
    this.#trace(head, 'encrypted', {
      devices: outcome.messages.map(({ deviceId = 0 }) => deviceId),
      made: outcome.made,
    })
    return 'encrypted'
  }

  async #send(head: SendHead, sealed: boolean): Promise<SignalAnswer> {
    const { links, config, certificates } = this.#context
    const { target, message } = head
    const link = sealed ? links.unidentified : links.identified
    head.sealed = sealed
    head.requests += 1
    try {
      const certificate = sealed ? await certificates.current() : undefined
      const messages =
        certificate === undefined
          ? head.encrypted
          : await seal(this.#context, target.serviceId, head.encrypted, certificate, hintOf(message))
      const accessKey =
        sealed && target.accessKey !== undefined ? Buffer.from(target.accessKey).toString('base64') : undefined
      this.#trace(head, 'request', { sealed, socket: link.state, attempt: head.requests, devices: messages.length })
      const response = await link.request({
        verb: 'PUT',
        path: `/v1/messages/${target.serviceId}`,
        json: messageList(messages, { timestamp: message.timestamp, urgent: message.kind === 'message' }),
        ...(accessKey === undefined ? {} : { headers: { 'unidentified-access-key': accessKey } }),
      })
      head.answer = answerOf(response, config)
    } catch (error) {
      head.answer = unanswered(error)
    }
    const { type, status = null, missing = [], extra = [], stale = [], error = null } = head.answer
    this.#trace(head, 'answer', {
      sealed,
      type,
      status,
      error,
      ...(missing.length + extra.length + stale.length === 0 ? {} : { missing, extra, stale }),
    })
    if (sealed && (type === 'unauthorized' || type === 'unanswered'))
      this.#trace(head, 'fallback', { to: 'identified', because: error ?? status })
    return plainAnswer(head.answer)
  }

  async #update(head: SendHead, change: 'mismatched' | 'stale' | 'sealedRefused'): Promise<void> {
    if (change === 'sealedRefused') {
      const { recipientId } = head.recipient
      await this.#context.runtime.run({
        name: 'signal.sealedRefused',
        internal: true,
        locks: [recipientId],
        compute: () => ({
          result: undefined,
          changes: [patch(signalRecipients, { recipientId }, { sealed: 'refused' })],
        }),
      })
      return
    }
    const { missing = [], extra = [], stale = [] } = head.answer ?? {}
    await updateDevices(this.#context, head, { missing, extra, stale })
    for (const deviceId of stale) head.bundles.delete(deviceId)
  }

  async #settle(recipientId: string, verdict: SignalVerdict): Promise<void> {
    const head = this.#head(recipientId)
    await settleSend(this.#context, head, verdict)
    this.#trace(head, 'settled', { verdict, requests: head.requests })
  }

  #trace({ message, recipient }: SendHead, step: SendStep, facts: Parameters<SignalContext['sendTrace']>[2]): void {
    const { correlationId, messageId } = message
    this.#context.sendTrace({ correlationId, recipientId: recipient.recipientId, messageId }, step, facts)
  }
}

/** What the machine is told: plain data that its context may keep. */
const plainAnswer = (answer: DetailedAnswer): SignalAnswer =>
  answer.type === 'challenge' || answer.type === 'limited'
    ? { type: answer.type, waitMs: answer.waitMs }
    : { type: answer.type }

const hintOf = ({ kind }: SignalMessageRow): number =>
  kind === 'message' ? contentHints.resendable : kind === 'receipt' ? contentHints.implicit : contentHints.default
