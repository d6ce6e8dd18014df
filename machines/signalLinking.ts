import { fromPromise, setup } from 'xstate'
import { type StateMeta, stub } from './stub.js'

export interface SignalLinkingInput {
  deviceName: string
}

export type SignalLinkingEvent =
  /** The server has given the address that the link shows. */
  | { type: 'address.received' }
  /** The primary device has sent account and keys. */
  | { type: 'provision.received' }
  /** What came is not what the primary device should send. */
  | { type: 'provision.refused' }
  /** The provisioning socket is gone. */
  | { type: 'socket.lost' }
  | { type: 'linking.cancel' }

/**
 * Becomes a linked device of an account (worker machine, S01): a link is shown, the primary device scans it, own keys are
 * stored, then the server is told. Once keys are stored an attempt can be repeated under the same keys.
 */
export const signalLinkingMachine = setup({
  types: {} as {
    context: SignalLinkingInput
    events: SignalLinkingEvent
    input: SignalLinkingInput
    meta: StateMeta
  },
  actors: {
    /** Opens the provisioning socket. */
    connect: fromPromise<void>(stub('connect')),
    /** Stores the account with keys of its own, before the server hears of them. */
    storeAccount: fromPromise<void, { deviceName: string }>(stub('storeAccount')),
    /** Tells the server of the device; where that fails the code is spent: a new link is needed. */
    register: fromPromise<void>(stub('register')),
    /** Uploads prekeys for ACI and PNI. */
    uploadKeys: fromPromise<void>(stub('uploadKeys')),
  },
  actions: { showLink: stub('showLink'), closeSocket: stub('closeSocket'), forgetAccount: stub('forgetAccount') },
}).createMachine({
  id: 'signalLinking',
  description: 'Becoming a linked device of a Signal account',
  context: ({ input }) => ({ ...input }),
  initial: 'connecting',
  states: {
    connecting: {
      description: 'The provisioning socket is being opened.',
      meta: {
        spec: ['S01'],
        ignores: {
          'address.received': 'there is no socket yet',
          'provision.received': 'there is no socket yet',
          'provision.refused': 'there is no socket yet',
          'socket.lost': 'the attempt to connect answers for itself',
        },
      },
      invoke: {
        src: 'connect',
        onDone: 'addressing',
        onError: 'failed',
      },
      on: { 'linking.cancel': { target: 'failed', actions: ['closeSocket'] } },
    },
    addressing: {
      description: 'The server is about to give the address.',
      meta: { spec: ['S01'], ignores: { 'provision.received': 'nobody knows the link yet' } },
      on: {
        'address.received': { target: 'shown', actions: ['showLink'] },
        'provision.refused': { target: 'failed', actions: ['closeSocket'] },
        'socket.lost': 'failed',
        'linking.cancel': { target: 'failed', actions: ['closeSocket'] },
      },
    },
    shown: {
      description: 'The link is shown; the primary device has not scanned it yet.',
      meta: { spec: ['S01'], ignores: { 'address.received': 'the first address is shown already' } },
      on: {
        'provision.received': { target: 'storing', actions: ['closeSocket'] },
        'provision.refused': { target: 'failed', actions: ['closeSocket'] },
        'socket.lost': 'failed',
        'linking.cancel': { target: 'failed', actions: ['closeSocket'] },
      },
    },
    storing: {
      description: 'Identity, password and first keys are stored.',
      meta: {
        spec: ['S01', 'S11'],
        ignores: {
          'address.received': 'scanned already',
          'provision.received': 'the first one counts',
          'provision.refused': 'the first one counts',
          'socket.lost': 'it is not needed any more',
          'linking.cancel': 'the code is about to be spent: it is finished first',
        },
      },
      invoke: {
        src: 'storeAccount',
        input: ({ context }) => ({ deviceName: context.deviceName }),
        onDone: 'registering',
        onError: 'failed',
      },
    },
    registering: {
      description: 'The server is told of the device.',
      meta: {
        spec: ['S01'],
        ignores: {
          'address.received': 'scanned already',
          'provision.received': 'the first one counts',
          'provision.refused': 'the first one counts',
          'socket.lost': 'it is not needed any more',
          'linking.cancel': 'the server may know the device already',
        },
      },
      invoke: {
        src: 'register',
        onDone: 'uploading',
        onError: { target: 'failed', actions: ['forgetAccount'] },
      },
    },
    uploading: {
      description: 'Prekeys for ACI and PNI are uploaded; the device is linked already.',
      meta: {
        spec: ['S01'],
        ignores: {
          'address.received': 'scanned already',
          'provision.received': 'the first one counts',
          'provision.refused': 'the first one counts',
          'socket.lost': 'the upload answers for itself',
          'linking.cancel': 'the device is linked already',
        },
      },
      invoke: {
        src: 'uploadKeys',
        onDone: 'linked',
        // The upkeep of the running channel uploads them.
        onError: 'linked',
      },
    },
    linked: {
      description: 'Done.',
      meta: {
        spec: ['S01'],
        ignores: {
          'address.received': 'linked already',
          'provision.received': 'linked already',
          'provision.refused': 'linked already',
          'socket.lost': 'linked already',
          'linking.cancel': 'linked already',
        },
      },
    },
    failed: {
      description: 'Given up: a new link is needed.',
      meta: {
        spec: ['S01'],
        ignores: {
          'address.received': 'given up',
          'provision.received': 'given up',
          'provision.refused': 'given up',
          'socket.lost': 'given up',
          'linking.cancel': 'given up already',
        },
      },
    },
  },
})
