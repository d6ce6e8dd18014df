import type { AnyEventObject, AnyStateMachine } from 'xstate'
import {
  type AgentOperationsEvent,
  agentOperationsMachine,
  type CleanupEvent,
  cleanupMachine,
  type CommandOutcome,
  type CommandWorkerEvent,
  commandWorkerMachine,
  type ConnectionEvent,
  connectionMachine,
  type DeliveryEvent,
  type DeliveryOutcome,
  operations,
  type RatchetSyncEvent,
  ratchetSyncMachine,
  type RcvQueueEvent,
  rcvQueueMachine,
  type RcvQueueSwitchEvent,
  rcvQueueSwitchMachine,
  type RouterSessionEvent,
  routerSessionMachine,
  type SentMessageType,
  sentMessageTypes,
  type SignalAnswer,
  type SignalConnectOutcome,
  type SignalHead,
  type SignalKeys,
  type SignalLinkingEvent,
  signalLinkingMachine,
  type SignalPath,
  type SignalProbeOutcome,
  type SignalSendEvent,
  signalSendMachine,
  type SignalSocketEvent,
  signalSocketMachine,
  type SignalSyncEvent,
  signalSyncMachine,
  type SignalSyncOutcome,
  type SndQueueEvent,
  type SndQueueSwitchEvent,
  sndQueueSwitchMachine,
  sndQueueDeliveryMachine,
  sndQueueMachine,
  type SubscriptionEvent,
  subscriptionMachine,
} from './index.js'

/** What a walk through a machine needs beside the machine: every event in every variant that its guards tell apart. */
export interface Walk {
  readonly name: string
  /** The machine with stubs replaced; several where a guard of the runtime decides: one for each answer. */
  readonly machines: readonly AnyStateMachine[]
  readonly input?: object
  /** Contexts that rows can hold, for protocol machines that read one. */
  readonly contexts: readonly Readonly<Record<string, unknown>>[]
  /** Every type of the machine's event union; the compiler refuses a missing or an extra one. */
  readonly events: Readonly<Record<string, readonly AnyEventObject[]>>
  /** Results of invoked work and delays. */
  readonly internal: readonly AnyEventObject[]
}

type Variants<E extends { readonly type: string }> = { readonly [T in E['type']]: readonly Extract<E, { type: T }>[] }

const flags = [false, true] as const
const perType = <E>(make: (messageType: SentMessageType) => readonly E[]): E[] => sentMessageTypes.flatMap(make)
const perFlag = <E>(make: (flag: boolean) => readonly E[]): E[] => flags.flatMap(make)

const connectionEvents: Variants<ConnectionEvent> = {
  'queue.created': [{ type: 'queue.created' }],
  'address.created': [{ type: 'address.created' }],
  'connection.join': perFlag(stopped =>
    (['invitation', 'contact'] as const).map(by => ({ type: 'connection.join' as const, by, stopped })),
  ),
  'reply.created': [{ type: 'reply.created' }],
  'invitation.sent': [{ type: 'invitation.sent' }],
  'invitation.received': [{ type: 'invitation.received' }],
  'confirmation.received': perFlag(senderKey => [
    { type: 'confirmation.received', form: 'info', senderKey },
    { type: 'confirmation.received', form: 'infoWithReply', senderKey },
  ]),
  'connection.allow': perFlag(unsecured => perFlag(stopped => [{ type: 'connection.allow', unsecured, stopped }])),
  'queue.secured': [{ type: 'queue.secured' }],
  'confirmation.sent': perFlag(secured => [{ type: 'confirmation.sent', secured }]),
  'confirmation.refused': [{ type: 'confirmation.refused' }],
  'hello.received': [{ type: 'hello.received' }],
  'hello.sent': [{ type: 'hello.sent' }],
  'hello.refused': [{ type: 'hello.refused' }],
  'step.failed': [{ type: 'step.failed' }],
  'message.send': perFlag(early => perFlag(synchronized => [{ type: 'message.send', early, synchronized }])),
  'message.received': [{ type: 'message.received' }],
  'link.set': perFlag(linked => [{ type: 'link.set', linked }]),
  'link.delete': [{ type: 'link.delete' }],
  'connection.suspend': perFlag(receives => [{ type: 'connection.suspend', receives }]),
  'connection.delete': perFlag(waiting => [{ type: 'connection.delete', waiting }]),
}

