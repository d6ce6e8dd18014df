import { setup } from 'xstate'
import { intent, type StateMeta } from './stub.js'

/** What an error of decryption says about the ratchet (B36). */
export type SyncNeed = 'allowed' | 'required'
/** Which ratchet a party makes of the two keys: the one whose key hash is the lower, or the same, receives first (B81). */
export type SyncRole = 'receiving' | 'sending'

export type RatchetSyncEvent =
  /** A message could not be decrypted, and it is none that was received before. */
  | { type: 'message.undecryptable'; need: SyncNeed }
  | { type: 'message.decrypted' }
  /** The user starts a synchronisation; `force` from any state. */
  | { type: 'sync.start'; force: boolean }
  /** The other party’s key, that was not processed before (B82). */
  | { type: 'key.received'; role: SyncRole }
  /** The rows are older than what this agent has sent and received: a backup was restored (B85). */
  | { type: 'backup.restored' }

const agree = (keys: 'replyKey' | 'useStoredKeys') =>
  [
    {
      guard: 'sends' as const,
      target: 'agreed' as const,
      actions: [keys, 'createSendingRatchet', 'sendEREADY', 'notifySync'] as const,
    },
    { target: 'agreed' as const, actions: [keys, 'createReceivingRatchet', 'notifySync'] as const },
  ] as const

const undecryptable = [
  { guard: 'isRequired', target: 'required', actions: ['notifySyncError'] },
  { target: 'allowed', actions: ['notifySyncError'] },
] as const

/**
 * Synchronisation of a connection’s ratchet (protocol machine): both parties send a key, and the order of the keys’ hashes says who
 * makes the receiving and who the sending ratchet, so that it comes out right also when both start at once.
 */
export const ratchetSyncMachine = setup({
  types: {} as { context: Record<string, never>; events: RatchetSyncEvent; meta: StateMeta },
  actions: {
    /** New keys are stored, and sent to the other party. */
    sendKey: intent(),
    /** New keys are made and sent as the answer. */
    replyKey: intent(),
    /** The keys that were stored when the synchronisation was started. */
    useStoredKeys: intent(),
    createReceivingRatchet: intent(),
    createSendingRatchet: intent(),
    /** Tells the other party the last message that was received (B83). */
    sendEREADY: intent(),
    /** RSYNC with the new state; with the error that led to it. */
    notifySync: intent(),
    notifySyncError: intent(),
    refuse: intent<{ reason: string }>(),
  },
  guards: {
    force: ({ event }) => event.type === 'sync.start' && event.force,
    isRequired: ({ event }) => event.type === 'message.undecryptable' && event.need === 'required',
    sends: ({ event }) => event.type === 'key.received' && event.role === 'sending',
  },
}).createMachine({
  id: 'ratchetSync',
  description: 'Synchronisation of the ratchet of one connection',
  initial: 'ok',
  context: {},
  states: {
    ok: {
      description: 'Messages decrypt.',
      meta: {
        spec: ['B37', 'B80'],
        ignores: { 'message.decrypted': 'nothing to tell' },
      },
      on: {
        'message.undecryptable': undecryptable,
        'sync.start': [
          { guard: 'force', target: 'started', actions: ['sendKey', 'notifySync'] },
          { actions: [{ type: 'refuse', params: { reason: 'the ratchet needs no synchronisation' } }] },
        ],
        'key.received': agree('replyKey'),
        'backup.restored': { target: 'restored', actions: ['notifySync'] },
      },
    },
    allowed: {
      description: 'A message did not decrypt; the next ones may. The user may synchronise.',
      meta: { spec: ['B36', 'B37', 'B80'] },
      on: {
        'message.undecryptable': undecryptable,
        'message.decrypted': { target: 'ok', actions: ['notifySync'] },
        'sync.start': { target: 'started', actions: ['sendKey', 'notifySync'] },
        'key.received': agree('replyKey'),
        'backup.restored': { target: 'restored', actions: ['notifySync'] },
      },
    },
    required: {
      description: 'Messages will not decrypt before a synchronisation; nothing is sent.',
      meta: {
        spec: ['B36', 'B37', 'B80', 'B84'],
      },
      on: {
        'message.undecryptable': undecryptable,
        'message.decrypted': { target: 'ok', actions: ['notifySync'] },
        'sync.start': { target: 'started', actions: ['sendKey', 'notifySync'] },
        'key.received': agree('replyKey'),
        // Told as required already.
        'backup.restored': 'restored',
      },
    },
    restored: {
      description:
        'The ratchet comes from a restored backup, and is told as required. It may still decrypt, but has used the keys of its next messages before: nothing is sent before a synchronisation.',
      meta: {
        spec: ['B37', 'B80', 'B84', 'B85'],
        ignores: {
          'message.undecryptable': 'told as required already',
          'message.decrypted': 'what was sent since the backup has used the same keys all the same',
          'backup.restored': 'told already',
        },
      },
      on: {
        'sync.start': { target: 'started', actions: ['sendKey', 'notifySync'] },
        'key.received': agree('replyKey'),
      },
    },
    started: {
      description: 'This side has sent its key; nothing is sent until the other party has answered.',
      meta: {
        spec: ['B37', 'B80', 'B81', 'B84'],
        ignores: {
          'message.undecryptable': 'the synchronisation is under way',
          'message.decrypted': 'a message from before the other party had the key',
        },
      },
      on: {
        'sync.start': [
          { guard: 'force', actions: ['sendKey', 'notifySync'] },
          { actions: [{ type: 'refuse', params: { reason: 'the synchronisation is under way' } }] },
        ],
        'key.received': agree('useStoredKeys'),
        'backup.restored': { target: 'restored', actions: ['notifySync'] },
      },
    },
    agreed: {
      description:
        'Both keys are known and the new ratchet is made; the first message that decrypts ends the synchronisation.',
      meta: {
        spec: ['B37', 'B80', 'B83', 'B84'],
        ignores: { 'message.undecryptable': 'a message from before the other party had the key' },
      },
      on: {
        'message.decrypted': { target: 'ok', actions: ['notifySync'] },
        'sync.start': [
          { guard: 'force', target: 'started', actions: ['sendKey', 'notifySync'] },
          { actions: [{ type: 'refuse', params: { reason: 'the synchronisation is under way' } }] },
        ],
        // The other party starts anew: ours was for nothing.
        'key.received': { target: 'required', actions: ['notifySyncError'] },
        'backup.restored': { target: 'restored', actions: ['notifySync'] },
      },
    },
  },
})

export type RatchetSyncState = keyof NonNullable<(typeof ratchetSyncMachine)['config']['states']>

/** Whether a connection must not send: nothing that it sent could be read (B84). */
export const isSendProhibited = (state: string): boolean =>
  state === 'required' || state === 'restored' || state === 'started' || state === 'agreed'
