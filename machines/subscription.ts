import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

export type SubscriptionEvent =
  /** SUB is to be sent, or the queue was made with a subscription. */
  | { type: 'subscription.requested' }
  /** The router answered SUB with OK, SOK or a message. `current`: the answer is of the session that is open now. */
  | { type: 'subscription.confirmed'; current: boolean }
  /** SUB failed. `temporary`: it is tried again when the session is back. */
  | { type: 'subscription.failed'; current: boolean; temporary: boolean }
  /** The session to the router is lost. */
  | { type: 'session.closed' }
  /** END: another client has taken the queue over. */
  | { type: 'subscription.ended'; current: boolean }
  /** The queue is gone: DELD, or deleted by this side. */
  | { type: 'queue.deleted' }
  /** One message is asked for (GET). */
  | { type: 'message.get' }

const subscribed = {
  type: 'prohibited' as const,
  params: { reason: 'it is subscribed: its messages come by themselves' },
}

/**
 * The subscription of one receive queue (protocol machine): pending ⇄ active, removed; or getting, where messages are asked for
 * one by one. A result counts only while the queue is pending and the session is the current one (B61).
 */
export const subscriptionMachine = setup({
  types: {} as { context: Record<string, never>; events: SubscriptionEvent; meta: StateMeta },
  actions: {
    notifyUp: intent(),
    notifyDown: intent(),
    notifyEnd: intent(),
    notifyError: intent(),
    notifyDeleted: intent(),
    sendSub: intent(),
    sendGet: intent(),
    countIgnored: intent(),
    prohibited: intent<{ reason: string }>(),
  },
  guards: {
    current: ({ event }) => 'current' in event && event.current,
    permanent: ({ event }) => event.type === 'subscription.failed' && event.current && !event.temporary,
  },
}).createMachine({
  id: 'subscription',
  description: 'The subscription of one receive queue',
  initial: 'removed',
  context: {},
  states: {
    removed: {
      description: 'Not subscribed.',
      meta: {
        spec: ['B60', 'B61'],
        ignores: {
          'session.closed': 'nothing was subscribed',
          'subscription.ended': 'nothing was subscribed',
          'queue.deleted': 'nothing was subscribed',
        },
      },
      on: {
        'subscription.requested': { target: 'pending', actions: ['sendSub'] },
        'subscription.confirmed': { actions: ['countIgnored'] },
        'subscription.failed': { actions: ['countIgnored'] },
        'message.get': { target: 'getting', actions: ['sendGet'] },
      },
    },
    getting: {
      description: 'Messages are asked for one by one; a router refuses SUB in a session in which it was asked so.',
      meta: {
        spec: ['B69'],
        ignores: { 'subscription.ended': 'nothing is subscribed' },
      },
      on: {
        'message.get': { actions: ['sendGet'] },
        'subscription.requested': {
          actions: [{ type: 'prohibited', params: { reason: 'its messages are being asked for one by one' } }],
        },
        'subscription.confirmed': { actions: ['countIgnored'] },
        'subscription.failed': { actions: ['countIgnored'] },
        'session.closed': 'removed',
        'queue.deleted': { target: 'removed', actions: ['notifyDeleted'] },
      },
    },
    pending: {
      description: 'SUB is on its way, or waits for the session.',
      meta: {
        spec: ['B60', 'B61', 'B62'],
        ignores: { 'session.closed': 'SUB is sent again by the next session' },
      },
      on: {
        'subscription.requested': { actions: ['sendSub'] },
        'subscription.confirmed': [
          { guard: 'current', target: 'active', actions: ['notifyUp'] },
          { actions: ['countIgnored'] },
        ],
        'subscription.failed': [
          { guard: 'permanent', target: 'removed', actions: ['notifyError'] },
          { actions: ['countIgnored'] },
        ],
        'subscription.ended': [{ guard: 'current', target: 'removed', actions: ['notifyEnd'] }, {}],
        'queue.deleted': { target: 'removed', actions: ['notifyDeleted'] },
        'message.get': { actions: [subscribed] },
      },
    },
    active: {
      description: 'The router sends the queue’s messages to this session.',
      meta: {
        spec: ['B60', 'B61', 'B63'],
        ignores: { 'subscription.requested': 'active already: SUB is not sent again (B66)' },
      },
      on: {
        'subscription.confirmed': { actions: ['countIgnored'] },
        'subscription.failed': { actions: ['countIgnored'] },
        'session.closed': { target: 'pending', actions: ['notifyDown'] },
        'subscription.ended': [{ guard: 'current', target: 'removed', actions: ['notifyEnd'] }, {}],
        'queue.deleted': { target: 'removed', actions: ['notifyDeleted'] },
        'message.get': { actions: [subscribed] },
      },
    },
  },
})
