import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

export type ConnectionEvent =
  /** The router has made this side’s first receive queue. */
  | { type: 'queue.created' }
  /** The router has made the queue of a contact address. */
  | { type: 'address.created' }
  /**
   * The user joins by a link, or accepts the request of somebody who did. `by`: what the link is. `stopped`: this was asked for
   * before, and a step was refused for good.
   */
  | { type: 'connection.join'; by: 'invitation' | 'contact'; stopped: boolean }
  /** The joining side’s reply queue exists. */
  | { type: 'reply.created' }
  /** This side’s invitation is at the router of a contact address. */
  | { type: 'invitation.sent' }
  /** An invitation came to this side’s contact address. */
  | { type: 'invitation.received' }
  /** The other party’s confirmation was decrypted. `form` is what it carries; `senderKey`: the queue must still be secured with a key. */
  | { type: 'confirmation.received'; form: 'info' | 'infoWithReply'; senderKey: boolean }
  /** The user accepts the other party. `unsecured`: its key waits for this side’s router. `stopped`: as above. */
  | { type: 'connection.allow'; unsecured: boolean; stopped: boolean }
  /** This side’s router knows the other party’s key (KEY). */
  | { type: 'queue.secured' }
  /** This side’s last confirmation is at the router. `secured`: in a queue that its sender secures. */
  | { type: 'confirmation.sent'; secured: boolean }
  /** The router refused this side’s confirmation for good. */
  | { type: 'confirmation.refused' }
  | { type: 'hello.received' }
  /** This side’s HELLO is at the router. */
  | { type: 'hello.sent' }
  /** The router refused this side’s HELLO for good. */
  | { type: 'hello.refused' }
  /** A router refused a step of the handshake for good: it is told as ERR, and its command is gone. */
  | { type: 'step.failed' }
  /**
   * The user sends a message. `early`: the other party can take it before it allows the connection (agent version 7). `synchronized`: the
   * ratchet allows sending.
   */
  | { type: 'message.send'; early: boolean; synchronized: boolean }
  /** A message was decrypted. */
  | { type: 'message.received' }
  /** The user sets the data of its short link. `linked`: there is one. */
  | { type: 'link.set'; linked: boolean }
  /** The user wants its short link to lead nowhere. */
  | { type: 'link.delete' }
  /** OFF is wanted at the routers. `receives`: the routers have made queues of this connection. */
  | { type: 'connection.suspend'; receives: boolean }
  /** `waiting`: messages wait that are to be delivered before. */
  | { type: 'connection.delete'; waiting: boolean }

/** What all states of the connection machine are made of: events, intents and guards. */
export const connection = setup({
  types: {} as { context: Record<string, never>; events: ConnectionEvent; meta: StateMeta },
  actions: {
    /** Joiner: ratchet, both queues’ keys and the command to secure the send queue. */
    commandJoin: intent(),
    enqueueReplyConfirmation: intent(),
    /** By a contact address: X3DH keys, the queue’s keys and the command to make it; then the one to send the invitation. */
    commandCreateQueue: intent(),
    commandInvite: intent(),
    /** Ratchet, queue secret and confirmation are stored with the change that this decides (B13). */
    createRatchet: intent(),
    storeConfirmation: intent(),
    notifyConf: intent(),
    acceptConfirmation: intent(),
    /** KEY at this side’s router, with the key of the confirmation. */
    commandSecureReceive: intent(),
    /** SKEY at the other party’s router, if its queue allows that; then the own confirmation. */
    commandAllowSecure: intent(),
    /** The joiner’s queue is ready: its secret is stored, or with it the key that its router must know first. */
    secureReceiving: intent(),
    storeSenderKey: intent(),
    enqueueHello: intent(),
    storeInvitation: intent(),
    notifyReq: intent(),
    /** The accepted invitation can be accepted again. */
    releaseInvitation: intent(),
    dropInvitations: intent(),
    notifyInfo: intent(),
    notifyCon: intent(),
    notifyNotAvailable: intent(),
    notifyNotAccepted: intent(),
    refuse: intent<{ reason: string }>(),
    acceptMessage: intent(),
    deliverMessage: intent(),
    /** LSET at the own router; a contact address gets its link with it. */
    setLink: intent(),
    deleteLink: intent(),
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
    byContact: ({ event }) => event.type === 'connection.join' && event.by === 'contact',
    stopped: ({ event }) => 'stopped' in event && event.stopped,
    unsecured: ({ event }) => event.type === 'connection.allow' && event.unsecured,
    stoppedUnsecured: ({ event }) => event.type === 'connection.allow' && event.stopped && event.unsecured,
    withReply: ({ event }) => event.type === 'confirmation.received' && event.form === 'infoWithReply',
    plainInfo: ({ event }) => event.type === 'confirmation.received' && event.form === 'info' && !event.senderKey,
    infoWithKey: ({ event }) => event.type === 'confirmation.received' && event.form === 'info' && event.senderKey,
    early: ({ event }) => event.type === 'message.send' && event.early,
    unsynchronized: ({ event }) => event.type === 'message.send' && !event.synchronized,
    fast: ({ event }) => event.type === 'confirmation.sent' && event.secured,
    linked: ({ event }) => event.type === 'link.set' && event.linked,
    receives: ({ event }) => event.type === 'connection.suspend' && event.receives,
    waiting: ({ event }) => event.type === 'connection.delete' && event.waiting,
  },
})

/** A transition that only says no, and why. */
export const refuse = (reason: string) => ({ actions: [{ type: 'refuse' as const, params: { reason } }] })

/** A message of the user while the ratchet must be, or is being, synchronised: it could not be read (B84). */
export const unsynchronized = {
  guard: 'unsynchronized' as const,
  ...refuse('the ratchet is not synchronised: RSYNC tells when messages can be sent again'),
}

/** Reasons that several states have in common, by what they say of the connection. */
export const ignored = {
  queueKnown: {
    'queue.created': 'a repeated answer for the same queue',
    'address.created': 'the queue is no contact address',
  },
  notJoiner: { 'reply.created': 'only the joiner makes a reply queue' },
  nothingInvited: { 'invitation.sent': 'no invitation of this side is on its way' },
  nothingConfirmed: {
    'confirmation.sent': 'no confirmation of this side is on its way',
    'confirmation.refused': 'no confirmation of this side is on its way',
  },
  noKeyWaits: { 'queue.secured': 'no key of the other party waits for its router' },
  noHelloSent: {
    'hello.sent': 'this side has not said HELLO',
    'hello.refused': 'this side has not said HELLO',
  },
  noStep: { 'step.failed': 'no step of the handshake is under way' },
  deleted: {
    'queue.created': 'the queue is deleted as soon as it is known',
    'address.created': 'the queue is deleted as soon as it is known',
    'reply.created': 'the queue is deleted as soon as it is known',
    'invitation.sent': 'nobody waits for it',
    'invitation.received': 'nobody waits for it',
    'confirmation.received': 'nobody waits for it',
    'queue.secured': 'nobody waits for it',
    'confirmation.sent': 'nobody waits for it',
    'confirmation.refused': 'nobody waits for it',
    'hello.received': 'nobody waits for it',
    'hello.sent': 'nobody waits for it',
    'hello.refused': 'nobody waits for it',
    'step.failed': 'nobody waits for it',
    'message.received': 'nobody waits for it',
  },
  stepTold: { 'step.failed': 'ERR tells of it; the call can be repeated and goes on with the same keys (B15)' },
} as const

/** What most states refuse. */
export const refused = {
  'invitation.received': refuse('an invitation came to a queue that is no contact address'),
  'hello.received': refuse('HELLO is not expected'),
} as const
