import { describe, expect, it } from 'vitest'
import { type ConnectionEvent, connectionMachine } from '../../machines/index.js'
import { decided, story } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

const confirmationWithReply = { type: 'confirmation.received', form: 'infoWithReply', senderKey: false } as const
const confirmation = { type: 'confirmation.received', form: 'info', senderKey: false } as const

const confirmationWithKey = { type: 'confirmation.received', form: 'info', senderKey: true } as const
const join = { type: 'connection.join', by: 'invitation', stopped: false } as const
const request = { type: 'connection.join', by: 'contact', stopped: false } as const
const allow = { type: 'connection.allow', unsecured: false, stopped: false } as const
const again = { stopped: true } as const

const events: readonly ConnectionEvent[] = [
  { type: 'queue.created' },
  { type: 'address.created' },
  join,
  { ...join, ...again },
  request,
  { ...request, ...again },
  { type: 'reply.created' },
  { type: 'invitation.sent' },
  { type: 'invitation.received' },
  confirmation,
  confirmationWithReply,
  confirmationWithKey,
  { type: 'confirmation.received', form: 'infoWithReply', senderKey: true },
  allow,
  { ...allow, unsecured: true },
  { ...allow, ...again },
  { ...allow, ...again, unsecured: true },
  { type: 'queue.secured' },
  { type: 'confirmation.sent', secured: true },
  { type: 'confirmation.sent', secured: false },
  { type: 'confirmation.refused' },
  { type: 'hello.received' },
  { type: 'hello.sent' },
  { type: 'hello.refused' },
  { type: 'step.failed' },
  { type: 'message.send', early: true, synchronized: true },
  { type: 'message.send', early: false, synchronized: true },
  { type: 'message.send', early: true, synchronized: false },
  { type: 'message.received' },
  { type: 'link.set', linked: true },
  { type: 'link.set', linked: false },
  { type: 'link.delete' },
  { type: 'connection.suspend', receives: true },
  { type: 'connection.suspend', receives: false },
  { type: 'connection.delete', waiting: true },
  { type: 'connection.delete', waiting: false },
]

