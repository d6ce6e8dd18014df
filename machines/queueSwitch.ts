import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

export type RcvQueueSwitchEvent =
  /** The user wants another queue at another router. `synchronized`: the ratchet allows sending. */
  | { type: 'switch.start'; synchronized: boolean }
  | { type: 'switch.abort'; synchronized: boolean }
  /** The router has made the new queue. */
  | { type: 'queue.created' }
  /** The new queue cannot be made, or is gone: its router refuses it for good, or is given up. */
  | { type: 'queue.lost' }
  /** The other party’s key for the new queue (QKEY). `known`: it is the key that was stored before. */
  | { type: 'key.received'; known: boolean }
  /** The router of the new queue knows the other party’s key. */
  | { type: 'queue.secured' }
  /** A message came on the new queue, and nothing is missing before it. */
  | { type: 'message.received' }
  /** The old queue is deleted at its router, or given up for good. */
  | { type: 'queue.deleted' }
  /** A ratchet synchronisation has ended well: what was sent before may not have been readable. */
  | { type: 'sync.ended' }

export type SndQueueSwitchEvent =
  /** The other party wants messages on another queue (QADD). `queue`: the one that is known already, or a new one. */
  | { type: 'queue.offered'; queue: 'new' | 'known' }
  /** QKEY is at the router of the other party. */
  | { type: 'key.sent' }
  /** The other party uses the new queue (QUSE). */
  | { type: 'queue.used' }
  /** QTEST is at the router of the new queue. */
  | { type: 'test.sent' }
  /** The router of the new queue refuses QTEST for good, or is given up. */
  | { type: 'queue.lost' }
  | { type: 'sync.ended' }

const noSwitch = 'no switch is under way'
const notSynchronized = { type: 'refuse', params: { reason: 'the ratchet is not synchronized' } } as const
const switching = { type: 'refuse', params: { reason: 'the connection is switching already' } } as const
const tooLate = {
  type: 'refuse',
  params: { reason: 'the other party may have given up the old queue already: the switch must come to its end' },
} as const
const badKey = { type: 'queueError', params: { reason: 'QKEY in another phase of the switch' } } as const

/**
 * The receiving party of a queue rotation (protocol machine): the status of the queue that is being replaced. QADD offers the new
 * queue, QKEY brings the other party’s key, KEY secures it, QUSE says that it is used, and the first message on it, with nothing
 * missing before it, ends the old queue.
 *
 * A ratchet synchronisation holds the switch up and never ends it: a message that falls due meanwhile waits, and when the
 * synchronisation has ended the last message of the phase is said again, since it may have been unreadable. What comes twice changes nothing.
 */
