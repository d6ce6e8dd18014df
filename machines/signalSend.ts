import { assign, fromPromise, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

export interface SignalSendInput {
  recipientId: string
  /** Delays after a failure of the network, doubled from the first to the last, in ms. */
  retry: { initial: number; max: number }
  /** Most answers 409 and 410 for one message. */
  maxRounds: number
}

export interface SignalSendContext extends SignalSendInput {
  delay: number
  /** Answers 409 and 410 so far for the message at the head. */
  rounds: number
  /** How long the message at the head must wait, in ms. */
  waitMs: number
  /** The unidentified socket has failed for this message: it goes on identified. */
  identifiedOnly: boolean
}

/** What the head of the outbox wants. */
export type SignalHead =
  | { type: 'empty' }
  | { type: 'message' }
  | { type: 'expired' }
  | { type: 'wait'; waitMs: number }
/** Which way the message can go now. */
export type SignalPath = 'sealed' | 'identified' | 'unreached'
/**
 * Whether every device has a session; `limited`: the server gives no keys for so long, `unusable`: what it gives are no keys of
 * the device, which is looked at again after so long.
 */
export type SignalKeys =
  | { type: 'ready' }
  | { type: 'unregistered' }
  | { type: 'limited'; waitMs: number }
  | { type: 'unusable'; waitMs: number }
  | { type: 'unreached' }
/** An answer of the server to the message, or why there is none. */
export type SignalAnswer =
  | { type: 'accepted' }
  | { type: 'unauthorized' }
  | { type: 'unregistered' }
  | { type: 'mismatched' }
  | { type: 'stale' }
  | { type: 'tooLarge' }
  | { type: 'invalid' }
  | { type: 'challenge'; waitMs: number }
  | { type: 'limited'; waitMs: number }
  | { type: 'serverError' }
  /** The socket was closing, broke, took nothing, or no answer came in time: the server may have the message. */
  | { type: 'unanswered' }
/** What is stored when an attempt has ended. */
export type SignalVerdict = 'sent' | 'unregistered' | 'tooLarge' | 'invalid' | 'unsettled' | 'expired' | 'forbidden'

export type SignalSendEvent =
  | { type: 'message.added' }
  /** The user has answered a challenge, or a socket has come back: do not wait any longer. */
  | { type: 'wait.over' }
  | { type: 'send.suspended' }
  | { type: 'send.resumed' }

const working = {
  'message.added': 'it is found when its turn comes',
  'wait.over': 'nothing waits',
  'send.resumed': 'nothing is suspended',
} as const

type Of<T extends { type: string }> = (_: unknown, value: T) => boolean
const is =
  <T extends { type: string }>(type: T['type']): Of<T> =>
  (_, value) =>
    value.type === type

/** Where an answer leads, on either way; what differs between them stands before. */
const answers = [
  { guard: { type: 'accepted', params: answer }, target: '#signalSend.settling.sent' },
  { guard: { type: 'unregistered', params: answer }, target: '#signalSend.settling.unregistered' },
  { guard: { type: 'lastRound', params: answer }, target: '#signalSend.settling.unsettled' },
  { guard: { type: 'mismatched', params: answer }, target: '#signalSend.updating.mismatched', actions: ['countRound'] },
  { guard: { type: 'stale', params: answer }, target: '#signalSend.updating.stale', actions: ['countRound'] },
  { guard: { type: 'tooLarge', params: answer }, target: '#signalSend.settling.tooLarge' },
  { guard: { type: 'invalid', params: answer }, target: '#signalSend.settling.invalid' },
  {
    guard: { type: 'challenge', params: answer },
    target: '#signalSend.noting.challenge',
    actions: [{ type: 'setWait', params: answer }],
  },
  {
    guard: { type: 'limited', params: answer },
    target: '#signalSend.noting.limited',
    actions: [{ type: 'setWait', params: answer }],
  },
] as const

// A function declaration: the list above is made before constants below it exist.
function answer({ event }: { event: { output: unknown } }): SignalAnswer {
  return event.output as SignalAnswer
}

const settle = (verdict: SignalVerdict, description: string, spec: readonly string[]) => ({
  description,
  meta: { spec, ignores: working },
  invoke: {
    src: 'settle' as const,
    input: ({ context }: { context: SignalSendContext }) => ({ recipientId: context.recipientId, verdict }),
    onDone: { target: '#signalSend.choosing', actions: ['begin' as const, 'resetDelay' as const] },
    onError: '#signalSend.waiting.unreached',
  },
})

const update = (
  change: 'mismatched' | 'stale' | 'sealedRefused',
  description: string,
  spec: readonly string[],
  next: string,
) => ({
  description,
  meta: { spec, ignores: working },
  invoke: {
    src: 'update' as const,
    input: ({ context }: { context: SignalSendContext }) => ({ recipientId: context.recipientId, change }),
    onDone: next,
    onError: '#signalSend.waiting.unreached',
  },
})

const note = (reason: 'challenge' | 'limited' | 'keysLimited' | 'keysUnusable', description: string) => ({
  description,
  meta: { spec: ['S08'], ignores: working },
  invoke: {
    src: 'note' as const,
    input: ({ context }: { context: SignalSendContext }) => ({
      recipientId: context.recipientId,
      reason,
      waitMs: context.waitMs,
    }),
    onDone: '#signalSend.waiting.told',
    onError: '#signalSend.waiting.unreached',
  },
})

/**
 * Sends the waiting messages of one recipient, one after the other (worker machine): sockets are probed, keys fetched for
 * devices without a session, ciphertexts stored, then the message goes sealed, or identified where that fails. What an
 * answer means is here and nowhere else; what must survive is in rows.
 */
export const signalSendMachine = setup({
  types: {} as { context: SignalSendContext; events: SignalSendEvent; input: SignalSendInput; meta: StateMeta },
  actors: {
    takeNext: fromPromise<SignalHead, { recipientId: string }>(stub('takeNext')),
    /** Probes both sockets where nothing was received for a while; then says which way is open. */
    choosePath: fromPromise<SignalPath, { recipientId: string; identifiedOnly: boolean }>(stub('choosePath')),
    fetchKeys: fromPromise<SignalKeys, { recipientId: string }>(stub('fetchKeys')),
    /** Encrypts for every device that has no stored ciphertext yet; sessions and ciphertexts are stored (S11). */
    encrypt: fromPromise<'encrypted' | 'needsKeys' | 'gone', { recipientId: string }>(stub('encrypt')),
    sendSealed: fromPromise<SignalAnswer, { recipientId: string }>(stub('sendSealed')),
    sendIdentified: fromPromise<SignalAnswer, { recipientId: string }>(stub('sendIdentified')),
    update: fromPromise<void, { recipientId: string; change: 'mismatched' | 'stale' | 'sealedRefused' }>(
      stub('update'),
    ),
    note: fromPromise<void, { recipientId: string; reason: string; waitMs: number }>(stub('note')),
    settle: fromPromise<void, { recipientId: string; verdict: SignalVerdict }>(stub('settle')),
  },
  delays: {
    retry: ({ context }) => context.delay,
    told: ({ context }) => context.waitMs,
  },
  guards: {
    isEmpty: is<SignalHead>('empty'),
    isWait: is<SignalHead>('wait'),
    isExpired: is<SignalHead>('expired'),
    isSealed: (_, path: SignalPath) => path === 'sealed',
    isIdentified: (_, path: SignalPath) => path === 'identified',
    keysReady: is<SignalKeys>('ready'),
    keysUnregistered: is<SignalKeys>('unregistered'),
    keysLimited: is<SignalKeys>('limited'),
    keysUnusable: is<SignalKeys>('unusable'),
    isEncrypted: (_, outcome: string) => outcome === 'encrypted',
    goesIdentified: ({ context }, outcome: string) => outcome === 'encrypted' && context.identifiedOnly,
    needsKeys: (_, outcome: string) => outcome === 'needsKeys',
    accepted: is<SignalAnswer>('accepted'),
    unauthorized: is<SignalAnswer>('unauthorized'),
    unregistered: is<SignalAnswer>('unregistered'),
    mismatched: is<SignalAnswer>('mismatched'),
    stale: is<SignalAnswer>('stale'),
    tooLarge: is<SignalAnswer>('tooLarge'),
    invalid: is<SignalAnswer>('invalid'),
    challenge: is<SignalAnswer>('challenge'),
    limited: is<SignalAnswer>('limited'),
    unanswered: is<SignalAnswer>('unanswered'),
    lastRound: ({ context }, { type }: SignalAnswer) =>
      (type === 'mismatched' || type === 'stale') && context.rounds + 1 >= context.maxRounds,
  },
  actions: {
    /** A new message is at the head. */
    begin: assign({ rounds: 0, identifiedOnly: false }),
    countRound: assign(({ context }) => ({ rounds: context.rounds + 1 })),
    goIdentified: assign({ identifiedOnly: true }),
    setWait: assign((_, params: { type: string; waitMs?: number }) => ({ waitMs: params.waitMs ?? 0 })),
    resetDelay: assign(({ context }) => ({ delay: context.retry.initial })),
    growDelay: assign(({ context }) => ({ delay: Math.min(context.delay * 2, context.retry.max) })),
  },
}).createMachine({
  id: 'signalSend',
  description: 'Sends the waiting messages of one recipient in order',
  context: ({ input }) => ({
    ...input,
    delay: input.retry.initial,
    rounds: 0,
    waitMs: 0,
    identifiedOnly: false,
  }),
  initial: 'choosing',
  on: { 'send.suspended': '.suspended' },
  states: {
    choosing: {
      description: 'The oldest waiting message is looked up.',
      meta: { spec: ['S08', 'S11'], ignores: working },
      invoke: {
        src: 'takeNext',
        input: ({ context }) => ({ recipientId: context.recipientId }),
        onDone: [
          { guard: { type: 'isEmpty', params: ({ event }) => event.output }, target: 'idle' },
          {
            guard: { type: 'isWait', params: ({ event }) => event.output },
            target: 'waiting.told',
            actions: [{ type: 'setWait', params: ({ event }) => event.output }],
          },
          { guard: { type: 'isExpired', params: ({ event }) => event.output }, target: 'settling.expired' },
          { target: 'probing' },
        ],
        onError: 'waiting.unreached',
      },
    },
    probing: {
      description: 'Both sockets are probed where nothing was received for 5 s; the way is chosen.',
      meta: { spec: ['S04', 'S05', 'S16'], ignores: working },
      invoke: {
        src: 'choosePath',
        input: ({ context }) => ({ recipientId: context.recipientId, identifiedOnly: context.identifiedOnly }),
        onDone: [
          { guard: { type: 'isSealed', params: ({ event }) => event.output }, target: 'keying' },
          {
            guard: { type: 'isIdentified', params: ({ event }) => event.output },
            target: 'keying',
            actions: ['goIdentified'],
          },
          { target: 'waiting.unreached' },
        ],
        onError: 'waiting.unreached',
      },
    },
    keying: {
      description: 'Keys are fetched for devices without a session.',
      meta: { spec: ['S06', 'S07'], ignores: working },
      invoke: {
        src: 'fetchKeys',
        input: ({ context }) => ({ recipientId: context.recipientId }),
        onDone: [
          { guard: { type: 'keysReady', params: ({ event }) => event.output }, target: 'encrypting' },
          { guard: { type: 'keysUnregistered', params: ({ event }) => event.output }, target: 'settling.unregistered' },
          {
            guard: { type: 'keysLimited', params: ({ event }) => event.output },
            target: 'noting.keysLimited',
            actions: [{ type: 'setWait', params: ({ event }) => event.output }],
          },
          {
            guard: { type: 'keysUnusable', params: ({ event }) => event.output },
            target: 'noting.keysUnusable',
            actions: [{ type: 'setWait', params: ({ event }) => event.output }],
          },
          { target: 'waiting.unreached' },
        ],
        onError: 'waiting.unreached',
      },
    },
    encrypting: {
      description: 'Every device gets its ciphertext; sessions and ciphertexts are stored before a byte leaves.',
      meta: { spec: ['S06', 'S11'], ignores: working },
      invoke: {
        src: 'encrypt',
        input: ({ context }) => ({ recipientId: context.recipientId }),
        onDone: [
          { guard: { type: 'goesIdentified', params: ({ event }) => event.output }, target: 'sending.identified' },
          { guard: { type: 'isEncrypted', params: ({ event }) => event.output }, target: 'sending.sealed' },
          { guard: { type: 'needsKeys', params: ({ event }) => event.output }, target: 'keying' },
          { target: 'choosing', actions: ['begin'] },
        ],
        onError: 'waiting.unreached',
      },
    },
    sending: {
      description: 'The message is on its way to the server.',
      initial: 'sealed',
      meta: { spec: ['S05', 'S07', 'S08'] },
      states: {
        sealed: {
          description: 'Over the unidentified socket, with sealed sender. Where that fails it goes identified at once.',
          meta: { spec: ['S05', 'S07', 'S08'], ignores: working },
          invoke: {
            src: 'sendSealed',
            input: ({ context }) => ({ recipientId: context.recipientId }),
            onDone: [
              {
                guard: { type: 'unauthorized', params: answer },
                target: '#signalSend.updating.sealedRefused',
                actions: ['goIdentified'],
              },
              { guard: { type: 'unanswered', params: answer }, target: 'identified', actions: ['goIdentified'] },
              ...answers,
              { target: '#signalSend.waiting.unreached' },
            ],
            onError: { target: 'identified', actions: ['goIdentified'] },
          },
        },
        identified: {
          description: 'Over the identified socket. Without an answer it is repeated under the same timestamp.',
          meta: { spec: ['S05', 'S07', 'S08', 'S12'], ignores: working },
          invoke: {
            src: 'sendIdentified',
            input: ({ context }) => ({ recipientId: context.recipientId }),
            onDone: [
              ...answers,
              { guard: { type: 'unauthorized', params: answer }, target: '#signalSend.settling.forbidden' },
              { target: '#signalSend.waiting.unreached' },
            ],
            onError: '#signalSend.waiting.unreached',
          },
        },
      },
    },
    updating: {
      description: 'What the answer said of the recipient is stored at once.',
      initial: 'mismatched',
      meta: { spec: ['S07'] },
      states: {
        mismatched: update(
          'mismatched',
          '409: extra devices leave the list and their sessions are archived, missing ones are added.',
          ['S07'],
          '#signalSend.keying',
        ),
        stale: update(
          'stale',
          '410: sessions of stale devices are archived; the list stays.',
          ['S07'],
          '#signalSend.keying',
        ),
        sealedRefused: update(
          'sealedRefused',
          '401 to a sealed message: its access key is not tried again until a new one is known.',
          ['S05'],
          '#signalSend.sending.identified',
        ),
      },
    },
    noting: {
      description: 'A wait with a reason: it is stored and told.',
      initial: 'challenge',
      meta: { spec: ['S08'] },
      states: {
        challenge: note('challenge', '428: the server wants a challenge answered.'),
        limited: note('limited', '429: too many messages; the server says for how long.'),
        keysLimited: note('keysLimited', '429 on keys: the server gives none for a while.'),
        keysUnusable: note('keysUnusable', 'What the server gives are no keys of the device.'),
      },
    },
    settling: {
      description: 'The end of a message is stored and told.',
      initial: 'sent',
      meta: { spec: ['S08', 'S11'] },
      states: {
        sent: settle('sent', 'Accepted: SENT, and a transcript for the own devices.', ['S07', 'S10', 'S11']),
        unregistered: settle('unregistered', '404: the recipient is not registered any more.', ['S07']),
        tooLarge: settle('tooLarge', '413: the server does not take a message of this size.', ['S08']),
        invalid: settle('invalid', '422, 508 or another refusal: the server does not take the message.', ['S08']),
        forbidden: settle('forbidden', '401 to an identified message: not authorized.', ['S15']),
        expired: settle('expired', 'It has waited for longer than a message may.', ['S12']),
        unsettled: settle('unsettled', 'Devices kept changing for too many rounds.', ['S07']),
      },
    },
    waiting: {
      description: 'The message at the head waits.',
      initial: 'unreached',
      meta: { spec: ['S08', 'S12'] },
      on: { 'wait.over': '#signalSend.choosing' },
      states: {
        unreached: {
          description: 'The server could not be reached or did not answer: tried again under the same timestamp.',
          meta: {
            spec: ['S12'],
            ignores: { 'message.added': 'it stands behind the one that waits', 'send.resumed': 'nothing is suspended' },
          },
          entry: ['begin'],
          after: { retry: { target: '#signalSend.choosing', actions: ['growDelay'] } },
        },
        told: {
          description: 'It is known for how long (428, 429, keys); the time is stored.',
          meta: {
            spec: ['S08'],
            ignores: { 'message.added': 'it stands behind the one that waits', 'send.resumed': 'nothing is suspended' },
          },
          entry: ['begin'],
          after: { told: '#signalSend.choosing' },
        },
      },
    },
    suspended: {
      description: 'The channel is suspended; what waits is in rows.',
      meta: {
        spec: ['S11'],
        ignores: {
          'message.added': 'it is found after the resume',
          'wait.over': 'nothing is sent while suspended',
          'send.suspended': 'suspended already',
        },
      },
      entry: ['begin'],
      on: { 'send.resumed': 'choosing', 'send.suspended': {} },
    },
    idle: {
      description: 'Nothing waits: the worker can be thrown away.',
      meta: {
        spec: ['S11'],
        ignores: {
          'wait.over': 'nothing waits',
          'send.resumed': 'nothing is suspended',
          'send.suspended': 'nothing runs',
        },
      },
      on: { 'message.added': 'choosing', 'send.suspended': {} },
    },
  },
})
