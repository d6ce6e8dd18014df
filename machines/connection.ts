import { allowed, answered, confirmed, inviting, rcv, replying, requesting } from './connectionInitiator.js'
import { greeting, joined, securing, snd } from './connectionJoiner.js'
import { connection, ignored, refuse, refused, unsynchronized } from './connectionSetup.js'

const isDeleted = refuse('the connection is deleted')
const deleted = {
  'link.set': isDeleted,
  'link.delete': isDeleted,
  'connection.suspend': isDeleted,
  'connection.join': isDeleted,
  'connection.allow': isDeleted,
  'message.send': isDeleted,
} as const

const withoutLink = refuse('only contact addresses and invitations that nobody has answered have short links')

export type { ConnectionEvent } from './connectionSetup.js'

/**
 * The life of a connection (protocol machine): both roles of the fast handshake (SKEY) and of the legacy one (KEY and HELLO), and
 * contact addresses. Whether a queue is secured by its sender is the queue’s property, so the two sides of one connection may
 * differ: KEY takes the place of SKEY for an initiator’s queue of the old form, KEY and HELLO follow for a joiner’s.
 *
 * | | initiator | joiner |
 * |---|---|---|
 * | fast | new → rcv → confirmed → allowed → connected | new → snd → joined → connected |
 * | legacy | … allowed → answered → replying → connected | … joined → securing → greeting → connected |
 * | contact address | new → requesting → inviting → rcv … | the owner accepts: new → snd … |
 */
export const connectionMachine = connection.createMachine({
  id: 'connection',
  description: 'The life of a connection, in both roles of both handshakes, and of a contact address',
  initial: 'new',
  context: {},
  on: {
    'link.set': withoutLink,
    'link.delete': withoutLink,
    'connection.suspend': [
      { guard: 'receives', actions: ['suspendQueues'] },
      refuse('no router has made a queue of this connection'),
    ],
    'connection.delete': [
      { guard: 'waiting', target: '.closing', actions: ['dropCommands', 'deleteQueues', 'commandFinishDeletion'] },
      { target: '.deleted', actions: ['dropCommands', 'dropDeliveries', 'deleteQueues'] },
    ],
  },
  states: {
    new: {
      description:
        'The row exists; nothing is known to any router yet. A prepared connection waits here to be joined, a prepared link to be created.',
      meta: {
        spec: ['B10', 'B11', 'B16'],
        ignores: {
          'reply.created': 'there is no reply queue before the connection was joined',
          'confirmation.received': 'no queue exists that it could arrive on',
          'message.received': 'no queue exists that it could arrive on',
          ...ignored.nothingInvited,
          ...ignored.nothingConfirmed,
          ...ignored.noKeyWaits,
          ...ignored.noHelloSent,
          ...ignored.noStep,
        },
      },
      on: {
        'queue.created': 'rcv',
        'address.created': 'contact',
        'connection.join': [
          { guard: 'byContact', target: 'requesting', actions: ['commandCreateQueue'] },
          { target: 'snd', actions: ['commandJoin'] },
        ],
        'connection.allow': refuse('there is no confirmation to allow'),
        'message.send': refuse('the connection has no send queue yet'),
        ...refused,
      },
    },
    contact: {
      description:
        'A contact address: its link may be used by many, each invitation is told as REQ and accepted as a new connection.',
      meta: {
        spec: ['B10', 'B18'],
        ignores: {
          'queue.created': 'told of by address.created',
          'address.created': 'a repeated answer for the same queue',
          'message.received': 'no ratchet exists that could have decrypted it',
          ...ignored.notJoiner,
          ...ignored.nothingInvited,
          ...ignored.nothingConfirmed,
          ...ignored.noKeyWaits,
          ...ignored.noHelloSent,
          ...ignored.noStep,
        },
      },
      on: {
        'invitation.received': { actions: ['storeInvitation', 'notifyReq'] },
        'confirmation.received': refuse('a confirmation came to a contact address'),
        'hello.received': refused['hello.received'],
        'connection.join': refuse('the connection is a contact address'),
        'connection.allow': refuse('the connection is a contact address: accept its requests with acceptContact'),
        'message.send': refuse('the connection is a contact address'),
        'link.set': { actions: ['setLink'] },
        'link.delete': { actions: ['deleteLink'] },
        'connection.delete': {
          target: 'deleted',
          actions: ['dropCommands', 'dropDeliveries', 'deleteQueues', 'dropInvitations'],
        },
      },
    },
    requesting,
    inviting,
    rcv,
    confirmed,
    allowed,
    answered,
    replying,
    snd,
    joined,
    securing,
    greeting,
    connected: {
      description: 'Duplex: both parties send and receive.',
      meta: {
        spec: ['B11', 'B12', 'B31', 'B32', 'B40', 'B47', 'B84'],
        ignores: {
          'reply.created': 'a repeated answer for the same queue',
          'confirmation.received':
            'the first one was processed and this one fails to decrypt as a new one: rcvQueue re-acknowledges it',
          'confirmation.sent': 'told of already',
          'confirmation.refused': 'the other party has answered, so its router had the confirmation',
          'hello.sent': 'the other party has answered it',
          'hello.refused': 'the other party has answered, so its router had it',
          'connection.join': 'the connection is complete',
          'connection.allow': 'the connection is complete',
          ...ignored.queueKnown,
          ...ignored.nothingInvited,
          ...ignored.noKeyWaits,
          ...ignored.noStep,
        },
      },
      on: {
        'message.send': [unsynchronized, { actions: ['acceptMessage'] }],
        'message.received': { actions: ['deliverMessage'] },
        ...refused,
      },
    },
    closing: {
      description: 'Deleted by the user, and its messages are still being delivered; nothing is received any more.',
      meta: { spec: ['B21', 'B90'], ignores: ignored.deleted },
      on: {
        'connection.delete': [
          // Repeated: the command that ends the deletion is stored already.
          { guard: 'waiting' },
          { target: 'deleted', actions: ['dropDeliveries', 'finishDeletion'] },
        ],
        ...deleted,
      },
    },
    deleted: {
      description: 'Deleted by the user; the row stays until its queues are deleted at their routers.',
      meta: {
        spec: ['B90'],
        ignores: {
          'connection.delete': 'the deletion that a repeated call asks for is stored already',
          ...ignored.deleted,
        },
      },
      on: { 'connection.delete': {}, ...deleted },
    },
  },
})

export type ConnectionState = keyof NonNullable<(typeof connectionMachine)['config']['states']>
