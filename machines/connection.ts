import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

export type ConnectionEvent =
  /** The router has made this side's first receive queue. */
  | { type: 'queue.created' }
  /** The user joins by an invitation link: ratchet and send queue are ready. */
  | { type: 'connection.join' }
  /** The joining side's reply queue exists. */
  | { type: 'reply.created' }
  /** The other party's confirmation was decrypted. `form` is what it carries, `senderKey` whether the queue must still be secured. */
  | { type: 'confirmation.received'; form: 'info' | 'infoWithReply'; senderKey: boolean }
  /** The user accepts the other party. */
  | { type: 'connection.allow' }
  /** This side's last confirmation is at the router. */
  | { type: 'confirmation.sent'; secured: boolean }
  /** The router refused this side's confirmation for good. */
  | { type: 'confirmation.refused' }
  /** The user sends a message. `early`: the other party can decrypt before it allows the connection (agent version 7). */
  | { type: 'message.send'; early: boolean }
  /** A message was decrypted. */
  | { type: 'message.received' }
  /** OFF is wanted at the routers. `receives`: the routers have made queues of this connection. */
  | { type: 'connection.suspend'; receives: boolean }
  /** `waiting`: messages wait that are to be delivered before. */
  | { type: 'connection.delete'; waiting: boolean }

const repeatedConfirmation =
  'the first one was processed and this one fails to decrypt as a new one: rcvQueue re-acknowledges it'

/**
 * The life of a connection (protocol machine): both roles of the fast handshake. The initiator goes new → rcv → confirmed →
 * allowed → connected, the joiner new → snd → joined → connected.
 */
