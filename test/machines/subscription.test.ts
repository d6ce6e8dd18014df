import { describe, expect, it } from 'vitest'
import { type SubscriptionEvent, subscriptionMachine } from '../../machines/index.js'
import { decided, story } from './decisions.js'
import { takesEveryTransition } from '../transitions/taken.js'

const confirmed = (current: boolean): SubscriptionEvent => ({ type: 'subscription.confirmed', current })
const failed = (current: boolean, temporary: boolean): SubscriptionEvent => ({
  type: 'subscription.failed',
  current,
  temporary,
})
const ended = (current: boolean): SubscriptionEvent => ({ type: 'subscription.ended', current })

describe('subscription', () => {
  it('B60 SUB, UP; DOWN with the session, SUB again, UP', () => {
    const { steps } = story(
      subscriptionMachine,
      'removed',
      { type: 'subscription.requested' },
      confirmed(true),
      { type: 'session.closed' },
      { type: 'subscription.requested' },
      confirmed(true),
    )
    expect(steps).toEqual([
      { to: 'pending', intents: ['sendSub'] },
      { to: 'active', intents: ['notifyUp'] },
      { to: 'pending', intents: ['notifyDown'] },
      { to: 'pending', intents: ['sendSub'] },
      { to: 'active', intents: ['notifyUp'] },
    ])
  })

  it('B60 END of the current session: told, and the queue is not subscribed any more', () => {
    for (const state of ['pending', 'active']) {
      expect(decided(subscriptionMachine, state, ended(true))).toEqual({ to: 'removed', intents: ['notifyEnd'] })
    }
  })

  it('B60 a queue that is gone is not subscribed any more, and that is told of whatever was asked of it', () => {
    for (const state of ['getting', 'pending', 'active']) {
      expect(decided(subscriptionMachine, state, { type: 'queue.deleted' })).toEqual({
        to: 'removed',
        intents: ['notifyDeleted'],
      })
    }
  })

  it('B61 an answer counts only while the queue is pending and of the current session; others are counted as ignored', () => {
    expect(decided(subscriptionMachine, 'pending', confirmed(true))).toEqual({ to: 'active', intents: ['notifyUp'] })
    expect(decided(subscriptionMachine, 'pending', failed(true, false))).toEqual({
      to: 'removed',
      intents: ['notifyError'],
    })
    const ignored: ReadonlyArray<readonly [string, SubscriptionEvent]> = [
      ['pending', confirmed(false)],
      ['pending', failed(false, false)],
      ['pending', failed(false, true)],
      ['active', confirmed(true)],
      ['active', confirmed(false)],
      ['active', failed(true, false)],
      ['active', failed(false, false)],
      ['removed', confirmed(true)],
      ['removed', failed(true, false)],
      ['getting', confirmed(true)],
      ['getting', failed(true, false)],
    ]
    for (const [state, event] of ignored) {
      expect(decided(subscriptionMachine, state, event)).toEqual({ to: state, intents: ['countIgnored'] })
    }
  })

  it('B61 OK of a session that was lost in between does not make the queue active', () => {
    const { steps, state } = story(
      subscriptionMachine,
      'removed',
      { type: 'subscription.requested' },
      { type: 'session.closed' },
      { type: 'subscription.requested' },
      confirmed(false),
    )
    expect(state).toBe('pending')
    expect(steps.flatMap(step => step.intents)).not.toContain('notifyUp')
    expect(decided(subscriptionMachine, state, confirmed(true)).intents).toEqual(['notifyUp'])
  })

  it('B61 a temporary error leaves the queue pending, for the next attempt', () => {
    expect(decided(subscriptionMachine, 'pending', failed(true, true)).to).toBe('pending')
  })

  it('B62 the confirmation alone decides that the queue is up: nothing later in the message can take it back', () => {
    const up = decided(subscriptionMachine, 'pending', confirmed(true))
    expect(up).toEqual({ to: 'active', intents: ['notifyUp'] })
    expect(decided(subscriptionMachine, up.to, failed(true, false)).to).toBe('active')
  })

  it('B63 END of a stale session does nothing, in no state', () => {
    for (const state of ['removed', 'pending', 'active']) {
      expect(decided(subscriptionMachine, state, ended(false))).toEqual({ to: state, intents: [] })
    }
  })

  it('B66 an active queue is not subscribed again', () => {
    expect(decided(subscriptionMachine, 'active', { type: 'subscription.requested' })).toEqual({
      to: 'active',
      intents: [],
    })
  })

  it('B69 a message is asked for only where nothing is subscribed', () => {
    for (const state of ['pending', 'active']) {
      const { to, intents } = decided(subscriptionMachine, state, { type: 'message.get' })
      expect(to).toBe(state)
      expect(intents).toEqual(['prohibited: it is subscribed: its messages come by themselves'])
    }
    for (const state of ['removed', 'getting']) {
      expect(decided(subscriptionMachine, state, { type: 'message.get' })).toEqual({
        to: 'getting',
        intents: ['sendGet'],
      })
    }
  })

  it('B69 SUB is refused where messages are asked for one by one, until the session ends', () => {
    const refused = decided(subscriptionMachine, 'getting', { type: 'subscription.requested' })
    expect(refused).toEqual({
      to: 'getting',
      intents: ['prohibited: its messages are being asked for one by one'],
    })
    expect(decided(subscriptionMachine, 'getting', { type: 'session.closed' })).toEqual({ to: 'removed', intents: [] })
    expect(decided(subscriptionMachine, 'getting', { type: 'queue.deleted' }).to).toBe('removed')
  })
})

takesEveryTransition(subscriptionMachine)