const rcvQueueEvents: Variants<RcvQueueEvent> = {
  'message.arrived': perFlag(key =>
    perFlag(senderKey =>
      (['confirmation', 'message', 'invitation', 'ratchetKey', 'sealed'] as const).map(envelope => ({
        type: 'message.arrived' as const,
        key,
        senderKey,
        envelope,
      })),
    ),
  ),
  'queue.confirmed': [{ type: 'queue.confirmed' }],
  'queue.secured': [{ type: 'queue.secured' }],
  'queue.deleted': [{ type: 'queue.deleted' }],
}

const sndQueueEvents: Variants<SndQueueEvent> = {
  'queue.secured': [{ type: 'queue.secured' }],
  'message.sent': perType(messageType => perFlag(securable => [{ type: 'message.sent', messageType, securable }])),
  'message.unauthorized': perType(messageType => [{ type: 'message.unauthorized', messageType }]),
  'message.overQuota': perType(messageType =>
    perFlag(expired => [{ type: 'message.overQuota', messageType, expired }]),
  ),
  'message.unreached': perType(messageType =>
    perFlag(expired => perFlag(host => [{ type: 'message.unreached', messageType, expired, host }])),
  ),
  'message.failed': perType(messageType => [{ type: 'message.failed', messageType }]),
  'queue.deleted': [{ type: 'queue.deleted' }],
}

const subscriptionEvents: Variants<SubscriptionEvent> = {
  'subscription.requested': [{ type: 'subscription.requested' }],
  'subscription.confirmed': perFlag(current => [{ type: 'subscription.confirmed', current }]),
  'subscription.failed': perFlag(current =>
    perFlag(temporary => [{ type: 'subscription.failed', current, temporary }]),
  ),
  'session.closed': [{ type: 'session.closed' }],
  'subscription.ended': perFlag(current => [{ type: 'subscription.ended', current }]),
  'queue.deleted': [{ type: 'queue.deleted' }],
  'message.get': [{ type: 'message.get' }],
}

const rcvSwitchEvents: Variants<RcvQueueSwitchEvent> = {
  'switch.start': perFlag(synchronized => [{ type: 'switch.start', synchronized }]),
  'switch.abort': perFlag(synchronized => [{ type: 'switch.abort', synchronized }]),
  'queue.created': [{ type: 'queue.created' }],
  'queue.lost': [{ type: 'queue.lost' }],
  'key.received': perFlag(known => [{ type: 'key.received', known }]),
  'queue.secured': [{ type: 'queue.secured' }],
  'message.received': [{ type: 'message.received' }],
  'queue.deleted': [{ type: 'queue.deleted' }],
  'sync.ended': [{ type: 'sync.ended' }],
}

const sndSwitchEvents: Variants<SndQueueSwitchEvent> = {
  'queue.offered': [
    { type: 'queue.offered', queue: 'new' },
    { type: 'queue.offered', queue: 'known' },
  ],
  'key.sent': [{ type: 'key.sent' }],
  'queue.used': [{ type: 'queue.used' }],
  'test.sent': [{ type: 'test.sent' }],
  'queue.lost': [{ type: 'queue.lost' }],
  'sync.ended': [{ type: 'sync.ended' }],
}

const ratchetSyncEvents: Variants<RatchetSyncEvent> = {
  'message.undecryptable': [
    { type: 'message.undecryptable', need: 'allowed' },
    { type: 'message.undecryptable', need: 'required' },
  ],
  'message.decrypted': [{ type: 'message.decrypted' }],
  'sync.start': perFlag(force => [{ type: 'sync.start', force }]),
  'key.received': [
    { type: 'key.received', role: 'receiving' },
    { type: 'key.received', role: 'sending' },
  ],
  'backup.restored': [{ type: 'backup.restored' }],
}