export const connectionMachine = setup({
  types: {} as { context: Record<string, never>; events: ConnectionEvent; meta: StateMeta },
  actions: {
    /** Ratchet, queue secret and confirmation are stored with the change that this decides (B13). */
    createRatchet: intent(),
    storeConfirmation: intent(),
    notifyConf: intent(),
    acceptConfirmation: intent(),
    commandAllowSecure: intent(),
    commandJoin: intent(),
    enqueueReplyConfirmation: intent(),
    secureReceiving: intent(),
    notifyInfo: intent(),
    notifyCon: intent(),
    notifyNotAvailable: intent(),
    refuse: intent<{ reason: string }>(),
    acceptMessage: intent(),
    deliverMessage: intent(),
    suspendQueues: intent(),
    /** Stored commands mean nothing any more; calls among them are answered with an error. */
    dropCommands: intent(),
    dropDeliveries: intent(),
    deleteQueues: intent(),
    /** The end of the deletion is a stored command: it waits for the deliveries. */
    commandFinishDeletion: intent(),
    finishDeletion: intent(),
  },
  guards: {
    withReply: ({ event }) => event.type === 'confirmation.received' && event.form === 'infoWithReply',
    plainInfo: ({ event }) => event.type === 'confirmation.received' && event.form === 'info' && !event.senderKey,
    early: ({ event }) => event.type === 'message.send' && event.early,
    fast: ({ event }) => event.type === 'confirmation.sent' && event.secured,
    receives: ({ event }) => event.type === 'connection.suspend' && event.receives,
    waiting: ({ event }) => event.type === 'connection.delete' && event.waiting,
  },
}).createMachine({
  id: 'connection',
  description: 'The life of a connection, in both roles of the duplex handshake',
  initial: 'new',
  context: {},
  on: {
    'connection.suspend': [
      { guard: 'receives', actions: ['suspendQueues'] },
      { actions: [{ type: 'refuse', params: { reason: 'no router has made a queue of this connection' } }] },
    ],
    'connection.delete': [
      { guard: 'waiting', target: '.closing', actions: ['dropCommands', 'deleteQueues', 'commandFinishDeletion'] },
      { target: '.deleted', actions: ['dropCommands', 'dropDeliveries', 'deleteQueues'] },
    ],
  },
  states: {
    new: {
      description: 'The row exists; nothing is known to any router yet.',
      meta: {
        spec: ['B11', 'B16'],
        ignores: {
          'reply.created': 'there is no reply queue before the connection was joined',
          'confirmation.received': 'no queue exists that it could arrive on',
          'confirmation.sent': 'nothing was sent',
          'confirmation.refused': 'nothing was sent',
          'message.received': 'no queue exists that it could arrive on',
        },
      },
      on: {
        'queue.created': 'rcv',
        'connection.join': { target: 'snd', actions: ['commandJoin'] },
        'connection.allow': { actions: [{ type: 'refuse', params: { reason: 'there is no confirmation to allow' } }] },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection has no send queue yet' } }] },
      },
    },
    rcv: {
      description: 'Initiator: the receive queue exists, its link is with the user; the other party has not answered.',
      meta: {
        spec: ['B11', 'B13'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'reply.created': 'only the joiner makes a reply queue',
          'confirmation.sent': 'nothing was sent',
          'confirmation.refused': 'nothing was sent',
          'message.received': 'no ratchet exists that could have decrypted it',
        },
      },
      on: {
        'confirmation.received': [
          { guard: 'withReply', target: 'confirmed', actions: ['createRatchet', 'storeConfirmation', 'notifyConf'] },
          { actions: [{ type: 'refuse', params: { reason: 'confirmation without a reply queue' } }] },
        ],
        'connection.join': {
          actions: [{ type: 'refuse', params: { reason: 'the connection was created, not joined' } }],
        },
        'connection.allow': { actions: [{ type: 'refuse', params: { reason: 'there is no confirmation to allow' } }] },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection has no send queue yet' } }] },
      },
    },
    confirmed: {
      description:
        'Initiator: the other party has confirmed and the ratchet exists; the user must allow the connection.',
      meta: {
        spec: ['B11', 'B13'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'reply.created': 'only the joiner makes a reply queue',
          'confirmation.received': repeatedConfirmation,
          'confirmation.sent': 'nothing was sent',
          'confirmation.refused': 'nothing was sent',
        },
      },
      on: {
        'connection.allow': { target: 'allowed', actions: ['acceptConfirmation', 'commandAllowSecure'] },
        'connection.join': {
          actions: [{ type: 'refuse', params: { reason: 'the connection was created, not joined' } }],
        },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection is not allowed yet' } }] },
        'message.received': { actions: ['deliverMessage'] },
      },
    },
    allowed: {
      description: 'Initiator: allowed by the user; the reply queue is being secured and the own confirmation sent.',
      meta: {
        spec: ['B11', 'B12', 'B44'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'reply.created': 'only the joiner makes a reply queue',
          'confirmation.received': repeatedConfirmation,
          'connection.allow': 'the command that a repeated call asks for is stored already',
        },
      },
      on: {
        'confirmation.sent': [{ guard: 'fast', target: 'connected', actions: ['notifyCon'] }, {}],
        'confirmation.refused': { actions: ['notifyNotAvailable'] },
        'connection.join': {
          actions: [{ type: 'refuse', params: { reason: 'the connection was created, not joined' } }],
        },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection is not complete yet' } }] },
        'message.received': { actions: ['deliverMessage'] },
      },
    },
    snd: {
      description:
        'Joiner: ratchet, send queue and keys are stored; the send queue is being secured and the reply queue made.',
      meta: {
        spec: ['B11', 'B15'],
        ignores: {
          'queue.created': 'the reply queue is told of by reply.created',
          'connection.join': 'a repeated call for the same link goes on with the stored keys (B15)',
          'confirmation.received': 'no reply queue exists that it could arrive on',
          'confirmation.sent': 'no confirmation is stored yet',
          'confirmation.refused': 'no confirmation is stored yet',
          'message.received': 'no reply queue exists that it could arrive on',
        },
      },
      on: {
        'reply.created': { target: 'joined', actions: ['enqueueReplyConfirmation'] },
        'connection.allow': {
          actions: [{ type: 'refuse', params: { reason: 'the connection was joined, not created' } }],
        },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection is not complete yet' } }] },
      },
    },
    joined: {
      description:
        'Joiner: the reply queue exists, the own confirmation waits for the router or is there; the other party has not answered.',
      meta: {
        spec: ['B11', 'B13', 'B14'],
        ignores: {
          'queue.created': 'the reply queue is told of by reply.created',
          'reply.created': 'a repeated answer for the same queue',
          'connection.join': 'the confirmation that a repeated call asks for is stored already',
          'confirmation.sent': 'the joiner waits for the other party’s confirmation',
          'message.received': 'the other party confirms before it sends',
        },
      },
      on: {
        'confirmation.received': [
          { guard: 'plainInfo', target: 'connected', actions: ['secureReceiving', 'notifyInfo', 'notifyCon'] },
          { actions: [{ type: 'refuse', params: { reason: 'confirmation of another kind than a joiner gets' } }] },
        ],
        'confirmation.refused': { actions: ['notifyNotAvailable'] },
        'connection.allow': {
          actions: [{ type: 'refuse', params: { reason: 'the connection was joined, not created' } }],
        },
        // The initiator's ratchet exists from its confirmation on, so messages may follow at once (B13).
        'message.send': [
          { guard: 'early', actions: ['acceptMessage'] },
          { actions: [{ type: 'refuse', params: { reason: 'the other party has not allowed the connection yet' } }] },
        ],
      },
    },
    connected: {
      description: 'Duplex: both parties send and receive.',
      meta: {
        spec: ['B11', 'B31', 'B32', 'B40', 'B47'],
        ignores: {
          'queue.created': 'a repeated answer for the same queue',
          'reply.created': 'a repeated answer for the same queue',
          'confirmation.received': repeatedConfirmation,
          'confirmation.sent': 'told of already',
          'confirmation.refused': 'the other party has answered, so its router had the confirmation',
          'connection.join': 'the connection is complete',
          'connection.allow': 'the connection is complete',
        },
      },
      on: {
        'message.send': { actions: ['acceptMessage'] },
        'message.received': { actions: ['deliverMessage'] },
      },
    },
    closing: {
      description: 'Deleted by the user, and its messages are still being delivered; nothing is received any more.',
      meta: {
        spec: ['B21', 'B90'],
        ignores: {
          'queue.created': 'the queue is deleted as soon as it is known',
          'reply.created': 'the queue is deleted as soon as it is known',
          'confirmation.received': 'nobody waits for it',
          'confirmation.sent': 'nobody waits for it',
          'confirmation.refused': 'nobody waits for it',
          'message.received': 'nobody waits for it',
        },
      },
      on: {
        'connection.delete': [
          // Repeated: the command that ends the deletion is stored already.
          { guard: 'waiting' },
          { target: 'deleted', actions: ['dropDeliveries', 'finishDeletion'] },
        ],
        'connection.suspend': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'connection.join': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'connection.allow': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
      },
    },
    deleted: {
      description: 'Deleted by the user; the row stays until its queues are deleted at their routers.',
      meta: {
        spec: ['B90'],
        ignores: {
          'queue.created': 'the queue is deleted as soon as it is known',
          'reply.created': 'the queue is deleted as soon as it is known',
          'confirmation.received': 'nobody waits for it',
          'confirmation.sent': 'nobody waits for it',
          'confirmation.refused': 'nobody waits for it',
          'message.received': 'nobody waits for it',
          'connection.delete': 'the deletion that a repeated call asks for is stored already',
        },
      },
      on: {
        'connection.delete': {},
        'connection.suspend': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'connection.join': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'connection.allow': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
        'message.send': { actions: [{ type: 'refuse', params: { reason: 'the connection is deleted' } }] },
      },
    },
  },
})

export type ConnectionState = keyof NonNullable<(typeof connectionMachine)['config']['states']>
