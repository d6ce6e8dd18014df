import { describe, expect, it } from 'vitest'
import {
  type RcvQueueSwitchEvent,
  rcvQueueSwitchMachine,
  type SndQueueSwitchEvent,
  sndQueueSwitchMachine,
} from '../../machines/index.js'
import { decided, story } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

const rcv = (state: string, event: RcvQueueSwitchEvent) => decided(rcvQueueSwitchMachine, state, event)
const snd = (state: string, event: SndQueueSwitchEvent) => decided(sndQueueSwitchMachine, state, event)
const offered = { type: 'queue.offered', queue: 'new' } as const
const start = { type: 'switch.start', synchronized: true } as const
const abort = { type: 'switch.abort', synchronized: true } as const
const rcvPhases = ['started', 'sendingQADD', 'sendingQUSE', 'receivedMessage'] as const

describe('queueSwitch', () => {
  it('B70 receiver: QADD, QKEY, KEY, QUSE, first message, deletion: told as started, confirmed, secured, completed', () => {
    const { state, steps } = story(
      rcvQueueSwitchMachine,
      'idle',
      start,
      { type: 'queue.created' },
      { type: 'key.received', known: false },
      { type: 'queue.secured' },
      { type: 'message.received' },
      { type: 'queue.deleted' },
    )
    expect(state).toBe('completed')
    expect(steps.map(step => step.intents)).toEqual([
      ['createQueue'],
      ['sendQADD', 'notifySwitch: started'],
      ['storeKey', 'notifySwitch: confirmed'],
      ['sendQUSE', 'notifySwitch: secured'],
      ['commandDeleteOld'],
      ['removeOld', 'notifySwitch: completed'],
    ])
  })

  it('B70 B73 B78 sender: QADD, QKEY, QUSE: what waits goes to the new queue ahead of QTEST, which ends the old one', () => {
    const { state, steps } = story(
      sndQueueSwitchMachine,
      'idle',
      offered,
      { type: 'key.sent' },
      { type: 'queue.used' },
      { type: 'test.sent' },
    )
    expect(state).toBe('completed')
    expect(steps.map(step => step.intents)).toEqual([
      ['storeQueue', 'sendQKEY', 'notifySwitch: started'],
      ['notifySwitch: confirmed'],
      ['drainToNew', 'sendQTEST', 'notifySwitch: secured'],
      ['removeOld', 'notifySwitch: completed'],
    ])
  })

  it('B71 another QADD replaces the queue that was offered before; the same one again is answered with QKEY again', () => {
    expect(snd('sendingQKEY', offered)).toEqual({
      to: 'sendingQKEY',
      intents: ['storeQueue', 'sendQKEY', 'notifySwitch: started'],
    })
    expect(snd('sendingQKEY', { type: 'queue.offered', queue: 'known' }).intents).toEqual(['sendQKEY'])
    expect(snd('sendingQTEST', offered)).toEqual({ to: 'sendingQTEST', intents: ['queueError'] })
    expect(snd('idle', { type: 'queue.offered', queue: 'known' }).intents).toEqual(['queueError'])
  })

  it('B70 QUSE without a switch is a queue error and starts none', () => {
    expect(snd('idle', { type: 'queue.used' })).toEqual({ to: 'idle', intents: ['queueError'] })
  })

  it('B72 QKEY counts only while QADD is being sent; after an abort it is a queue error; the same key again changes nothing', () => {
    for (const state of ['idle', 'started', 'sendingQUSE', 'receivedMessage']) {
      expect(rcv(state, { type: 'key.received', known: false })).toEqual({ to: state, intents: ['queueError'] })
    }
    for (const state of ['sendingQADD', 'sendingQUSE', 'receivedMessage']) {
      expect(rcv(state, { type: 'key.received', known: true })).toEqual({ to: state, intents: [] })
    }
  })

  it('B75 an abort is allowed while started or sending QADD, and refused after', () => {
    for (const state of ['started', 'sendingQADD'])
      expect(rcv(state, abort)).toEqual({ to: 'idle', intents: ['dropNewQueue'] })
    for (const state of ['idle', 'sendingQUSE', 'receivedMessage']) {
      const { to, intents } = rcv(state, abort)
      expect(to).toBe(state)
      expect(intents[0]).toMatch(/^refuse: /)
    }
  })

  it('B75 one switch at a time', () => {
    for (const state of rcvPhases)
      expect(rcv(state, start)).toEqual({ to: state, intents: ['refuse: the connection is switching already'] })
  })

  it('B76 neither start nor abort while the ratchet is not synchronized', () => {
    const refusal = ['refuse: the ratchet is not synchronized']
    expect(rcv('idle', { ...start, synchronized: false })).toEqual({ to: 'idle', intents: refusal })
    for (const state of ['started', 'sendingQADD']) {
      expect(rcv(state, { ...abort, synchronized: false })).toEqual({ to: state, intents: refusal })
    }
  })

  it('B76 after a synchronisation each phase says its last message again, and changes nothing else', () => {
    const ended = { type: 'sync.ended' } as const
    expect(rcvPhases.map(state => rcv(state, ended))).toEqual([
      { to: 'started', intents: [] },
      { to: 'sendingQADD', intents: ['sendQADD'] },
      { to: 'sendingQUSE', intents: ['sendQUSE'] },
      { to: 'receivedMessage', intents: [] },
    ])
    expect(snd('sendingQKEY', ended)).toEqual({ to: 'sendingQKEY', intents: ['sendQKEY'] })
    expect(snd('sendingQTEST', ended)).toEqual({ to: 'sendingQTEST', intents: ['sendQTEST'] })
  })

  it('B77 a new queue that is lost leaves the old one in use, at both parties', () => {
    for (const state of ['started', 'sendingQADD', 'sendingQUSE']) {
      expect(rcv(state, { type: 'queue.lost' })).toEqual({ to: 'idle', intents: ['dropNewQueue', 'notifyLost'] })
    }
    for (const state of ['sendingQKEY', 'sendingQTEST']) {
      expect(snd(state, { type: 'queue.lost' })).toEqual({ to: 'idle', intents: ['dropNewQueue', 'notifyLost'] })
    }
  })
})

takesEveryTransition(rcvQueueSwitchMachine)
takesEveryTransition(sndQueueSwitchMachine)
