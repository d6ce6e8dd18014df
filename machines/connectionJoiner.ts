import { connection, ignored, refuse, refused, unsynchronized } from './connectionSetup.js'

const notCreated = refuse('the connection was joined, not created')
const alreadyInfo = 'the first one was processed: rcvQueue re-acknowledges a repeated one'

/**
 * The states of the joiner, who has the other party’s queue from a link or a request: snd → joined → connected, or in the legacy
 * handshake joined → securing → greeting → connected.
 */
export const snd = connection.createStateConfig({
  description:
    'Joiner: ratchet, send queue and keys are stored; the send queue is being secured (SKEY), if its sender does that, and the reply queue made.',
  meta: {
    spec: ['B11', 'B12', 'B15', 'B18'],
    ignores: {
      'queue.created': 'the reply queue is told of by reply.created',
      'address.created': 'the queue is no contact address',
      'confirmation.received': 'no reply queue exists that it could arrive on',
      'message.received': 'no reply queue exists that it could arrive on',
      ...ignored.nothingInvited,
      ...ignored.nothingConfirmed,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
    },
  },
  on: {
    'reply.created': { target: 'joined', actions: ['enqueueReplyConfirmation'] },
    // A repeated call goes on with the stored queue, keys and ratchet (B15).
    'connection.join': [{ guard: 'stopped', actions: ['commandJoin'] }, {}],
    'step.failed': { actions: ['releaseInvitation'] },
    'connection.allow': notCreated,
    'message.send': refuse('the connection is not complete yet'),
    ...refused,
  },
})

export const joined = connection.createStateConfig({
  description:
    'Joiner: the reply queue exists, the own confirmation waits for the router or is there; the other party has not answered.',
  meta: {
    spec: ['B11', 'B12', 'B13', 'B14'],
    ignores: {
      'queue.created': 'the reply queue is told of by reply.created',
      'address.created': 'the queue is no contact address',
      'reply.created': 'a repeated answer for the same queue',
      'connection.join': 'the confirmation that a repeated call asks for is stored already',
      'confirmation.sent': 'the joiner waits for the other party’s confirmation',
      'message.received': 'the other party confirms before it sends',
      ...ignored.nothingInvited,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.noStep,
    },
  },
  on: {
    'confirmation.received': [
      { guard: 'plainInfo', target: 'connected', actions: ['secureReceiving', 'notifyInfo', 'notifyCon'] },
      { guard: 'infoWithKey', target: 'securing', actions: ['storeSenderKey', 'notifyInfo', 'commandSecureReceive'] },
      refuse('confirmation of another kind than a joiner gets'),
    ],
    'confirmation.refused': { actions: ['notifyNotAvailable'] },
    'connection.allow': notCreated,
    // The initiator's ratchet exists from its confirmation on, so messages may follow at once (B13).
    'message.send': [
      unsynchronized,
      { guard: 'early', actions: ['acceptMessage'] },
      refuse('the other party has not allowed the connection yet'),
    ],
    ...refused,
  },
})

export const securing = connection.createStateConfig({
  description: 'Joiner, legacy handshake: the other party’s key is stored, the own router is being told of it (KEY).',
  meta: {
    spec: ['B12', 'B14', 'B15'],
    ignores: {
      'queue.created': 'the reply queue is told of by reply.created',
      'address.created': 'the queue is no contact address',
      'reply.created': 'a repeated answer for the same queue',
      'confirmation.received': alreadyInfo,
      'confirmation.sent': 'the other party has answered it',
      'confirmation.refused': 'the other party has answered, so its router had the confirmation',
      ...ignored.nothingInvited,
      ...ignored.noHelloSent,
      ...ignored.stepTold,
    },
  },
  on: {
    'queue.secured': { target: 'greeting', actions: ['enqueueHello'] },
    'connection.join': [{ guard: 'stopped', actions: ['commandSecureReceive'] }, {}],
    'connection.allow': notCreated,
    'message.send': refuse('the connection is not complete yet'),
    'message.received': { actions: ['deliverMessage'] },
    ...refused,
  },
})

export const greeting = connection.createStateConfig({
  description:
    'Joiner, legacy handshake: HELLO is on its way, and makes the send queue active; with the other party’s HELLO comes CON.',
  meta: {
    spec: ['B12', 'B14', 'B42', 'B44'],
    ignores: {
      'queue.created': 'the reply queue is told of by reply.created',
      'address.created': 'the queue is no contact address',
      'reply.created': 'a repeated answer for the same queue',
      'connection.join': 'the HELLO that a repeated call asks for is stored already',
      'confirmation.received': alreadyInfo,
      'confirmation.sent': 'the other party has answered it',
      'confirmation.refused': 'the other party has answered, so its router had the confirmation',
      'hello.sent': 'CON waits for the other party’s HELLO',
      ...ignored.nothingInvited,
      ...ignored.noKeyWaits,
      ...ignored.noStep,
    },
  },
  on: {
    // It answers this side's HELLO, also when the router's word that it has that one is still on its way.
    'hello.received': { target: 'connected', actions: ['notifyCon'] },
    'hello.refused': { actions: ['notifyNotAccepted'] },
    'connection.allow': notCreated,
    'invitation.received': refused['invitation.received'],
    'message.send': refuse('the connection is not complete yet'),
    'message.received': { actions: ['deliverMessage'] },
  },
})