const deliveryEvents: Variants<DeliveryEvent> = {
  'delivery.added': [{ type: 'delivery.added' }],
  'queue.continued': [{ type: 'queue.continued' }],
  'delivery.suspended': [{ type: 'delivery.suspended' }],
  'delivery.resumed': [{ type: 'delivery.resumed' }],
  'network.online': [{ type: 'network.online' }],
}

const commandEvents: Variants<CommandWorkerEvent> = {
  'command.added': [{ type: 'command.added' }],
  'commands.changed': [{ type: 'commands.changed' }],
  'worker.suspended': [{ type: 'worker.suspended' }],
  'worker.resumed': [{ type: 'worker.resumed' }],
  'network.online': [{ type: 'network.online' }],
}

const sessionEvents: Variants<RouterSessionEvent> = {
  'session.needed': [{ type: 'session.needed' }],
  'session.lost': [{ type: 'session.lost' }],
  'session.released': [{ type: 'session.released' }],
  'network.online': [{ type: 'network.online' }],
}

const idle = { receiving: 0, delivery: 0, sending: 0, database: 0 }
const operationsEvents: Variants<AgentOperationsEvent> = {
  'operation.began': operations.map(operation => ({ type: 'operation.began', operation })),
  'operation.ended': operations.map(operation => ({ type: 'operation.ended', operation })),
  'agent.suspend': [
    { type: 'agent.suspend', maxDelay: 0, inProgress: idle },
    { type: 'agent.suspend', maxDelay: 1000, inProgress: idle },
    ...operations.map(
      operation => ({ type: 'agent.suspend', maxDelay: 1000, inProgress: { ...idle, [operation]: 1 } }) as const,
    ),
  ],
  'agent.foreground': [{ type: 'agent.foreground' }],
}

const cleanupEvents: Variants<CleanupEvent> = {
  'cleanup.suspended': [{ type: 'cleanup.suspended' }],
  'cleanup.resumed': [{ type: 'cleanup.resumed' }],
}

const signalSocketEvents: Variants<SignalSocketEvent> = {
  'socket.start': [{ type: 'socket.start' }],
  'socket.stop': [{ type: 'socket.stop' }],
  'socket.lost': [{ type: 'socket.lost' }],
  'socket.invalidated': [{ type: 'socket.invalidated' }],
  'socket.replaced': [{ type: 'socket.replaced' }],
  'probe.requested': [{ type: 'probe.requested' }],
}

const signalSendEvents: Variants<SignalSendEvent> = {
  'message.added': [{ type: 'message.added' }],
  'wait.over': [{ type: 'wait.over' }],
  'send.suspended': [{ type: 'send.suspended' }],
  'send.resumed': [{ type: 'send.resumed' }],
}

const signalSyncEvents: Variants<SignalSyncEvent> = {
  'sync.added': [{ type: 'sync.added' }],
  'wait.over': [{ type: 'wait.over' }],
  'sync.suspended': [{ type: 'sync.suspended' }],
  'sync.resumed': [{ type: 'sync.resumed' }],
}

const signalLinkingEvents: Variants<SignalLinkingEvent> = {
  'address.received': [{ type: 'address.received' }],
  'provision.received': [{ type: 'provision.received' }],
  'provision.refused': [{ type: 'provision.refused' }],
  'socket.lost': [{ type: 'socket.lost' }],
  'linking.cancel': [{ type: 'linking.cancel' }],
}

const done = (invoked: string, output?: unknown): AnyEventObject => ({ type: `xstate.done.actor.${invoked}`, output })
const failed = (invoked: string): AnyEventObject => ({
  type: `xstate.error.actor.${invoked}`,
  error: new Error('failed'),
})
const deliveryOutcomes: readonly DeliveryOutcome[] = ['sent', 'dropped', 'empty', 'retryFast', 'retrySlow', 'offline']
const commandOutcomes: readonly CommandOutcome[] = ['done', 'failed', 'moved', 'empty', 'retry', 'offline']

