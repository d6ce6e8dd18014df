import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SubscriptionEvent, subscriptionMachine } from '../../machines/index.js'
import { story } from './decisions.js'
import { anyEvent } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const sequences = fc.array(anyEvent<SubscriptionEvent>(subscriptionMachine), { maxLength: 80 })

describe('subscription', () => {
  it('B60 UP and DOWN alternate, whatever happens: no UP without a DOWN, END or deletion before, no DOWN without an UP', () => {
    fc.assert(
      fc.property(sequences, sequence => {
        let up = false
        for (const { intents, to } of story(subscriptionMachine, 'removed', ...sequence).steps) {
          for (const intent of intents) {
            if (intent === 'notifyUp') expect(up).toBe(false)
            if (intent === 'notifyDown') expect(up).toBe(true)
            if (intent === 'notifyUp') up = true
            else if (['notifyDown', 'notifyEnd', 'notifyDeleted', 'notifyError'].includes(intent)) up = false
          }
          expect(up).toBe(to === 'active')
        }
      }),
      fuzzRuns(200),
    )
  })

  it('B69 SUB and GET exclude each other: none is sent where the other one holds', () => {
    fc.assert(
      fc.property(sequences, sequence => {
        let state = 'removed'
        for (const { intents, to } of story(subscriptionMachine, state, ...sequence).steps) {
          if (intents.includes('sendGet')) expect(['removed', 'getting']).toContain(state)
          if (intents.includes('sendSub')) expect(['removed', 'pending']).toContain(state)
          state = to
        }
      }),
      fuzzRuns(100),
    )
  })
})
