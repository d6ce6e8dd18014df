import { initialTransition } from 'xstate'
import { describe, expect, it } from 'vitest'
import { type RcvQueueEvent, rcvQueueMachine } from '../../machines/index.js'
import { decided } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

type Envelope = Extract<RcvQueueEvent, { type: 'message.arrived' }>['envelope']

const envelopes: readonly Envelope[] = ['confirmation', 'message', 'invitation', 'ratchetKey', 'sealed']
const arrived = (key: boolean, envelope: Envelope, senderKey = false): RcvQueueEvent => ({
  type: 'message.arrived',
  key,
  senderKey,
  envelope,
})

const table = (
  state: string,
  secret: boolean,
  key: boolean,
  { senderKey = false, securable = true } = {},
): Record<string, string> =>
  Object.fromEntries(
    envelopes.map(envelope => {
      const context = { secret, securable }
      const { to, intents } = decided(rcvQueueMachine, state, arrived(key, envelope, senderKey), context)
      return [envelope, `${intents.join()} → ${to}`]
    }),
  )

describe('rcvQueue', () => {
  it('B30 a queue begins without a secret, and its sender can secure it', () => {
    const [start] = initialTransition(rcvQueueMachine)
    expect([start.value, start.context]).toEqual(['new', { secret: false, securable: true }])
  })

  it('B30 handshake (no secret, a key): confirmation or invitation', () => {
    expect(table('new', false, true)).toEqual({
      confirmation: 'processConfirmation → new',
      invitation: 'processInvitation → new',
      message: 'prohibited: handshake: incorrect state → new',
      ratchetKey: 'prohibited: handshake: incorrect state → new',
      sealed: 'prohibited: handshake: incorrect state → new',
    })
  })

  it('B12 B30 a confirmation to a queue that its sender cannot secure must bring the sender’s key; an invitation never does', () => {
    const withoutKey = table('new', false, true, { securable: false })
    expect(withoutKey['confirmation']).toBe('prohibited: handshake: missing sender key → new')
    expect(withoutKey['invitation']).toBe('processInvitation → new')
    for (const securable of [false, true]) {
      const withKey = table('new', false, true, { securable, senderKey: true })
      expect(withKey['confirmation']).toBe('processConfirmation → new')
      expect(withKey['invitation']).toBe('prohibited: handshake: incorrect state → new')
    }
  })

  it('B30 an established queue takes no message with a sender key; a repeated confirmation may have one', () => {
    for (const state of ['confirmed', 'secured', 'active']) {
      const outcomes = table(state, true, false, { senderKey: true, securable: false })
      for (const outcome of Object.values(outcomes))
        expect(outcome).toBe(`prohibited: message: bad client message → ${state}`)
      expect(table(state, true, true, { senderKey: true, securable: false })['confirmation']).toBe(
        `acknowledge → ${state}`,
      )
    }
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
            for (const senderKey of [false, true]) {
              for (const securable of [false, true]) {
                const event = arrived(key, envelope, senderKey)
                const { intents } = decided(rcvQueueMachine, state, event, { secret, securable })
                expect(intents).toHaveLength(1)
              }
            }
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

  it('B30 a new queue whose sender’s key the router knows is secured', () => {
    expect(decided(rcvQueueMachine, 'new', { type: 'queue.secured' })).toEqual({ to: 'secured', intents: [] })
  })
})

takesEveryTransition(rcvQueueMachine)