describe('connection', () => {
  it('B11 initiator of the fast handshake: CONF, allow, CON when the own confirmation is at the router', () => {
    const { steps } = story(connectionMachine, 'new', { type: 'queue.created' }, confirmationWithReply, allow, {
      type: 'confirmation.sent',
      secured: true,
    })
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
      join,
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

  it('B12 initiator of the legacy handshake: KEY, then the confirmation, then HELLO answers HELLO, CON with its own', () => {
    const { steps } = story(
      connectionMachine,
      'rcv',
      { ...confirmationWithReply, senderKey: true },
      { ...allow, unsecured: true },
      { type: 'queue.secured' },
      { type: 'confirmation.sent', secured: false },
      { type: 'hello.received' },
      { type: 'hello.sent' },
    )
    expect(steps).toEqual([
      { to: 'confirmed', intents: ['createRatchet', 'storeConfirmation', 'notifyConf'] },
      { to: 'allowed', intents: ['acceptConfirmation', 'commandSecureReceive'] },
      { to: 'allowed', intents: ['commandAllowSecure'] },
      { to: 'answered', intents: [] },
      { to: 'replying', intents: ['enqueueHello'] },
      { to: 'connected', intents: ['notifyCon'] },
    ])
  })

  it('B12 B14 joiner of the legacy handshake: INFO, KEY, HELLO; CON with the other party’s HELLO', () => {
    const { steps } = story(
      connectionMachine,
      'joined',
      confirmationWithKey,
      { type: 'queue.secured' },
      { type: 'hello.sent' },
      { type: 'hello.received' },
    )
    expect(steps).toEqual([
      { to: 'securing', intents: ['storeSenderKey', 'notifyInfo', 'commandSecureReceive'] },
      { to: 'greeting', intents: ['enqueueHello'] },
      { to: 'greeting', intents: [] },
      { to: 'connected', intents: ['notifyCon'] },
    ])
  })

  it('B12 answers of routers that come late change nothing: each side says HELLO once and gets CON once', () => {
    const initiator = story(
      connectionMachine,
      'allowed',
      { type: 'hello.received' },
      { type: 'confirmation.sent', secured: false },
      { type: 'hello.received' },
      { type: 'hello.sent' },
      { type: 'hello.sent' },
      { type: 'hello.received' },
    )
    const joiner = story(
      connectionMachine,
      'greeting',
      { type: 'hello.received' },
      { type: 'hello.sent' },
      { type: 'hello.received' },
    )
    const done = (steps: typeof joiner.steps) =>
      steps.flatMap(step => step.intents).filter(it => !it.startsWith('refuse'))
    expect(initiator.state).toBe('connected')
    expect(done(initiator.steps)).toEqual(['enqueueHello', 'notifyCon'])
    expect(joiner.state).toBe('connected')
    expect(done(joiner.steps)).toEqual(['notifyCon'])
  })

  it('B12 no message of the user is taken before the legacy handshake is complete', () => {
    for (const state of ['answered', 'replying', 'securing', 'greeting']) {
      for (const early of [false, true]) {
        const { to, intents } = decided(connectionMachine, state, { type: 'message.send', early, synchronized: true })
        expect([to, intents]).toEqual([state, [expect.stringMatching(/^refuse: \S/)]])
      }
    }
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
    for (const state of ['confirmed', 'allowed', 'answered', 'replying', 'securing', 'greeting', 'connected']) {
      expect(decided(connectionMachine, state, { type: 'message.received' })).toEqual({
        to: state,
        intents: ['deliverMessage'],
      })
    }
  })

  it('B13 the joiner sends before CON where the other party can decrypt it; the initiator never does', () => {
    const send = (state: string, early: boolean) =>
      decided(connectionMachine, state, { type: 'message.send', early, synchronized: true })
    expect(send('joined', true)).toEqual({ to: 'joined', intents: ['acceptMessage'] })
    for (const state of ['new', 'rcv', 'confirmed', 'allowed', 'snd', 'deleted', 'joined']) {
      for (const early of state === 'joined' ? [false] : [false, true]) {
        expect(send(state, early)).toEqual({ to: state, intents: [expect.stringMatching(/^refuse: \S/)] })
      }
    }
    for (const early of [false, true]) expect(send('connected', early).intents).toEqual(['acceptMessage'])
  })

  it('B84 no message of the user is taken while the ratchet is not synchronised', () => {
    for (const state of ['joined', 'connected']) {
      const { to, intents } = decided(connectionMachine, state, {
        type: 'message.send',
        early: true,
        synchronized: false,
      })
      expect([to, intents]).toEqual([state, [expect.stringMatching(/^refuse: the ratchet is not synchronised/)]])
    }
  })

  it('B14 a confirmation without a sender key completes the joiner at once, receiving secured before it is told', () => {
    expect(decided(connectionMachine, 'joined', confirmation)).toEqual({
      to: 'connected',
      intents: ['secureReceiving', 'notifyInfo', 'notifyCon'],
    })
  })

  it('B14 a confirmation of another kind is refused and leaves the connection as it was', () => {
    for (const senderKey of [false, true]) {
      expect(decided(connectionMachine, 'joined', { ...confirmationWithReply, senderKey })).toEqual({
        to: 'joined',
        intents: ['refuse: confirmation of another kind than a joiner gets'],
      })
    }
    expect(decided(connectionMachine, 'rcv', confirmation)).toEqual({
      to: 'rcv',
      intents: ['refuse: confirmation without a reply queue'],
    })
  })

  it('B15 repeated calls and answers change nothing', () => {
    const repeated: ReadonlyArray<readonly [string, ConnectionEvent]> = [
      ['rcv', { type: 'queue.created' }],
      ['confirmed', confirmationWithReply],
      ['allowed', allow],
      ['snd', join],
      ['joined', { type: 'reply.created' }],
      ['joined', join],
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
      to: 'answered',
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

  it('B10 the short link of an invitation is changed until it is answered; nothing else but an address has one', () => {
    const set = { type: 'link.set', linked: true } as const
    expect(decided(connectionMachine, 'rcv', set)).toEqual({ to: 'rcv', intents: ['setLink'] })
    expect(decided(connectionMachine, 'rcv', { type: 'link.delete' })).toEqual({ to: 'rcv', intents: ['deleteLink'] })
    const refusals = [
      decided(connectionMachine, 'rcv', { ...set, linked: false }),
      ...['new', 'inviting', 'confirmed', 'snd', 'joined', 'connected', 'closing', 'deleted'].flatMap(state => [
        decided(connectionMachine, state, set),
        decided(connectionMachine, state, { type: 'link.delete' }),
      ]),
    ]
    for (const { intents } of refusals) expect(intents).toEqual([expect.stringMatching(/^refuse: \S/)])
  })

  it('B42 HELLO that the router refuses for good: NOT_AVAILABLE at the initiator, NOT_ACCEPTED at the joiner', () => {
    const refused = { type: 'hello.refused' } as const
    expect(decided(connectionMachine, 'replying', refused)).toEqual({ to: 'replying', intents: ['notifyNotAvailable'] })
    expect(decided(connectionMachine, 'greeting', refused)).toEqual({ to: 'greeting', intents: ['notifyNotAccepted'] })
  })

  it('B15 a repeated call goes on where a router has refused a step, and only there', () => {
    const goesOn: ReadonlyArray<readonly [string, ConnectionEvent, string[]]> = [
      ['snd', join, ['commandJoin']],
      ['requesting', request, ['commandCreateQueue']],
      ['inviting', request, ['commandInvite']],
      ['securing', join, ['commandSecureReceive']],
      ['allowed', allow, ['acceptConfirmation', 'commandAllowSecure']],
      ['allowed', { ...allow, unsecured: true }, ['acceptConfirmation', 'commandSecureReceive']],
    ]
    for (const [state, event, intents] of goesOn) {
      expect(decided(connectionMachine, state, event)).toEqual({ to: state, intents: [] })
      expect(decided(connectionMachine, state, { ...event, ...again } as ConnectionEvent)).toEqual({
        to: state,
        intents,
      })
    }
    for (const state of ['rcv', 'confirmed', 'joined', 'greeting', 'answered', 'replying', 'connected']) {
      expect(decided(connectionMachine, state, { ...join, ...again })).toEqual({ to: state, intents: [] })
    }
  })

  it('B18 by a contact address: the own queue, then the invitation; from then on an initiator as any', () => {
    const { steps } = story(
      connectionMachine,
      'new',
      request,
      { type: 'queue.created' },
      { type: 'invitation.sent' },
      confirmationWithReply,
    )
    expect(steps).toEqual([
      { to: 'requesting', intents: ['commandCreateQueue'] },
      { to: 'inviting', intents: ['commandInvite'] },
      { to: 'rcv', intents: [] },
      { to: 'confirmed', intents: ['createRatchet', 'storeConfirmation', 'notifyConf'] },
    ])
    // The router’s answer to the invitation comes after the other party’s.
    const late = story(connectionMachine, 'inviting', confirmationWithReply, { type: 'invitation.sent' })
    expect(late.steps.map(({ to }) => to)).toEqual(['confirmed', 'confirmed'])
  })

  it('B18 a contact address tells of each invitation, takes nothing else, and stays for the next', () => {
    expect(decided(connectionMachine, 'new', { type: 'address.created' })).toEqual({ to: 'contact', intents: [] })
    for (const event of events) {
      const { to, intents } = decided(connectionMachine, 'contact', event)
      if (event.type === 'invitation.received') expect(intents).toEqual(['storeInvitation', 'notifyReq'])
      else if (event.type === 'connection.delete')
        expect(intents).toEqual(['dropCommands', 'dropDeliveries', 'deleteQueues', 'dropInvitations'])
      else if (event.type === 'connection.suspend' && event.receives) expect(intents).toEqual(['suspendQueues'])
      else if (event.type === 'link.set') expect(intents).toEqual(['setLink'])
      else if (event.type === 'link.delete') expect(intents).toEqual(['deleteLink'])
      else expect(intents.filter(intent => !/^refuse: \S/.test(intent))).toEqual([])
      expect(to).toBe(event.type === 'connection.delete' ? 'deleted' : 'contact')
    }
    for (const state of [
      'new',
      'requesting',
      'inviting',
      'rcv',
      'confirmed',
      'allowed',
      'snd',
      'joined',
      'connected',
    ]) {
      const { to, intents } = decided(connectionMachine, state, { type: 'invitation.received' })
      expect([to, intents]).toEqual([state, [expect.stringMatching(/^refuse: /)]])
    }
  })

  it('B18 only the joiner’s first steps give an accepted invitation back', () => {
    const failed = { type: 'step.failed' } as const
    expect(decided(connectionMachine, 'snd', failed)).toEqual({ to: 'snd', intents: ['releaseInvitation'] })
    for (const state of ['requesting', 'inviting', 'allowed', 'securing', 'connected']) {
      expect(decided(connectionMachine, state, failed)).toEqual({ to: state, intents: [] })
    }
  })

  it('B11 calls and messages that a state does not allow are refused with a reason, and change nothing', () => {
    const send = { type: 'message.send', early: true, synchronized: true } as const
    const hello = { type: 'hello.received' } as const
    const invited = { type: 'invitation.received' } as const
    const refusals: ReadonlyArray<readonly [ConnectionEvent, string, readonly string[]]> = [
      [allow, 'there is no confirmation to allow', ['new', 'requesting', 'inviting', 'rcv']],
      [allow, 'the connection was joined, not created', ['snd', 'joined', 'securing', 'greeting']],
      [send, 'the connection has no send queue yet', ['new', 'requesting', 'inviting', 'rcv']],
      [hello, 'HELLO is not expected', ['new', 'requesting', 'inviting', 'rcv', 'confirmed', 'snd', 'joined']],
      [hello, 'HELLO is not expected', ['securing', 'connected', 'contact']],
      [hello, 'HELLO was answered already', ['replying']],
      [
        invited,
        'an invitation came to a queue that is no contact address',
        ['answered', 'replying', 'securing', 'greeting'],
      ],
      [confirmation, 'confirmation without a reply queue', ['inviting', 'rcv']],
    ]
    for (const [event, reason, states] of refusals) {
      for (const state of states) {
        expect(decided(connectionMachine, state, event)).toEqual({ to: state, intents: [`refuse: ${reason}`] })
      }
    }
  })
})

takesEveryTransition(connectionMachine)