export const rcvQueueSwitchMachine = setup({
  types: {} as { context: Record<string, never>; events: RcvQueueSwitchEvent; meta: StateMeta },
  actions: {
    /** The new queue’s keys are stored, and the command that makes it at its router. */
    createQueue: intent(),
    /** SWITCH tells the application of a phase. */
    notifySwitch: intent<{ phase: 'started' | 'confirmed' | 'secured' | 'completed' }>(),
    notifyLost: intent(),
    sendQADD: intent(),
    /** The secret with the other party is stored, and the command that secures the queue (KEY). */
    storeKey: intent(),
    sendQUSE: intent(),
    /** The new queue is deleted; the old one stays. */
    dropNewQueue: intent(),
    /** The new queue is the primary one; the command that deletes the old one is stored. */
    commandDeleteOld: intent(),
    removeOld: intent(),
    queueError: intent<{ reason: string }>(),
    refuse: intent<{ reason: string }>(),
  },
  guards: {
    synchronized: ({ event }) => 'synchronized' in event && event.synchronized,
    known: ({ event }) => event.type === 'key.received' && event.known,
  },
}).createMachine({
  id: 'rcvQueueSwitch',
  description: 'Queue rotation at the party that receives from the queue',
  initial: 'idle',
  context: {},
  states: {
    idle: {
      description: 'The queue is not being replaced.',
      meta: {
        spec: ['B70', 'B75', 'B76'],
        ignores: {
          'queue.created': 'the switch was aborted: the queue is deleted as soon as it is known',
          'queue.lost': noSwitch,
          'queue.secured': 'the switch was aborted while its queue was being secured',
          'message.received': 'a message of a queue whose switch was aborted',
          'queue.deleted': noSwitch,
          'sync.ended': noSwitch,
        },
      },
      on: {
        'switch.start': [
          { guard: 'synchronized', target: 'started', actions: ['createQueue'] },
          { actions: [notSynchronized] },
        ],
        'switch.abort': { actions: [{ type: 'refuse', params: { reason: noSwitch } }] },
        // A late QKEY after an abort (B72).
        'key.received': { actions: [{ type: 'queueError', params: { reason: 'QKEY for a queue that is not used' } }] },
      },
    },
    started: {
      description: 'The keys of the new queue are stored; it is being made at its router.',
      meta: {
        spec: ['B70', 'B75', 'B76'],
        ignores: {
          'queue.secured': 'the queue is being made',
          'message.received': 'nobody knows the new queue',
          'queue.deleted': 'the old queue is in use',
          'sync.ended': 'nothing was sent yet; QADD waits for the queue',
        },
      },
      on: {
        'queue.created': {
          target: 'sendingQADD',
          actions: ['sendQADD', { type: 'notifySwitch', params: { phase: 'started' } }],
        },
        'queue.lost': { target: 'idle', actions: ['dropNewQueue', 'notifyLost'] },
        'switch.start': { actions: [switching] },
        'switch.abort': [
          { guard: 'synchronized', target: 'idle', actions: ['dropNewQueue'] },
          { actions: [notSynchronized] },
        ],
        'key.received': { actions: [badKey] },
      },
    },
    sendingQADD: {
      description:
        'The new queue was offered to the other party, whose key is awaited, or is being told to the router.',
      meta: {
        spec: ['B70', 'B71', 'B72', 'B75', 'B76'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'message.received': 'the other party uses the queue from QUSE on',
          'queue.deleted': 'the old queue is in use',
        },
      },
      on: {
        'key.received': [
          { guard: 'known', actions: [] },
          { actions: ['storeKey', { type: 'notifySwitch', params: { phase: 'confirmed' } }] },
        ],
        'queue.secured': {
          target: 'sendingQUSE',
          actions: ['sendQUSE', { type: 'notifySwitch', params: { phase: 'secured' } }],
        },
        'queue.lost': { target: 'idle', actions: ['dropNewQueue', 'notifyLost'] },
        'switch.start': { actions: [switching] },
        'switch.abort': [
          { guard: 'synchronized', target: 'idle', actions: ['dropNewQueue'] },
          { actions: [notSynchronized] },
        ],
        'sync.ended': { actions: ['sendQADD'] },
      },
    },
    sendingQUSE: {
      description: 'The new queue is ready and the other party was told to use it; both queues are read.',
      meta: {
        spec: ['B70', 'B73', 'B75', 'B76', 'B78'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'queue.secured': 'KEY repeated with the same key succeeds (B15)',
          'queue.deleted': 'the old queue may still hold messages',
        },
      },
      on: {
        'message.received': { target: 'receivedMessage', actions: ['commandDeleteOld'] },
        // The old queue is still there: the connection goes on with it.
        'queue.lost': { target: 'idle', actions: ['dropNewQueue', 'notifyLost'] },
        'key.received': [{ guard: 'known', actions: [] }, { actions: [badKey] }],
        'switch.start': { actions: [switching] },
        'switch.abort': { actions: [tooLate] },
        'sync.ended': { actions: ['sendQUSE'] },
      },
    },
    receivedMessage: {
      description: 'The new queue is in use; the old one is read to its end, and then deleted at its router.',
      meta: {
        spec: ['B33', 'B70', 'B74', 'B77'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'queue.secured': 'it is in use',
          'queue.lost': 'it is in use',
          'message.received': 'the queue is in use already',
          'sync.ended': 'the other party uses the new queue already',
        },
      },
      on: {
        // Also when the router refuses for good: the switch is over (B74).
        'queue.deleted': {
          target: 'completed',
          actions: ['removeOld', { type: 'notifySwitch', params: { phase: 'completed' } }],
        },
        'key.received': [{ guard: 'known', actions: [] }, { actions: [badKey] }],
        'switch.start': { actions: [switching] },
        'switch.abort': { actions: [tooLate] },
      },
    },
    completed: {
      description: 'The old queue is gone.',
      meta: {
        spec: ['B70'],
        ignores: {
          'switch.start': 'the row is gone',
          'switch.abort': 'the row is gone',
          'queue.created': 'the row is gone',
          'queue.lost': 'the row is gone',
          'key.received': 'the row is gone',
          'queue.secured': 'the row is gone',
          'message.received': 'the row is gone',
          'queue.deleted': 'the row is gone',
          'sync.ended': 'the row is gone',
        },
      },
    },
  },
})

