import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type RcvQueueSwitchEvent,
  rcvQueueSwitchMachine,
  type SndQueueSwitchEvent,
  sndQueueSwitchMachine,
} from '../../machines/index.js'
import { story } from './decisions.js'
import { anyEvent } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const rcvEvents = fc.array(anyEvent<RcvQueueSwitchEvent>(rcvQueueSwitchMachine), { maxLength: 40 })
const sndEvents = fc.array(anyEvent<SndQueueSwitchEvent>(sndQueueSwitchMachine), { maxLength: 40 })

/** How many of the intents are one of these. */
const count = (intents: readonly string[], ...names: string[]): number =>
  intents.filter(intent => names.includes(intent)).length

describe('queueSwitch', () => {
  it('B76 no mix of events leaves a switch without a way to its end', () => {
    const wayOut: Record<string, RcvQueueSwitchEvent[]> = {
      idle: [],
      started: [{ type: 'queue.lost' }],
      sendingQADD: [{ type: 'queue.secured' }, { type: 'message.received' }, { type: 'queue.deleted' }],
      sendingQUSE: [{ type: 'message.received' }, { type: 'queue.deleted' }],
      receivedMessage: [{ type: 'queue.deleted' }],
      completed: [],
    }
    fc.assert(
      fc.property(rcvEvents, events => {
        const { state } = story(rcvQueueSwitchMachine, 'idle', ...events)
        const end = story(rcvQueueSwitchMachine, state, ...(wayOut[state] ?? []))
        expect(['idle', 'completed']).toContain(end.state)
      }),
      fuzzRuns(40),
    )
  })

  it('B70 B75 B77 a switch that has begun ends once: completed, or its new queue dropped because it was aborted or lost', () => {
    fc.assert(
      fc.property(rcvEvents, events => {
        const { state, steps } = story(rcvQueueSwitchMachine, 'idle', ...events)
        const intents = steps.flatMap(step => step.intents)
        const ended = count(intents, 'dropNewQueue') + count(intents, 'notifySwitch: completed')
        const underWay = state !== 'idle' && state !== 'completed'
        expect(count(intents, 'createQueue')).toBe(ended + (underWay ? 1 : 0))
        expect(count(intents, 'notifySwitch: completed', 'removeOld')).toBe(state === 'completed' ? 2 : 0)
        // The old queue is deleted only when the other party is known to use the new one.
        const used = intents.indexOf('commandDeleteOld')
        if (count(intents, 'removeOld') > 0) expect(used).toBeGreaterThan(-1)
        if (used > -1) expect(count(intents.slice(used), 'dropNewQueue')).toBe(0)
      }),
      fuzzRuns(100),
    )
  })

  it('B70 B77 the party that sends removes its old queue only behind QTEST, and once', () => {
    fc.assert(
      fc.property(sndEvents, events => {
        const { state, steps } = story(sndQueueSwitchMachine, 'idle', ...events)
        const intents = steps.flatMap(step => step.intents)
        expect(count(intents, 'removeOld', 'notifySwitch: completed')).toBe(state === 'completed' ? 2 : 0)
        if (state === 'completed') {
          expect(intents.lastIndexOf('sendQTEST')).toBeGreaterThan(intents.lastIndexOf('drainToNew'))
          expect(intents.indexOf('removeOld')).toBeGreaterThan(intents.lastIndexOf('sendQTEST'))
        }
        expect(count(intents, 'drainToNew')).toBeLessThanOrEqual(count(intents, 'storeQueue'))
      }),
      fuzzRuns(100),
    )
  })
})