const connectOutcomes: readonly SignalConnectOutcome[] = ['open', 'refused', 'failed']
const probeOutcomes: readonly SignalProbeOutcome[] = ['alive', 'dead']
const syncOutcomes: readonly SignalSyncOutcome[] = ['synced', 'dropped', 'again', 'empty', 'retry']
const heads: readonly SignalHead[] = [
  { type: 'empty' },
  { type: 'message' },
  { type: 'expired' },
  { type: 'wait', waitMs: 2 },
]
const paths: readonly SignalPath[] = ['sealed', 'identified', 'unreached']
const keys: readonly SignalKeys[] = [
  { type: 'ready' },
  { type: 'unregistered' },
  { type: 'limited', waitMs: 2 },
  { type: 'unusable', waitMs: 2 },
  { type: 'unreached' },
]
/** Every answer that the signalSend machine tells apart. */
export const signalAnswers: readonly SignalAnswer[] = [
  { type: 'accepted' },
  { type: 'unauthorized' },
  { type: 'unregistered' },
  { type: 'mismatched' },
  { type: 'stale' },
  { type: 'tooLarge' },
  { type: 'invalid' },
  { type: 'challenge', waitMs: 2 },
  { type: 'limited', waitMs: 2 },
  { type: 'serverError' },
  { type: 'unanswered' },
]
const settlings = ['sent', 'unregistered', 'tooLarge', 'invalid', 'forbidden', 'expired', 'unsettled']
const ends = (invoked: string, outputs: readonly unknown[] = [undefined]): AnyEventObject[] => [
  ...outputs.map(output => done(invoked, output)),
  failed(invoked),
]
const dropSession = { actions: { dropSession: () => {} } }
const noActions = { actions: { showLink: () => {}, closeSocket: () => {}, forgetAccount: () => {} } }

export const protocolWalks: readonly Walk[] = [
  { name: 'connection', machines: [connectionMachine], contexts: [{}], events: connectionEvents, internal: [] },
  {
    name: 'rcvQueue',
    machines: [rcvQueueMachine],
    contexts: flags.flatMap(secret => flags.map(securable => ({ secret, securable }))),
    events: rcvQueueEvents,
    internal: [],
  },
  { name: 'sndQueue', machines: [sndQueueMachine], contexts: [{}], events: sndQueueEvents, internal: [] },
  { name: 'subscription', machines: [subscriptionMachine], contexts: [{}], events: subscriptionEvents, internal: [] },
  {
    name: 'rcvQueueSwitch',
    machines: [rcvQueueSwitchMachine],
    contexts: [{}],
    events: rcvSwitchEvents,
    internal: [],
  },
  {
    name: 'sndQueueSwitch',
    machines: [sndQueueSwitchMachine],
    contexts: [{}],
    events: sndSwitchEvents,
    internal: [],
  },
  { name: 'ratchetSync', machines: [ratchetSyncMachine], contexts: [{}], events: ratchetSyncEvents, internal: [] },
]

const retry = { initial: 2, growAfter: 4, max: 5 }

