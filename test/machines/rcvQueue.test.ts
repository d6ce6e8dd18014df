import { describe, expect, it } from 'vitest'
import { type RcvQueueEvent, rcvQueueMachine } from '../../machines/index.js'
import { decided } from './decisions.js'

type Envelope = Extract<RcvQueueEvent, { type: 'message.arrived' }>['envelope']

const envelopes: readonly Envelope[] = ['confirmation', 'message', 'invitation', 'ratchetKey', 'sealed']
const arrived = (key: boolean, envelope: Envelope): RcvQueueEvent => ({ type: 'message.arrived', key, envelope })

const table = (state: string, secret: boolean, key: boolean): Record<string, string> =>
  Object.fromEntries(
    envelopes.map(envelope => {
      const { to, intents } = decided(rcvQueueMachine, state, arrived(key, envelope), { secret })
      return [envelope, `${intents.join()} → ${to}`]
    }),
  )

describe('rcvQueue', () => {
  it('B30 handshake (no secret, a key): confirmation or invitation', () => {
    expect(table('new', false, true)).toEqual({
      confirmation: 'processConfirmation → new',
      invitation: 'processInvitation → new',
      message: 'prohibited: handshake: incorrect state → new',
      ratchetKey: 'prohibited: handshake: incorrect state → new',
      sealed: 'prohibited: handshake: incorrect state → new',
    })
  })

  it('B30 established (a secret, no key): messages and ratchet keys; the first message makes the queue active (B33)', () => {
    for (const state of ['confirmed', 'secured', 'active']) {
      expect(table(state, true, false)).toEqual({
        message: 'processMessage → active',
        ratchetKey: `processRatchetKey → ${state}`,
        confirmation: `prohibited: message: bad client message → ${state}`,
        invitation: `prohibited: message: bad client message → ${state}`,
        sealed: `prohibited: message: bad client message → ${state}`,
      })
    }
  })

  it('B30 repeated confirmation (a secret and a key): it is acknowledged again and nothing else; other public headers are errors', () => {
    for (const state of ['confirmed', 'secured', 'active']) {
      expect(table(state, true, true)).toEqual({
        confirmation: `acknowledge → ${state}`,
        message: `prohibited: message: public header → ${state}`,
        invitation: `prohibited: message: public header → ${state}`,
        ratchetKey: `prohibited: message: public header → ${state}`,
        sealed: `prohibited: message: public header → ${state}`,
      })
    }
  })

  it('B30 error (no secret, no key): nobody could have encrypted it', () => {
    for (const state of ['new', 'confirmed', 'secured', 'active']) {
      for (const outcome of Object.values(table(state, false, false))) {
        expect(outcome).toBe(`prohibited: no keys → ${state}`)
      }
    }
  })

  it('B31 every message comes to exactly one outcome, so that each is either processed, acknowledged or reported', () => {
    for (const state of ['new', 'confirmed', 'secured', 'active', 'disabled']) {
      for (const secret of [false, true]) {
        for (const key of [false, true]) {
          for (const envelope of envelopes) {
            const { intents } = decided(rcvQueueMachine, state, arrived(key, envelope), { secret })
            expect(intents).toHaveLength(1)
          }
        }
      }
    }
  })

  it('B31 what a disabled queue still gets is acknowledged and not looked at', () => {
    for (const secret of [false, true]) {
      for (const key of [false, true]) {
        for (const outcome of Object.values(table('disabled', secret, key)))
          expect(outcome).toBe('acknowledge → disabled')
      }
    }
  })

  it('B15 a queue is confirmed and secured once; repetitions change nothing, and nothing but its deletion disables it', () => {
    expect(decided(rcvQueueMachine, 'new', { type: 'queue.confirmed' }).to).toBe('confirmed')
    expect(decided(rcvQueueMachine, 'confirmed', { type: 'queue.secured' }).to).toBe('secured')
    for (const state of ['secured', 'active']) {
      expect(decided(rcvQueueMachine, state, { type: 'queue.secured' })).toEqual({ to: state, intents: [] })
      expect(decided(rcvQueueMachine, state, { type: 'queue.confirmed' })).toEqual({ to: state, intents: [] })
    }
    for (const state of ['new', 'confirmed', 'secured', 'active', 'disabled']) {
      expect(decided(rcvQueueMachine, state, { type: 'queue.deleted' })).toEqual({ to: 'disabled', intents: [] })
    }
  })
})
