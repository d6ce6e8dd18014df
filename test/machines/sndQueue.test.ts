import { describe, expect, it } from 'vitest'
import { type SentMessageType, sentMessageTypes as types, sndQueueMachine } from '../../machines/index.js'
import { decided } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

const flags = [false, true] as const
const live = ['new', 'secured', 'confirmed', 'active'] as const
const confirmations = ['CONN_INFO', 'CONN_INFO_REPLY'] as const
const rotation = ['QADD', 'QKEY', 'QUSE', 'QTEST'] as const
/** Messages of the user, and what the agents say to each other about them. */
const conversation = ['A_MSG', 'A_RCVD', 'A_QCONT', 'EREADY'] as const

const sent = (state: string, messageType: SentMessageType, securable = true) =>
  decided(sndQueueMachine, state, { type: 'message.sent', messageType, securable })

const isRotation = (type: SentMessageType): boolean => (rotation as readonly string[]).includes(type)
const expiry = (type: SentMessageType): string[] => [
  'dropMessage',
  isRotation(type) ? 'queueError' : 'notifyFailed',
  'dropExpired',
]

describe('sndQueue', () => {
  it('B44 the last confirmation of the fast handshake makes the queue active and is told to the connection', () => {
    expect(decided(sndQueueMachine, 'new', { type: 'queue.secured' })).toEqual({ to: 'secured', intents: [] })
    for (const state of ['new', 'secured']) {
      expect(sent(state, 'CONN_INFO', true)).toEqual({ to: 'active', intents: ['dropMessage', 'confirmSent'] })
    }
  })

  it('B44 the confirmation of the slow handshake, or with a reply queue, leaves the queue confirmed', () => {
    expect(sent('new', 'CONN_INFO', false)).toEqual({ to: 'confirmed', intents: ['dropMessage', 'confirmSent'] })
    for (const state of ['new', 'secured']) {
      for (const securable of flags) {
        expect(sent(state, 'CONN_INFO_REPLY', securable)).toEqual({
          to: 'confirmed',
          intents: ['dropMessage', 'confirmSent'],
        })
      }
    }
  })

  it('B44 HELLO makes the queue active', () => {
    for (const state of live)
      expect(sent(state, 'HELLO')).toEqual({ to: 'active', intents: ['dropMessage', 'helloSent'] })
  })

  it('B44 a message is told as SENT; the first one makes a confirmed queue active', () => {
    for (const securable of flags) {
      for (const [state, to] of [
        ['new', 'new'],
        ['secured', 'secured'],
        ['confirmed', 'active'],
        ['active', 'active'],
      ] as const) {
        expect(sent(state, 'A_MSG', securable)).toEqual({ to, intents: ['keepForReceipt', 'notifySent'] })
      }
    }
  })

  it('B44 what the agents say to each other is told to nobody and changes no state', () => {
    for (const state of live) {
      for (const type of ['RATCHET_INFO', 'A_RCVD', 'A_QCONT', 'QADD', 'QUSE', 'EREADY'] as const) {
        for (const securable of flags) {
          expect(sent(state, type, securable)).toEqual({ to: state, intents: ['dropMessage'] })
        }
      }
    }
  })

  it('B44 QKEY and QTEST are told to the rotation, and QTEST makes its queue active', () => {
    for (const state of live) {
      expect(sent(state, 'QKEY')).toEqual({ to: state, intents: ['dropMessage', 'confirmSwitch'] })
      expect(sent(state, 'QTEST')).toEqual({ to: 'active', intents: ['dropMessage', 'completeSwitch'] })
    }
  })

  it('B44 a confirmation that is sent twice, because its answer was lost, takes nothing back', () => {
    for (const type of confirmations) {
      expect(sent('confirmed', type)).toEqual({ to: 'confirmed', intents: ['dropMessage', 'confirmSent'] })
      expect(sent('active', type)).toEqual({ to: 'active', intents: ['dropMessage', 'confirmSent'] })
    }
  })

  it('B48 what was sent leaves the queue: a message of the user stays for its receipt, everything else goes', () => {
    for (const state of live) {
      for (const type of types) {
        const { intents } = sent(state, type)
        expect(intents.includes('keepForReceipt')).toBe(type === 'A_MSG')
        expect(intents.includes('dropMessage')).toBe(type !== 'A_MSG')
      }
    }
  })

  it('B42 AUTH: by type to the connection, to the handshake, or as the failure of the message', () => {
    for (const state of live) {
      const auth = (messageType: SentMessageType) =>
        decided(sndQueueMachine, state, { type: 'message.unauthorized', messageType }).intents
      for (const type of confirmations) expect(auth(type)).toEqual(['dropMessage', 'refuseConfirmation'])
      expect(auth('HELLO')).toEqual(['dropMessage', 'refuseHello'])
      expect(auth('RATCHET_INFO')).toEqual(['dropMessage', 'notifyNotAvailable'])
      for (const type of conversation) expect(auth(type)).toEqual(['dropMessage', 'notifyFailed'])
      for (const type of rotation) expect(auth(type)).toEqual(['dropMessage', 'queueError'])
    }
  })

  it('B41 QUOTA: slow retry with a warning, after the timeout this message and the expired behind it; no confirmation waits for quota', () => {
    for (const state of live) {
      const quota = (messageType: SentMessageType, expired: boolean) =>
        decided(sndQueueMachine, state, { type: 'message.overQuota', messageType, expired }).intents
      for (const type of confirmations) {
        for (const expired of flags) expect(quota(type, expired)).toEqual(['dropMessage', 'refuseConfirmation'])
      }
      for (const type of ['RATCHET_INFO', 'HELLO', ...conversation, ...rotation] as const) {
        expect(quota(type, false)).toEqual(['warn', 'retrySlow'])
        expect(quota(type, true)).toEqual(expiry(type))
      }
    }
  })

  it('B43 network errors: silent fast retry, a warning when it is the router’s host, expiry in bulk', () => {
    for (const state of live) {
      for (const messageType of types) {
        const unreached = (host: boolean, expired: boolean) =>
          decided(sndQueueMachine, state, { type: 'message.unreached', messageType, host, expired }).intents
        expect(unreached(false, false)).toEqual(['retryFast'])
        expect(unreached(true, false)).toEqual(['warn', 'retryFast'])
        for (const host of flags) expect(unreached(host, true)).toEqual(expiry(messageType))
      }
    }
  })

  it('B43 any other error is final and told', () => {
    for (const state of live) {
      for (const messageType of types) {
        const { to, intents } = decided(sndQueueMachine, state, { type: 'message.failed', messageType })
        expect(to).toBe(state)
        expect(intents.slice(0, 2)).toEqual(['dropMessage', isRotation(messageType) ? 'queueError' : 'notifyFailed'])
      }
    }
  })

  it('B43 every answer of a router either ends the message or says how to wait: nothing is left standing', () => {
    for (const state of live) {
      for (const messageType of types) {
        for (const flag of flags) {
          for (const event of [
            { type: 'message.sent', messageType, securable: flag },
            { type: 'message.unauthorized', messageType },
            { type: 'message.overQuota', messageType, expired: flag },
            { type: 'message.unreached', messageType, expired: flag, host: flag },
            { type: 'message.failed', messageType },
          ] as const) {
            const { intents } = decided(sndQueueMachine, state, event)
            const ends = intents.filter(intent =>
              ['dropMessage', 'keepForReceipt', 'retryFast', 'retrySlow'].includes(intent),
            )
            expect(ends, `${state} ${JSON.stringify(event)}`).toHaveLength(1)
          }
        }
      }
    }
  })

  it('B15 SKEY repeated with the same key changes nothing; a disabled queue does nothing at all', () => {
    for (const state of ['secured', 'confirmed', 'active']) {
      expect(decided(sndQueueMachine, state, { type: 'queue.secured' })).toEqual({ to: state, intents: [] })
    }
    for (const messageType of types) {
      expect(decided(sndQueueMachine, 'disabled', { type: 'message.sent', messageType, securable: true })).toEqual({
        to: 'disabled',
        intents: [],
      })
    }
  })

  it('B90 a queue that is deleted is disabled, from every state', () => {
    for (const state of [...live, 'disabled']) {
      expect(decided(sndQueueMachine, state, { type: 'queue.deleted' })).toEqual({ to: 'disabled', intents: [] })
    }
  })
})

takesEveryTransition(sndQueueMachine)
