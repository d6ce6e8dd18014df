import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

export type RcvQueueEvent =
  /**
   * A message of the sender was opened. `key`: it carries a public key in the clear; `senderKey`: and one inside, which the router
   * must know before the sender can send more; `envelope`: what it holds, unknown (`sealed`) while the queue has neither secret nor
   * key to open it.
   */
  | {
      type: 'message.arrived'
      key: boolean
      senderKey: boolean
      envelope: 'confirmation' | 'message' | 'invitation' | 'ratchetKey' | 'sealed'
    }
  /** The connection has taken the confirmation: the secret with the sender is stored. */
  | { type: 'queue.confirmed' }
  /** The router knows the sender's key. */
  | { type: 'queue.secured' }
  | { type: 'queue.deleted' }

export interface RcvQueueContext {
  /** Whether the secret with the sender is known. */
  secret: boolean
  /** Whether the sender secures the queue itself (SKEY), so that it need not tell its key. */
  securable: boolean
}

const arrived = [
  { guard: 'handshakeConfirmation', actions: ['processConfirmation'] },
  { guard: 'handshakeInvitation', actions: ['processInvitation'] },
  { guard: 'repeatedConfirmation', actions: ['acknowledge'] },
] as const

const refused = [
  { guard: 'keyless', actions: [{ type: 'prohibited', params: { reason: 'no keys' } }] },
  {
    guard: 'keylessConfirmation',
    actions: [{ type: 'prohibited', params: { reason: 'handshake: missing sender key' } }],
  },
  { guard: 'handshake', actions: [{ type: 'prohibited', params: { reason: 'handshake: incorrect state' } }] },
  { guard: 'publicHeader', actions: [{ type: 'prohibited', params: { reason: 'message: public header' } }] },
  { actions: [{ type: 'prohibited', params: { reason: 'message: bad client message' } }] },
] as const

/**
 * A queue that this side receives from (protocol machine). The four states of (secret, public key) of B30 are guards: handshake,
 * established, repeated confirmation, error; the machine's states are the statuses of the queue.
 */
export const rcvQueueMachine = setup({
  types: {} as { context: RcvQueueContext; events: RcvQueueEvent; meta: StateMeta },
  actions: {
    processConfirmation: intent(),
    processInvitation: intent(),
    processMessage: intent(),
    processRatchetKey: intent(),
    /** Only acknowledged again: the first acknowledgement was lost. */
    acknowledge: intent(),
    prohibited: intent<{ reason: string }>(),
  },
  guards: {
    handshake: ({ context, event }) => event.type === 'message.arrived' && !context.secret && event.key,
    handshakeConfirmation: ({ context, event }) =>
      event.type === 'message.arrived' &&
      !context.secret &&
      event.key &&
      event.envelope === 'confirmation' &&
      (event.senderKey || context.securable),
    keylessConfirmation: ({ context, event }) =>
      event.type === 'message.arrived' && !context.secret && event.key && event.envelope === 'confirmation',
    handshakeInvitation: ({ context, event }) =>
      event.type === 'message.arrived' &&
      !context.secret &&
      event.key &&
      event.envelope === 'invitation' &&
      !event.senderKey,
    repeatedConfirmation: ({ context, event }) =>
      event.type === 'message.arrived' && context.secret && event.key && event.envelope === 'confirmation',
    publicHeader: ({ context, event }) => event.type === 'message.arrived' && context.secret && event.key,
    keyless: ({ context, event }) => event.type === 'message.arrived' && !context.secret && !event.key,
    message: ({ context, event }) =>
      event.type === 'message.arrived' &&
      context.secret &&
      !event.key &&
      !event.senderKey &&
      event.envelope === 'message',
    ratchetKey: ({ context, event }) =>
      event.type === 'message.arrived' &&
      context.secret &&
      !event.key &&
      !event.senderKey &&
      event.envelope === 'ratchetKey',
  },
}).createMachine({
  id: 'rcvQueue',
  description: 'A queue that this side receives from',
  initial: 'new',
  context: { secret: false, securable: true },
  on: { 'queue.deleted': '.disabled' },
  states: {
    new: {
      description: 'Made at the router; the sender has not confirmed.',
      meta: { spec: ['B30'] },
      on: {
        'message.arrived': [...arrived, ...refused],
        'queue.confirmed': 'confirmed',
        'queue.secured': 'secured',
      },
    },
    confirmed: {
      description: 'The sender has confirmed: the secret with it is known. The first message makes the queue active.',
      meta: { spec: ['B30', 'B33'], ignores: { 'queue.confirmed': 'a repeated confirmation is only acknowledged' } },
      on: {
        'message.arrived': [
          { guard: 'message', target: 'active', actions: ['processMessage'] },
          { guard: 'ratchetKey', actions: ['processRatchetKey'] },
          ...arrived,
          ...refused,
        ],
        'queue.secured': 'secured',
      },
    },
    secured: {
      description: 'The router accepts only the sender’s signed messages. The first message makes the queue active.',
      meta: {
        spec: ['B30', 'B33'],
        ignores: {
          'queue.confirmed': 'a repeated confirmation is only acknowledged',
          'queue.secured': 'KEY repeated with the same key succeeds (B15)',
        },
      },
      on: {
        'message.arrived': [
          { guard: 'message', target: 'active', actions: ['processMessage'] },
          { guard: 'ratchetKey', actions: ['processRatchetKey'] },
          ...arrived,
          ...refused,
        ],
      },
    },
    active: {
      description: 'Messages arrive.',
      meta: {
        spec: ['B30', 'B31'],
        ignores: {
          'queue.confirmed': 'a repeated confirmation is only acknowledged',
          'queue.secured': 'KEY repeated with the same key succeeds (B15)',
        },
      },
      on: {
        'message.arrived': [
          { guard: 'message', actions: ['processMessage'] },
          { guard: 'ratchetKey', actions: ['processRatchetKey'] },
          ...arrived,
          ...refused,
        ],
      },
    },
    disabled: {
      description: 'Deleted or given up; what still arrives is acknowledged and not looked at.',
      meta: {
        spec: ['B90'],
        ignores: {
          'queue.confirmed': 'the queue is not used any more',
          'queue.secured': 'the queue is not used any more',
          'queue.deleted': 'deleted already',
        },
      },
      on: { 'message.arrived': { actions: ['acknowledge'] }, 'queue.deleted': {} },
    },
  },
})
