import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type RcvQueueEvent, rcvQueueMachine } from '../../machines/index.js'
import { decided } from './decisions.js'
import { anyEvent } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const sequences = fc.array(anyEvent<RcvQueueEvent>(rcvQueueMachine), { maxLength: 60 })

describe('rcvQueue', () => {
  it('B30 B31 one confirmation is processed in the life of a queue, messages only behind it, and each arrival has one outcome', () => {
    fc.assert(
      fc.property(sequences, fc.boolean(), (sequence, securable) => {
        let state = 'new'
        let secret = false
        for (const event of sequence) {
          // Rows: the secret is stored with the confirmation, and queue.confirmed tells of that.
          if (event.type === 'queue.confirmed' && !secret) continue
          const { to, intents } = decided(rcvQueueMachine, state, event, { secret, securable })
          expect(intents).toHaveLength(event.type === 'message.arrived' ? 1 : 0)
          if (intents.includes('processConfirmation')) {
            expect(secret).toBe(false)
            secret = true
          }
          if (intents.some(intent => intent === 'processMessage' || intent === 'processRatchetKey'))
            expect(secret).toBe(true)
          if (state === 'disabled')
            expect([to, intents.filter(intent => intent !== 'acknowledge')]).toEqual(['disabled', []])
          state = to
        }
      }),
      fuzzRuns(100),
    )
  })

  it('B33 the status of a queue only rises', () => {
    const order = ['new', 'confirmed', 'secured', 'active', 'disabled']
    fc.assert(
      fc.property(sequences, fc.boolean(), fc.boolean(), (sequence, secret, securable) => {
        let state = 'new'
        for (const event of sequence) {
          const { to } = decided(rcvQueueMachine, state, event, { secret, securable })
          expect(order.indexOf(to)).toBeGreaterThanOrEqual(order.indexOf(state))
          state = to
        }
      }),
      fuzzRuns(40),
    )
  })
})
