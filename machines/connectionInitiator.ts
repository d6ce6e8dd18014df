import { connection, ignored, refuse, refused } from './connectionSetup.js'

const repeatedConfirmation =
  'the first one was processed and this one fails to decrypt as a new one: rcvQueue re-acknowledges it'
const joinedBefore = 'a repeated call: its invitation is at the contact address'

const toConfirmed = [
  { guard: 'withReply', target: 'confirmed', actions: ['createRatchet', 'storeConfirmation', 'notifyConf'] },
  refuse('confirmation without a reply queue'),
] as const

/**
 * The states of the initiator, whose queue the other party confirms to: requesting → inviting (only by a contact address) → rcv →
 * confirmed → allowed → connected, or in the legacy handshake allowed → answered → replying → connected.
 */
export const requesting = connection.createStateConfig({
  description:
    'By a contact address: keys and intent are stored; the queue that the invitation will name is being made.',
  meta: {
    spec: ['B15', 'B18'],
    ignores: {
      'address.created': 'the queue is no contact address',
      'confirmation.received': 'no queue exists that it could arrive on',
      'message.received': 'no queue exists that it could arrive on',
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.nothingConfirmed,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.stepTold,
    },
  },
  on: {
    'queue.created': { target: 'inviting', actions: ['commandInvite'] },
    'connection.join': [{ guard: 'stopped', actions: ['commandCreateQueue'] }, {}],
    'connection.allow': refuse('there is no confirmation to allow'),
    'message.send': refuse('the connection has no send queue yet'),
    ...refused,
  },
})

export const inviting = connection.createStateConfig({
  description: 'By a contact address: the own queue exists, the invitation that names it is on its way.',
  meta: {
    spec: ['B15', 'B18'],
    ignores: {
      'message.received': 'no ratchet exists that could have decrypted it',
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingConfirmed,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.stepTold,
    },
  },
  on: {
    'invitation.sent': 'rcv',
    'connection.join': [{ guard: 'stopped', actions: ['commandInvite'] }, {}],
    // The router has the invitation, and its answer was lost.
    'confirmation.received': toConfirmed,
    'connection.allow': refuse('there is no confirmation to allow'),
    'message.send': refuse('the connection has no send queue yet'),
    ...refused,
  },
})

export const rcv = connection.createStateConfig({
  description:
    'Initiator: the receive queue exists, its link is with the user or the invitation at the contact address; the other party has not answered.',
  meta: {
    spec: ['B10', 'B11', 'B12', 'B13'],
    ignores: {
      'connection.join': joinedBefore,
      'message.received': 'no ratchet exists that could have decrypted it',
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.nothingConfirmed,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.noStep,
    },
  },
  on: {
    'confirmation.received': toConfirmed,
    'connection.allow': refuse('there is no confirmation to allow'),
    'message.send': refuse('the connection has no send queue yet'),
    // The keys of an invitation stand in the fixed data of its link, so it is made with the queue or not at all.
    'link.set': [
      { guard: 'linked', actions: ['setLink'] },
      refuse('an invitation gets its short link when it is created'),
    ],
    'link.delete': { actions: ['deleteLink'] },
    ...refused,
  },
})

export const confirmed = connection.createStateConfig({
  description: 'Initiator: the other party has confirmed and the ratchet exists; the user must allow the connection.',
  meta: {
    spec: ['B11', 'B12', 'B13'],
    ignores: {
      'connection.join': joinedBefore,
      'confirmation.received': repeatedConfirmation,
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.nothingConfirmed,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.noStep,
    },
  },
  on: {
    'connection.allow': [
      { guard: 'unsecured', target: 'allowed', actions: ['acceptConfirmation', 'commandSecureReceive'] },
      { target: 'allowed', actions: ['acceptConfirmation', 'commandAllowSecure'] },
    ],
    'message.send': refuse('the connection is not allowed yet'),
    'message.received': { actions: ['deliverMessage'] },
    ...refused,
  },
})

export const allowed = connection.createStateConfig({
  description:
    'Initiator: allowed by the user. The own queue is being secured where the joiner cannot do that (KEY), then the reply queue (SKEY), and the own confirmation sent.',
  meta: {
    spec: ['B11', 'B12', 'B15', 'B44'],
    ignores: {
      'connection.join': joinedBefore,
      'confirmation.received': repeatedConfirmation,
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.noHelloSent,
      ...ignored.stepTold,
    },
  },
  on: {
    'connection.allow': [
      { guard: 'stoppedUnsecured', actions: ['acceptConfirmation', 'commandSecureReceive'] },
      { guard: 'stopped', actions: ['acceptConfirmation', 'commandAllowSecure'] },
      {},
    ],
    'queue.secured': { actions: ['commandAllowSecure'] },
    'confirmation.sent': [{ guard: 'fast', target: 'connected', actions: ['notifyCon'] }, { target: 'answered' }],
    'confirmation.refused': { actions: ['notifyNotAvailable'] },
    // The joiner has the confirmation, whose answer is still on its way to this side.
    'hello.received': { target: 'replying', actions: ['enqueueHello'] },
    'invitation.received': refused['invitation.received'],
    'message.send': refuse('the connection is not complete yet'),
    'message.received': { actions: ['deliverMessage'] },
  },
})

export const answered = connection.createStateConfig({
  description:
    'Initiator, legacy handshake: the own confirmation is at the router and the send queue confirmed; the joiner secures its queue and says HELLO.',
  meta: {
    spec: ['B12', 'B44'],
    ignores: {
      'connection.join': joinedBefore,
      'connection.allow': 'the confirmation that a repeated call asks for is sent',
      'confirmation.received': repeatedConfirmation,
      'confirmation.sent': 'told of already',
      'confirmation.refused': 'told as sent already',
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.noKeyWaits,
      ...ignored.noHelloSent,
      ...ignored.noStep,
    },
  },
  on: {
    'hello.received': { target: 'replying', actions: ['enqueueHello'] },
    'invitation.received': refused['invitation.received'],
    'message.send': refuse('the connection is not complete yet'),
    'message.received': { actions: ['deliverMessage'] },
  },
})

export const replying = connection.createStateConfig({
  description:
    'Initiator, legacy handshake: the joiner has said HELLO, the own HELLO is on its way; with it comes CON.',
  meta: {
    spec: ['B12', 'B42', 'B44'],
    ignores: {
      'connection.join': joinedBefore,
      'connection.allow': 'the confirmation that a repeated call asks for is sent',
      'confirmation.received': repeatedConfirmation,
      'confirmation.sent': 'HELLO tells that the joiner has it',
      'confirmation.refused': 'HELLO tells that the joiner has it',
      ...ignored.queueKnown,
      ...ignored.notJoiner,
      ...ignored.nothingInvited,
      ...ignored.noKeyWaits,
      ...ignored.noStep,
    },
  },
  on: {
    'hello.sent': { target: 'connected', actions: ['notifyCon'] },
    'hello.refused': { actions: ['notifyNotAvailable'] },
    'hello.received': refuse('HELLO was answered already'),
    'invitation.received': refused['invitation.received'],
    'message.send': refuse('the connection is not complete yet'),
    'message.received': { actions: ['deliverMessage'] },
  },
})
