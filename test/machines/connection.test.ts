import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ConnectionEvent, connectionMachine } from '../../machines/index.js'
import { decided, story } from './decisions.js'

const confirmationWithReply = { type: 'confirmation.received', form: 'infoWithReply', senderKey: false } as const
const confirmation = { type: 'confirmation.received', form: 'info', senderKey: false } as const

const events: readonly ConnectionEvent[] = [
  { type: 'queue.created' },
  { type: 'connection.join' },
  { type: 'reply.created' },
  confirmation,
  confirmationWithReply,
  { type: 'confirmation.received', form: 'info', senderKey: true },
  { type: 'confirmation.received', form: 'infoWithReply', senderKey: true },
  { type: 'connection.allow' },
  { type: 'confirmation.sent', secured: true },
  { type: 'confirmation.sent', secured: false },
  { type: 'confirmation.refused' },
  { type: 'message.send', early: true },
  { type: 'message.send', early: false },
  { type: 'message.received' },
  { type: 'connection.suspend', receives: true },
  { type: 'connection.suspend', receives: false },
  { type: 'connection.delete', waiting: true },
  { type: 'connection.delete', waiting: false },
]

describe('connection', () => {
  it('B11 initiator of the fast handshake: CONF, allow, CON when the own confirmation is at the router', () => {
    const { steps } = story(
      connectionMachine,
      'new',
      { type: 'queue.created' },
      confirmationWithReply,
      { type: 'connection.allow' },
      { type: 'confirmation.sent', secured: true },
    )
    expect(steps).toEqual([
      { to: 'rcv', intents: [] },
      { to: 'confirmed', intents: ['createRatchet', 'storeConfirmation', 'notifyConf'] },
      { to: 'allowed', intents: ['acceptConfirmation', 'commandAllowSecure'] },
      { to: 'connected', intents: ['notifyCon'] },
    ])
  })

  it('B11 joiner of the fast handshake: secures and confirms, then INFO and CON', () => {
    const { steps } = story(
      connectionMachine,
      'new',
      { type: 'connection.join' },
      { type: 'reply.created' },
      { type: 'confirmation.sent', secured: true },
      confirmation,
    )
    expect(steps).toEqual([
      { to: 'snd', intents: ['commandJoin'] },
      { to: 'joined', intents: ['enqueueReplyConfirmation'] },
      { to: 'joined', intents: [] },
      { to: 'connected', intents: ['secureReceiving', 'notifyInfo', 'notifyCon'] },
    ])
  })

  it('B11 CONF, INFO and CON are told at most once each, whatever comes in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 60 }), sequence => {
        const { steps } = story(connectionMachine, 'new', ...sequence)
        const intents = steps.flatMap(step => step.intents)
        for (const once of ['notifyConf', 'notifyInfo', 'notifyCon', 'commandAllowSecure', 'commandJoin']) {
          expect(intents.filter(intent => intent === once).length).toBeLessThanOrEqual(1)
        }
        if (intents.includes('notifyCon')) {
          const told = intents.indexOf('notifyCon')
          expect(Math.max(intents.indexOf('notifyInfo'), intents.indexOf('commandAllowSecure'))).toBeLessThan(told)
          expect(intents.slice(0, told).some(intent => intent === 'notifyInfo' || intent === 'notifyConf')).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('B11 nothing but its deletion ends a complete connection, and a deleted one stays deleted', () => {
    for (const event of events) {
      const { to } = decided(connectionMachine, 'connected', event)
      const ended = event.type === 'connection.delete' && (event.waiting ? 'closing' : 'deleted')
      expect(to).toBe(ended || 'connected')
      expect(decided(connectionMachine, 'deleted', event).to).toBe('deleted')
      expect(decided(connectionMachine, 'deleted', event).intents).not.toContain('deleteQueues')
    }
  })

  it('B13 the ratchet is made by the decision that stores the confirmation, and messages are taken before the user allows', () => {
    const { intents } = decided(connectionMachine, 'rcv', confirmationWithReply)
    expect(intents).toEqual(['createRatchet', 'storeConfirmation', 'notifyConf'])
    for (const state of ['confirmed', 'allowed']) {
      expect(decided(connectionMachine, state, { type: 'message.received' })).toEqual({
        to: state,
        intents: ['deliverMessage'],
      })
    }
  })

  it('B13 the joiner sends before CON where the other party can decrypt it; the initiator never does', () => {
    const send = (state: string, early: boolean) => decided(connectionMachine, state, { type: 'message.send', early })
    expect(send('joined', true)).toEqual({ to: 'joined', intents: ['acceptMessage'] })
    for (const state of ['new', 'rcv', 'confirmed', 'allowed', 'snd', 'deleted', 'joined']) {
      for (const early of state === 'joined' ? [false] : [false, true]) {
        expect(send(state, early)).toEqual({ to: state, intents: [expect.stringMatching(/^refuse: \S/)] })
      }
    }
    for (const early of [false, true]) expect(send('connected', early).intents).toEqual(['acceptMessage'])
  })

  it('B14 a confirmation without a sender key completes the joiner at once, receiving secured before it is told', () => {
    expect(decided(connectionMachine, 'joined', confirmation)).toEqual({
      to: 'connected',
      intents: ['secureReceiving', 'notifyInfo', 'notifyCon'],
    })
  })

  it('B14 a confirmation of another kind is refused and leaves the connection as it was', () => {
    // With a sender's key the queue must be secured first: the legacy handshake (B12), which comes later.
    const withKey = { type: 'confirmation.received', form: 'info', senderKey: true } as const
    expect(decided(connectionMachine, 'joined', withKey).to).toBe('joined')
    expect(decided(connectionMachine, 'joined', withKey).intents).toEqual([expect.stringMatching(/^refuse: /)])
    expect(decided(connectionMachine, 'joined', confirmationWithReply)).toEqual({
      to: 'joined',
      intents: ['refuse: confirmation of another kind than a joiner gets'],
    })
    expect(decided(connectionMachine, 'rcv', confirmation)).toEqual({
      to: 'rcv',
      intents: ['refuse: confirmation without a reply queue'],
    })
  })

  it('B15 repeated calls and answers change nothing', () => {
    const repeated: ReadonlyArray<readonly [string, ConnectionEvent]> = [
      ['rcv', { type: 'queue.created' }],
      ['confirmed', confirmationWithReply],
      ['allowed', { type: 'connection.allow' }],
      ['snd', { type: 'connection.join' }],
      ['joined', { type: 'reply.created' }],
      ['joined', { type: 'connection.join' }],
      ['connected', confirmation],
      ['connected', { type: 'confirmation.sent', secured: true }],
    ]
    for (const [state, event] of repeated)
      expect(decided(connectionMachine, state, event)).toEqual({ to: state, intents: [] })
  })

  it('B44 a refused confirmation is told as NOT_AVAILABLE and leaves the connection to its owner', () => {
    for (const state of ['allowed', 'joined']) {
      expect(decided(connectionMachine, state, { type: 'confirmation.refused' })).toEqual({
        to: state,
        intents: ['notifyNotAvailable'],
      })
    }
  })

  it('B44 the confirmation of a queue that the other party must secure completes nothing yet', () => {
    expect(decided(connectionMachine, 'allowed', { type: 'confirmation.sent', secured: false })).toEqual({
      to: 'allowed',
      intents: [],
    })
  })

  it('B90 deleted after what waits: its queues go at once, the rest when all is delivered or given up', () => {
    const wait = { type: 'connection.delete', waiting: true } as const
    const now = { type: 'connection.delete', waiting: false } as const
    for (const state of ['new', 'rcv', 'confirmed', 'allowed', 'snd', 'joined', 'connected']) {
      expect(story(connectionMachine, state, wait, wait, now, now, wait).steps).toEqual([
        { to: 'closing', intents: ['dropCommands', 'deleteQueues', 'commandFinishDeletion'] },
        { to: 'closing', intents: [] },
        { to: 'deleted', intents: ['dropDeliveries', 'finishDeletion'] },
        { to: 'deleted', intents: [] },
        { to: 'deleted', intents: [] },
      ])
      expect(decided(connectionMachine, state, now)).toEqual({
        to: 'deleted',
        intents: ['dropCommands', 'dropDeliveries', 'deleteQueues'],
      })
    }
  })

  it('B90 while it is being deleted nothing else becomes of it', () => {
    for (const state of ['closing', 'deleted']) {
      for (const event of events.filter(({ type }) => type !== 'connection.delete')) {
        const { to, intents } = decided(connectionMachine, state, event)
        expect(to).toBe(state)
        expect(intents.filter(intent => !intent.startsWith('refuse: '))).toEqual([])
      }
    }
  })

  it('B91 suspending leaves the connection as it is, and needs a queue that a router has made', () => {
    for (const state of ['rcv', 'confirmed', 'allowed', 'joined', 'connected']) {
      expect(decided(connectionMachine, state, { type: 'connection.suspend', receives: true })).toEqual({
        to: state,
        intents: ['suspendQueues'],
      })
    }
    for (const state of ['new', 'snd', 'closing', 'deleted']) {
      expect(decided(connectionMachine, state, { type: 'connection.suspend', receives: false }).intents).toEqual([
        expect.stringMatching(/^refuse: /),
      ])
    }
  })
})
