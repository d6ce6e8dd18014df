import { describe, expect, it } from 'vitest'
import { isSendProhibited, type RatchetSyncEvent, ratchetSyncMachine, type SyncRole } from '../../machines/index.js'
import { decided } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

const states = ['ok', 'allowed', 'required', 'restored', 'started', 'agreed'] as const
const after = (state: string, event: RatchetSyncEvent) => decided(ratchetSyncMachine, state, event)
const key = (role: SyncRole) => ({ type: 'key.received', role }) as const

describe('ratchetSync', () => {
  it('B36 an error of decryption allows or requires a synchronisation, and changes nothing while one is under way', () => {
    for (const state of ['ok', 'allowed', 'required']) {
      for (const need of ['allowed', 'required'] as const) {
        expect(after(state, { type: 'message.undecryptable', need })).toEqual({
          to: need,
          intents: ['notifySyncError'],
        })
      }
    }
    for (const state of ['restored', 'started', 'agreed']) {
      expect(after(state, { type: 'message.undecryptable', need: 'required' })).toEqual({ to: state, intents: [] })
    }
  })

  it('B37 a message that decrypts ends it, but not from started, nor after a restored backup', () => {
    for (const state of ['allowed', 'required', 'agreed']) {
      expect(after(state, { type: 'message.decrypted' })).toEqual({ to: 'ok', intents: ['notifySync'] })
    }
    for (const state of ['ok', 'restored', 'started']) {
      expect(after(state, { type: 'message.decrypted' })).toEqual({ to: state, intents: [] })
    }
  })

  it('B80 the user starts from allowed and required, and with force from any state', () => {
    for (const state of states) {
      const started = { to: 'started', intents: ['sendKey', 'notifySync'] }
      expect(after(state, { type: 'sync.start', force: true })).toEqual(started)
      const { to, intents } = after(state, { type: 'sync.start', force: false })
      if (['allowed', 'required', 'restored'].includes(state)) expect({ to, intents }).toEqual(started)
      else expect([to, intents[0]]).toEqual([state, expect.stringMatching(/^refuse: /)])
    }
  })

  it('B80 B81 the other party’s key is answered, or meets the keys that were sent; the order of the hashes says who sends first', () => {
    for (const state of ['ok', 'allowed', 'required', 'restored', 'started']) {
      const keys = state === 'started' ? 'useStoredKeys' : 'replyKey'
      expect(after(state, key('receiving'))).toEqual({
        to: 'agreed',
        intents: [keys, 'createReceivingRatchet', 'notifySync'],
      })
      expect(after(state, key('sending'))).toEqual({
        to: 'agreed',
        intents: [keys, 'createSendingRatchet', 'sendEREADY', 'notifySync'],
      })
    }
  })

  it('B80 a key that comes when all was agreed makes a new synchronisation necessary', () => {
    for (const role of ['receiving', 'sending'] as const) {
      expect(after('agreed', key(role))).toEqual({ to: 'required', intents: ['notifySyncError'] })
    }
  })

  it('B84 nothing is sent in required, restored, started and agreed', () => {
    expect(states.filter(isSendProhibited)).toEqual(['required', 'restored', 'started', 'agreed'])
  })

  it('B85 a restored backup requires a synchronisation', () => {
    for (const state of states) {
      expect(after(state, { type: 'backup.restored' })).toEqual({
        to: 'restored',
        intents: state === 'required' || state === 'restored' ? [] : ['notifySync'],
      })
    }
  })
})

takesEveryTransition(ratchetSyncMachine)
