import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SndQueueEvent, sentMessageTypes, sndQueueMachine } from '../../machines/index.js'
import { decided } from './decisions.js'
import { anyEvent } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const event = anyEvent<SndQueueEvent>(sndQueueMachine)
const sequences = fc.array(event, { maxLength: 60 })

describe('sndQueue', () => {
  it('B41 B43 B44 a delivery ends sent, expired or failed exactly once, however many attempts it takes', () => {
    const answers = event.filter(one => 'messageType' in one)
    fc.assert(
      fc.property(
        sequences,
        fc.constantFrom(...sentMessageTypes),
        fc.array(answers, { maxLength: 30 }),
        (life, messageType, attempts) => {
          let state = 'new'
          for (const one of life) if (one.type !== 'queue.deleted') state = decided(sndQueueMachine, state, one).to
          const told: string[] = []
          for (const answer of attempts) {
            const { to, intents } = decided(sndQueueMachine, state, { ...answer, messageType } as SndQueueEvent)
            state = to
            const ended = intents.includes('dropMessage') || intents.includes('keepForReceipt')
            const again = intents.includes('retryFast') || intents.includes('retrySlow')
            expect(ended).toBe(!again)
            told.push(...intents.filter(intent => /^(notify(Sent|Failed|NotAvailable)|queueError|refuse)/.test(intent)))
            if (again) expect(told).toEqual([])
            if (!ended) continue
            // What the user sent is told of; nothing is told as both sent and failed.
            if (messageType === 'A_MSG') expect(told).toHaveLength(1)
            expect(told.includes('notifySent') && told.length > 1).toBe(false)
            break
          }
        },
      ),
      fuzzRuns(200),
    )
  })

  it('B44 the status of a queue only rises, and nothing but its deletion disables it', () => {
    const order = ['new', 'secured', 'confirmed', 'active', 'disabled']
    fc.assert(
      fc.property(sequences, sequence => {
        let state = 'new'
        for (const one of sequence) {
          const { to, intents } = decided(sndQueueMachine, state, one)
          expect(order.indexOf(to)).toBeGreaterThanOrEqual(order.indexOf(state))
          if (state !== 'disabled') expect(to === 'disabled').toBe(one.type === 'queue.deleted')
          else expect(intents).toEqual([])
          state = to
        }
      }),
      fuzzRuns(100),
    )
  })
})
