import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ConnectionEvent, connectionMachine } from '../../machines/index.js'
import { decided, story } from './decisions.js'
import { anyEvent } from './random.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const event = anyEvent<ConnectionEvent>(connectionMachine)
const sequences = fc.array(event, { maxLength: 60 })

describe('connection', () => {
  it('B11 B12 CONF, INFO and CON are told at most once each, whatever comes in whatever order', () => {
    fc.assert(
      fc.property(sequences, sequence => {
        const { steps } = story(connectionMachine, 'new', ...sequence)
        const intents = steps.flatMap(step => step.intents)
        for (const once of ['notifyConf', 'notifyInfo', 'notifyCon', 'enqueueHello', 'storeConfirmation']) {
          expect(intents.filter(intent => intent === once).length).toBeLessThanOrEqual(1)
        }
        if (intents.includes('notifyCon')) {
          const told = intents.indexOf('notifyCon')
          const enqueued = intents.indexOf('enqueueHello')
          const allowed = Math.max(intents.indexOf('commandAllowSecure'), intents.indexOf('commandSecureReceive'))
          expect(Math.max(intents.indexOf('notifyInfo'), allowed, enqueued)).toBeLessThan(told)
          expect(intents.slice(0, told).some(intent => intent === 'notifyInfo' || intent === 'notifyConf')).toBe(true)
        }
      }),
      fuzzRuns(200),
    )
  })

  it('B11 B15 a step is commanded once, unless a router has refused it for good', () => {
    const isRepeated = (one: ConnectionEvent) => 'stopped' in one && one.stopped
    const fresh = event.filter(one => !isRepeated(one) && one.type !== 'queue.secured')
    fc.assert(
      fc.property(fc.array(fresh, { maxLength: 60 }), sequence => {
        const intents = story(connectionMachine, 'new', ...sequence).steps.flatMap(step => step.intents)
        const commands = intents.filter(intent => intent.startsWith('command'))
        expect(commands.length).toBe(new Set(commands).size)
      }),
      fuzzRuns(200),
    )
  })

  it('B11 a connection that is complete takes messages and never again anything of a handshake', () => {
    const handshake =
      /^(command(?!FinishDeletion)|enqueue|notify(Conf|Info|Con|Not|Req)|store|createRatchet|accept(?!Message))/
    fc.assert(
      fc.property(sequences, after => {
        for (const { intents, to } of story(connectionMachine, 'connected', ...after).steps) {
          expect(intents.filter(intent => handshake.test(intent))).toEqual([])
          expect(['connected', 'closing', 'deleted']).toContain(to)
        }
      }),
      fuzzRuns(40),
    )
  })

  it('B90 a deletion ends in deleted, whatever came before it and comes after it; its queues are deleted once', () => {
    fc.assert(
      fc.property(sequences, fc.boolean(), sequences, (before, waiting, after) => {
        const { state } = story(connectionMachine, 'new', ...before)
        const start = ['closing', 'deleted'].includes(state) ? 'new' : state
        const { steps } = story(connectionMachine, start, { type: 'connection.delete', waiting }, ...after)
        const end = decided(connectionMachine, steps.at(-1)?.to ?? start, { type: 'connection.delete', waiting: false })
        expect(end.to).toBe('deleted')
        const intents = [...steps.flatMap(step => step.intents), ...end.intents]
        expect(intents.filter(intent => intent === 'deleteQueues')).toHaveLength(1)
        expect(intents.filter(intent => intent === 'dropDeliveries')).toHaveLength(1)
      }),
      fuzzRuns(40),
    )
  })
})
