import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

/**
 * What this side sends, as the delivery rules tell messages apart: envelopes by what they hold, numbered messages by their content
 * (the names of src/smp/protocol/agentMessage.ts).
 */
export const sentMessageTypes = [
  'CONN_INFO',
  'CONN_INFO_REPLY',
  'RATCHET_INFO',
  'HELLO',
  'A_MSG',
  'A_RCVD',
  'A_QCONT',
  'QADD',
  'QKEY',
  'QUSE',
  'QTEST',
  'EREADY',
] as const
export type SentMessageType = (typeof sentMessageTypes)[number]

export type SndQueueEvent =
  /** The router accepts only this side's signed messages from now on. */
  | { type: 'queue.secured' }
  /** The router has the message. `securable`: the queue is one that the sender secures (fast handshake). */
  | { type: 'message.sent'; messageType: SentMessageType; securable: boolean }
  /** The router does not know the queue or its key (any more). */
  | { type: 'message.unauthorized'; messageType: SentMessageType }
  /** The queue is full. `expired`: the message has waited longer than the quota timeout. */
  | { type: 'message.overQuota'; messageType: SentMessageType; expired: boolean }
  /** The router could not be reached or did not answer. `host`: it is the router's host that fails. */
  | { type: 'message.unreached'; messageType: SentMessageType; host: boolean; expired: boolean }
  /** Any other error: final. */
  | { type: 'message.failed'; messageType: SentMessageType }
  | { type: 'queue.deleted' }

const is =
  (...types: SentMessageType[]) =>
  ({ event }: { event: SndQueueEvent }): boolean =>
    'messageType' in event && types.includes(event.messageType)

const isExpired = (event: SndQueueEvent): boolean => 'expired' in event && event.expired

/** What a message that is at the router means, whatever the state of its queue: one that is not of the user, and any. */
const sentOther = [
  { guard: 'queueKeys', actions: ['dropMessage', 'confirmSwitch'] },
  { actions: ['dropMessage'] },
] as const
const sent = [{ guard: 'userMessage', actions: ['keepForReceipt', 'notifySent'] }, ...sentOther] as const

const outcomes = {
  'message.unauthorized': [
    { guard: 'confirmation', actions: ['dropMessage', 'refuseConfirmation'] },
    { guard: 'ratchetInfo', actions: ['dropMessage', 'notifyNotAvailable'] },
    { guard: 'hello', actions: ['dropMessage', 'refuseHello'] },
    { guard: 'rotation', actions: ['dropMessage', 'queueError'] },
    { actions: ['dropMessage', 'notifyFailed'] },
  ],
  'message.overQuota': [
    { guard: 'confirmation', actions: ['dropMessage', 'refuseConfirmation'] },
    { guard: 'expiredRotation', actions: ['dropMessage', 'queueError', 'dropExpired'] },
    { guard: 'expired', actions: ['dropMessage', 'notifyFailed', 'dropExpired'] },
    { actions: ['warn', 'retrySlow'] },
  ],
  'message.unreached': [
    { guard: 'expiredRotation', actions: ['dropMessage', 'queueError', 'dropExpired'] },
    { guard: 'expired', actions: ['dropMessage', 'notifyFailed', 'dropExpired'] },
    { guard: 'host', actions: ['warn', 'retryFast'] },
    { actions: ['retryFast'] },
  ],
  'message.failed': [
    { guard: 'confirmation', actions: ['dropMessage', 'notifyFailed', 'refuseConfirmation'] },
    { guard: 'rotation', actions: ['dropMessage', 'queueError'] },
    { actions: ['dropMessage', 'notifyFailed'] },
  ],
} as const

/**
 * A queue that this side sends to (protocol machine): its status, and what every answer of the router means for the message
 * that was sent, by the message's type (B41–B44, B48).
 */