/**
 * The sending party of a queue rotation (protocol machine): the status of the queue that is being replaced. It answers QADD with
 * QKEY; from QUSE on whatever waits goes to both queues, and QTEST, which stands behind it on the new one, ends the old one.
 */
export const sndQueueSwitchMachine = setup({
  types: {} as { context: Record<string, never>; events: SndQueueSwitchEvent; meta: StateMeta },
  actions: {
    /** Replaces a queue that was offered before and is not used yet (B71). */
    storeQueue: intent(),
    sendQKEY: intent(),
    /** What waits on the old queue waits on the new one too, in its order (B78). */
    drainToNew: intent(),
    /** To the new queue only (B73). */
    sendQTEST: intent(),
    /** The old queue goes with its worker; the new one is the primary one. */
    removeOld: intent(),
    dropNewQueue: intent(),
    notifyLost: intent(),
    notifySwitch: intent<{ phase: 'started' | 'confirmed' | 'secured' | 'completed' }>(),
    queueError: intent<{ reason: string }>(),
  },
  guards: { isNew: ({ event }) => event.type === 'queue.offered' && event.queue === 'new' },
}).createMachine({
  id: 'sndQueueSwitch',
  description: 'Queue rotation at the party that sends to the queue',
  initial: 'idle',
  context: {},
  states: {
    idle: {
      description: 'The queue is not being replaced.',
      meta: {
        spec: ['B70', 'B71'],
        ignores: {
          'key.sent': 'the switch was given up meanwhile',
          'test.sent': 'the switch was given up meanwhile',
          'queue.lost': noSwitch,
          'sync.ended': noSwitch,
        },
      },
      on: {
        'queue.offered': [
          {
            guard: 'isNew',
            target: 'sendingQKEY',
            actions: ['storeQueue', 'sendQKEY', { type: 'notifySwitch', params: { phase: 'started' } }],
          },
          { actions: [{ type: 'queueError', params: { reason: 'QADD names a queue that is used already' } }] },
        ],
        'queue.used': { actions: [{ type: 'queueError', params: { reason: 'QUSE without a switch' } }] },
      },
    },
    sendingQKEY: {
      description: 'The new queue is known and the other party is told our key for it.',
      meta: { spec: ['B70', 'B71', 'B76'], ignores: { 'test.sent': 'QTEST follows QUSE' } },
      on: {
        'queue.offered': [
          {
            guard: 'isNew',
            actions: ['storeQueue', 'sendQKEY', { type: 'notifySwitch', params: { phase: 'started' } }],
          },
          // Said again after a synchronisation: our answer may have been lost with it.
          { actions: ['sendQKEY'] },
        ],
        'key.sent': { actions: [{ type: 'notifySwitch', params: { phase: 'confirmed' } }] },
        'queue.used': {
          target: 'sendingQTEST',
          actions: ['drainToNew', 'sendQTEST', { type: 'notifySwitch', params: { phase: 'secured' } }],
        },
        'queue.lost': { target: 'idle', actions: ['dropNewQueue', 'notifyLost'] },
        'sync.ended': { actions: ['sendQKEY'] },
      },
    },
    sendingQTEST: {
      description: 'The new queue is used; what waited on the old one, and then QTEST, go to it.',
      meta: {
        spec: ['B70', 'B73', 'B76', 'B78'],
        ignores: {
          'key.sent': 'the other party has it: QUSE came',
          'queue.used': 'said again after a synchronisation',
        },
      },
      on: {
        // QUSE may have come while nothing could be said.
        'sync.ended': { actions: ['sendQTEST'] },
        'queue.offered': { actions: [{ type: 'queueError', params: { reason: 'QADD during the end of a switch' } }] },
        'test.sent': {
          target: 'completed',
          actions: ['removeOld', { type: 'notifySwitch', params: { phase: 'completed' } }],
        },
        // The old queue is still there: the connection goes on with it.
        'queue.lost': { target: 'idle', actions: ['dropNewQueue', 'notifyLost'] },
      },
    },
    completed: {
      description: 'The old queue is gone.',
      meta: {
        spec: ['B70'],
        ignores: {
          'queue.offered': 'the row is gone',
          'key.sent': 'the row is gone',
          'queue.used': 'the row is gone',
          'test.sent': 'the row is gone',
          'queue.lost': 'the row is gone',
          'sync.ended': 'the row is gone',
        },
      },
    },
  },
})

export type RcvSwitchState = keyof NonNullable<(typeof rcvQueueSwitchMachine)['config']['states']>
export type SndSwitchState = keyof NonNullable<(typeof sndQueueSwitchMachine)['config']['states']>