export const workerWalks: readonly Walk[] = [
  {
    name: 'sndQueueDelivery',
    machines: [sndQueueDeliveryMachine],
    input: { queueId: 'queue', fast: retry, slow: retry, offlineRetry: 9 },
    contexts: [],
    events: deliveryEvents,
    internal: [
      ...deliveryOutcomes.map(outcome => done('0.sndQueueDelivery.sending', outcome)),
      failed('0.sndQueueDelivery.sending'),
      { type: 'xstate.after.fast.sndQueueDelivery.waiting.fast' },
      { type: 'xstate.after.slow.sndQueueDelivery.waiting.slow' },
      { type: 'xstate.after.offlineRetry.sndQueueDelivery.waiting.offline' },
    ],
  },
  {
    name: 'commandWorker',
    machines: [commandWorkerMachine],
    input: { connectionId: 'connection', router: 'router', retry, offlineRetry: 9 },
    contexts: [],
    events: commandEvents,
    internal: [
      ...commandOutcomes.map(outcome => done('0.commandWorker.running', outcome)),
      failed('0.commandWorker.running'),
      { type: 'xstate.after.retry.commandWorker.waiting' },
      { type: 'xstate.after.offlineRetry.commandWorker.offline' },
    ],
  },
  {
    name: 'routerSession',
    machines: perFlag(has =>
      perFlag(offline =>
        flags.map(idle =>
          routerSessionMachine.provide({
            guards: {
              hasSubscriptions: () => has,
              isOffline: () => offline,
              isSuspended: () => offline,
              isIdle: () => idle,
            },
            delays: { idle: () => 1 },
          }),
        ),
      ),
    ),
    input: { router: 'router', reconnect: retry, offlineRetry: 9 },
    contexts: [],
    events: sessionEvents,
    internal: [
      done('0.routerSession.connecting'),
      failed('0.routerSession.connecting'),
      done('0.routerSession.open'),
      failed('0.routerSession.open'),
      { type: 'xstate.after.reconnect.routerSession.reconnecting' },
      { type: 'xstate.after.offlineRetry.routerSession.offline' },
      { type: 'xstate.after.idle.routerSession.open.watched' },
    ],
  },
  {
    name: 'agentOperations',
    machines: [agentOperationsMachine],
    contexts: [],
    events: operationsEvents,
    internal: [{ type: 'xstate.after.suspendTimeout.agentOperations.suspending.network' }],
  },
  {
    name: 'cleanup',
    machines: [cleanupMachine.provide({ actions: { notifyFailed: () => {} } })],
    input: { steps: ['first', 'second'], initial: 1, interval: 2, pause: 1 },
    contexts: [],
    events: cleanupEvents,
    internal: [
      done('0.cleanup.cleaning'),
      failed('0.cleanup.cleaning'),
      { type: 'xstate.after.cycle.cleanup.waiting' },
      { type: 'xstate.after.pause.cleanup.pausing' },
    ],
  },
  {
    name: 'signalSocket',
    machines: [signalSocketMachine.provide(dropSession)],
    input: { socket: 'identified', keepaliveMs: 30, backoff: { initial: 1, max: 4 } },
    contexts: [],
    events: signalSocketEvents,
    internal: [
      ...ends('0.signalSocket.connecting', connectOutcomes),
      ...ends('0.signalSocket.open.probing', probeOutcomes),
      { type: 'xstate.after.keepalive.signalSocket.open.quiet' },
      { type: 'xstate.after.backoff.signalSocket.backingOff' },
    ],
  },
  {
    name: 'signalSend',
    machines: [signalSendMachine],
    input: { recipientId: 'recipient', retry: { initial: 1, max: 2 }, maxRounds: 3 },
    contexts: [],
    events: signalSendEvents,
    internal: [
      ...ends('0.signalSend.choosing', heads),
      ...ends('0.signalSend.probing', paths),
      ...ends('0.signalSend.keying', keys),
      ...ends('0.signalSend.encrypting', ['encrypted', 'needsKeys', 'gone']),
      ...ends('0.signalSend.sending.sealed', signalAnswers),
      ...ends('0.signalSend.sending.identified', signalAnswers),
      ...['mismatched', 'stale', 'sealedRefused'].flatMap(change => ends(`0.signalSend.updating.${change}`)),
      ...['challenge', 'limited', 'keysLimited', 'keysUnusable'].flatMap(reason =>
        ends(`0.signalSend.noting.${reason}`),
      ),
      ...settlings.flatMap(verdict => ends(`0.signalSend.settling.${verdict}`)),
      { type: 'xstate.after.retry.signalSend.waiting.unreached' },
      { type: 'xstate.after.told.signalSend.waiting.told' },
    ],
  },
  {
    name: 'signalSync',
    machines: [signalSyncMachine],
    input: { accountId: 'account', retry: { initial: 1, max: 2 } },
    contexts: [],
    events: signalSyncEvents,
    internal: [...ends('0.signalSync.syncing', syncOutcomes), { type: 'xstate.after.retry.signalSync.waiting' }],
  },
  {
    name: 'signalLinking',
    machines: [signalLinkingMachine.provide(noActions)],
    input: { deviceName: 'device' },
    contexts: [],
    events: signalLinkingEvents,
    internal: [
      ...ends('0.signalLinking.connecting'),
      ...ends('0.signalLinking.storing'),
      ...ends('0.signalLinking.registering'),
      ...ends('0.signalLinking.uploading'),
    ],
  },
]

export const walks: readonly Walk[] = [...protocolWalks, ...workerWalks]