export const sndQueueMachine = setup({
  types: {} as { context: Record<string, never>; events: SndQueueEvent; meta: StateMeta },
  actions: {
    /** The delivery goes, the message's row too. */
    dropMessage: intent(),
    /** The delivery goes; the row stays for a receipt (B48). */
    keepForReceipt: intent(),
    notifySent: intent(),
    /** MERR for a message of the user and for what goes with messages (receipts, QCONT, EREADY), ERR for the handshake. */
    notifyFailed: intent(),
    /** A rotation cannot go on: the error names its message. */
    queueError: intent(),
    /** The other party's queue is gone: the ratchet cannot be synchronised. */
    notifyNotAvailable: intent(),
    /** Everything behind this message that has waited as long goes with it, in bulk. */
    dropExpired: intent(),
    /** MWARN, once for each kind of error. */
    warn: intent(),
    retryFast: intent(),
    retrySlow: intent(),
    /** Tells the connection: confirmation.sent, confirmation.refused. */
    confirmSent: intent(),
    refuseConfirmation: intent(),
    helloSent: intent(),
    refuseHello: intent(),
    /** Tells the rotation that QKEY, and that QTEST, is at the router. */
    confirmSwitch: intent(),
    completeSwitch: intent(),
  },
  guards: {
    confirmation: is('CONN_INFO', 'CONN_INFO_REPLY'),
    hello: is('HELLO'),
    ratchetInfo: is('RATCHET_INFO'),
    rotation: is('QADD', 'QKEY', 'QUSE', 'QTEST'),
    queueKeys: is('QKEY'),
    queueTest: is('QTEST'),
    userMessage: is('A_MSG'),
    reply: is('CONN_INFO_REPLY'),
    fastInfo: ({ event }) => event.type === 'message.sent' && event.messageType === 'CONN_INFO' && event.securable,
    slowInfo: ({ event }) => event.type === 'message.sent' && event.messageType === 'CONN_INFO' && !event.securable,
    expired: ({ event }) => isExpired(event),
    expiredRotation: ({ event }) => isExpired(event) && is('QADD', 'QKEY', 'QUSE', 'QTEST')({ event }),
    host: ({ event }) => event.type === 'message.unreached' && event.host,
  },
}).createMachine({
  id: 'sndQueue',
  description: 'A queue that this side sends to',
  initial: 'new',
  context: {},
  on: { 'queue.deleted': '.disabled' },
  states: {
    new: {
      description: 'Known from the link or the confirmation; not secured.',
      meta: { spec: ['B11', 'B12', 'B44'] },
      on: {
        'queue.secured': 'secured',
        'message.sent': [
          { guard: 'slowInfo', target: 'confirmed', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'reply', target: 'confirmed', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'fastInfo', target: 'active', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'hello', target: 'active', actions: ['dropMessage', 'helloSent'] },
          { guard: 'queueTest', target: 'active', actions: ['dropMessage', 'completeSwitch'] },
          ...sent,
        ],
        ...outcomes,
      },
    },
    secured: {
      description: 'The router has this side’s key (SKEY); the confirmation is on its way.',
      meta: {
        spec: ['B11', 'B15', 'B44'],
        ignores: { 'queue.secured': 'SKEY repeated with the same key succeeds (B15)' },
      },
      on: {
        'message.sent': [
          { guard: 'fastInfo', target: 'active', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'confirmation', target: 'confirmed', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'hello', target: 'active', actions: ['dropMessage', 'helloSent'] },
          { guard: 'queueTest', target: 'active', actions: ['dropMessage', 'completeSwitch'] },
          ...sent,
        ],
        ...outcomes,
      },
    },
    confirmed: {
      description: 'The confirmation is at the router; the other party has not answered.',
      meta: { spec: ['B12', 'B44'], ignores: { 'queue.secured': 'secured before it was confirmed' } },
      on: {
        'message.sent': [
          { guard: 'confirmation', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'hello', target: 'active', actions: ['dropMessage', 'helloSent'] },
          { guard: 'userMessage', target: 'active', actions: ['keepForReceipt', 'notifySent'] },
          { guard: 'queueTest', target: 'active', actions: ['dropMessage', 'completeSwitch'] },
          ...sentOther,
        ],
        ...outcomes,
      },
    },
    active: {
      description: 'Messages are sent.',
      meta: { spec: ['B41', 'B42', 'B43', 'B44', 'B48'], ignores: { 'queue.secured': 'secured before it was active' } },
      on: {
        'message.sent': [
          { guard: 'confirmation', actions: ['dropMessage', 'confirmSent'] },
          { guard: 'hello', actions: ['dropMessage', 'helloSent'] },
          { guard: 'queueTest', actions: ['dropMessage', 'completeSwitch'] },
          ...sent,
        ],
        ...outcomes,
      },
    },
    disabled: {
      description: 'Deleted; answers that still come in change nothing.',
      meta: {
        spec: ['B90'],
        ignores: {
          'queue.secured': 'the queue is not used any more',
          'message.sent': 'its delivery row is gone',
          'message.unauthorized': 'its delivery row is gone',
          'message.overQuota': 'its delivery row is gone',
          'message.unreached': 'its delivery row is gone',
          'message.failed': 'its delivery row is gone',
          'queue.deleted': 'deleted already',
        },
      },
      on: { 'queue.deleted': {} },
    },
  },
})
