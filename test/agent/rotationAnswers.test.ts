/** What the routers of both queues answer to the sender in the middle of a rotation. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemRandom } from '../../src/crypto/index.js'
import { rcvQueues, sndQueues } from '../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../src/store/agent/messages.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import {
  errorAnswer,
  type Reaction,
  type ScriptedRouter,
  scriptedRouter,
  type SeenCommand,
} from '../support/scriptedRouter.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

const minute = 60_000

let world: ScriptedWorld
/** The router that alice's queue moves to. */
let second: ScriptedRouter
let alice: TestAgent
let bob: TestAgent
let aliceId: string
let bobId: string
let oldId: Uint8Array
beforeEach(async () => {
  world = await scriptedWorld()
  second = await scriptedRouter({ clock: world.clock, network: world.network, host: 'second' })
  alice = await world.start('alice')
  // Minutes stand for days of attempts. Ids rise, so that the old queue is always the first one of the rows.
  let ids = 0
  bob = await world.start('bob', {
    config: { messageTimeoutMs: 10 * minute, quotaTimeoutMs: 40 * minute },
    random: length => (length === 18 ? Buffer.alloc(18, 4 * ids++) : systemRandom(length)),
  })
  ;({ initiatorId: aliceId, joinerId: bobId } = await world.connect(alice, bob))
  const [queue] = await bob.store.find(sndQueues, {})
  oldId = queue?.sndId ?? Buffer.alloc(0)
})
afterEach(() => world.close())

const isToOld = ({ command, entityId }: SeenCommand): boolean =>
  command.type === 'SEND' && Buffer.compare(entityId, oldId) === 0
const isSend = ({ command }: SeenCommand): boolean => command.type === 'SEND'
const switches = (side: TestAgent) => side.events.flatMap(event => (event.type === 'SWITCH' ? [event.phase] : []))
const say = async (...bodies: string[]): Promise<number[]> => {
  const ids: number[] = []
  for (const body of bodies)
    ids.push((await bob.agent.sendMessage({ connectionId: bobId, body, idempotencyKey: body })).messageId)
  return ids
}
const told = (...types: string[]) => bob.events.filter(({ type }) => types.includes(type))
const sentIds = () => bob.events.flatMap(event => (event.type === 'SENT' ? [event.messageId] : []))

/** Reads and acknowledges what comes to alice. */
const reading = (): string[] => {
  const got: string[] = []
  void (async () => {
    for await (const event of alice.agent.events()) {
      if (event.type !== 'MSG') continue
      got.push(textOf(event.body))
      await alice.agent.ackMessage({ connectionId: aliceId, messageId: event.messageId }).catch(() => {})
    }
  })()
  return got
}

/** Up to the moment at which messages that wait go to both queues: the answers of the old one, and of the new one, are the test's. */
const usedByBoth = async (
  before: readonly string[],
  answers: { readonly old: ScriptedRouter['react']; readonly fresh: ScriptedRouter['react'] },
): Promise<number[]> => {
  world.network.setLatency(200)
  await alice.agent.switchConnection({ connectionId: aliceId, router: second.address })
  await world.until(() => switches(bob).includes('confirmed'), 'QKEY')
  expect(switches(bob)).not.toContain('secured')
  world.router.react = seen => (isToOld(seen) ? answers.old(seen) : undefined)
  second.react = seen => (isSend(seen) ? answers.fresh(seen) : undefined)
  const ids = await say(...before)
  await world.until(() => switches(bob).includes('secured'), 'QUSE')
  world.network.setLatency(0)
  await world.clock.advance(1_000)
  return ids
}
const answersOnce = (): void => {
  world.router.react = () => undefined
  second.react = () => undefined
}
const releaseAll = (router: ScriptedRouter): void => {
  for (const held of router.all('SEND').slice(-1)) router.release(held)
}

describe('B77 the router of the new queue refuses it for good', () => {
  it.each(['AUTH', 'LARGE_MSG'] as const)(
    'B77 B78 %s: the switch has failed, what waits goes out over the old queue, once and in order',
    async code => {
      const got = reading()
      const waiting = await usedByBoth(['one', 'two'], { old: () => 'lose', fresh: () => 'hold' })
      const statuses = (await bob.store.find(sndQueues, {})).map(({ status }) => status)
      expect(statuses.toSorted()).toEqual(['confirmed', 'secured'])
      // Only the new queue takes what is said from now on.
      const later = await say('three')
      const [fresh] = await bob.store.find(sndQueues, { where: { router: second.address } })
      expect(await bob.store.find(deliveries, { where: { messageId: later[0] ?? 0 } })).toMatchObject([
        { queueId: fresh?.queueId },
      ])
      const [held] = second.all('SEND')
      answersOnce()
      held?.session.send({ to: held, response: errorAnswer(code) })
      await world.until(() => sentIds().length === 3, 'SENT of all')
      expect(told('SWITCH').at(-1)).toMatchObject({ direction: 'snd', phase: 'failed', error: { code } })
      await world.until(() => got.length === 3, 'the messages')
      expect(got).toEqual(['one', 'two', 'three'])
      expect(sentIds()).toEqual([...waiting, ...later])
      expect(told('MERR', 'MERRS', 'ERR')).toEqual([])
      expect(await bob.store.find(sndQueues, {})).toMatchObject([{ primary: true, switchStatus: null, replaces: null }])
      expect(await bob.store.find(deliveries, {})).toEqual([])
    },
  )

  it('B77 B78 what the old queue has delivered by then is not sent over it again', async () => {
    const got = reading()
    const waiting = await usedByBoth(['one', 'two'], { old: () => 'hold', fresh: () => 'hold' })
    world.router.react = seen => (isToOld(seen) ? 'lose' : undefined)
    const one = world.router.seen.findLast(isToOld) as SeenCommand
    world.router.release(one)
    await world.until(() => sentIds().length === 1, 'SENT of the first')
    const before = world.router.seen.filter(isToOld).length
    const [held] = second.all('SEND')
    answersOnce()
    held?.session.send({ to: held, response: errorAnswer('AUTH') })
    await world.until(() => got.length === 2, 'the messages')
    await world.clock.advance(60_000)
    expect(got).toEqual(['one', 'two'])
    expect(sentIds()).toEqual(waiting)
    // The second one, and nothing else.
    expect(world.router.seen.filter(isToOld).length - before).toBe(1)
  })

  it('B43 that it is full or away for a while loses nothing: the switch waits', async () => {
    const got = reading()
    await usedByBoth(['one'], { old: () => 'lose', fresh: () => errorAnswer('QUOTA') })
    await world.clock.advance(5 * minute)
    expect(switches(bob)).not.toContain('failed')
    answersOnce()
    await world.until(() => switches(bob).includes('completed'), 'the switch')
    await world.until(() => got.length === 1, 'the message')
    expect(told('SENT')).toHaveLength(1)
  })
})

describe('B78 one message that waits for both queues', () => {
  it('B78 what the new queue has delivered the old one need not send, though its attempt is under way: one SENT', async () => {
    const got = reading()
    const sent = await usedByBoth(['one', 'two'], {
      old: () => 'hold',
      fresh: () => (second.all('SEND').length <= 2 ? undefined : 'hold'),
    })
    await world.until(() => sentIds().length === 2, 'SENT of both')
    expect(switches(bob)).not.toContain('completed')
    // QTEST is all that is left.
    const left = await bob.store.find(deliveries, {})
    expect(await bob.store.find(sndMessages, { where: { messageId: left[0]?.messageId ?? 0 } })).toMatchObject([
      { type: 'QTEST' },
    ])
    expect(left).toHaveLength(1)
    releaseAll(world.router)
    await world.clock.settle()
    answersOnce()
    await world.until(() => switches(bob).includes('completed'), 'the switch')
    expect(sentIds()).toEqual(sent)
    await world.until(() => got.length === 2, 'the messages')
    expect(got).toEqual(['one', 'two'])
    expect(told('MERR', 'MERRS')).toEqual([])
  })

  it('B78 what the old queue has delivered the new one sends too, since the old one may go with it: one SENT', async () => {
    const got = reading()
    const [messageId = 0] = await usedByBoth(['one'], { old: () => 'hold', fresh: () => 'hold' })
    const oldSend = world.router.seen.findLast(isToOld) as SeenCommand
    world.router.release(oldSend)
    await world.until(() => sentIds().length === 1, 'SENT')
    expect(await bob.store.find(deliveries, { where: { messageId } })).toMatchObject([{ sent: true }])
    expect(await bob.store.find(sndMessages, { where: { messageId } })).not.toMatchObject([{ body: null }])
    answersOnce()
    releaseAll(second)
    await world.until(() => switches(bob).includes('completed'), 'the switch')
    await world.until(() => got.length === 1, 'the message')
    await world.clock.advance(60_000)
    expect(got).toEqual(['one'])
    expect(sentIds()).toEqual([messageId])
    expect(await bob.store.find(sndMessages, { where: { messageId } })).toMatchObject([{ body: null, header: null }])
    expect(await bob.store.find(deliveries, {})).toEqual([])
  })

  it('B43 B78 what has waited too long for the old queue waits for the new one still, and is not told as failed', async () => {
    const got = reading()
    const ids = await usedByBoth(['one', 'two', 'three'], { old: () => 'lose', fresh: () => errorAnswer('QUOTA') })
    await world.clock.advance(14 * minute)
    const left = await bob.store.find(deliveries, { where: { messageId: { in: ids } }, orderBy: ['messageId'] })
    expect(left.map(({ messageId }) => messageId)).toEqual(ids)
    expect(new Set(left.map(({ queueId }) => queueId)).size).toBe(1)
    expect(told('MERR', 'MERRS', 'SENT')).toEqual([])
    answersOnce()
    await world.until(() => got.length === 3, 'the messages')
    expect(got).toEqual(['one', 'two', 'three'])
    expect(sentIds()).toEqual(ids)
    expect(told('MERR', 'MERRS')).toEqual([])
  })

  it('B43 B78 what has waited too long for both is told as failed once', async () => {
    const [first, ...rest] = await usedByBoth(['one', 'two', 'three'], { old: () => 'lose', fresh: () => 'lose' })
    await world.clock.advance(16 * minute)
    expect(told('MERR', 'MERRS')).toMatchObject([
      { type: 'MERR', messageId: first },
      { type: 'MERRS', messageIds: rest },
    ])
    expect(told('SENT')).toEqual([])
    expect(await bob.store.find(deliveries, { where: { messageId: { in: [first ?? 0, ...rest] } } })).toEqual([])
  })
})

it('B78 a message of the new queue waits for those that the old one still has, however slowly they are read', async () => {
  // QADD arrives, QUSE not yet: what is said until then is in the old queue only.
  let said = 0
  world.router.react = seen => (isSend(seen) && !isToOld(seen) && said++ > 0 ? 'hold' : undefined)
  await alice.agent.switchConnection({ connectionId: aliceId, router: second.address })
  await world.until(() => switches(bob).includes('confirmed'), 'QKEY')
  await say('one', 'two')
  await world.until(() => sentIds().length === 2, 'SENT of both')
  answersOnce()
  world.router.release(world.router.all('SEND').findLast(seen => !isToOld(seen)) as SeenCommand)
  await world.until(() => switches(bob).includes('completed'), 'QTEST')
  await say('three')
  await world.clock.advance(30 * minute)
  const texts = () => alice.events.flatMap(event => (event.type === 'MSG' ? [textOf(event.body)] : []))
  expect(texts()).toEqual(['one'])
  const got = reading()
  await world.until(() => got.length === 3, 'the messages')
  expect(got).toEqual(['one', 'two', 'three'])
  const checks = alice.events.flatMap(event => (event.type === 'MSG' ? [event.integrity.result] : []))
  expect(new Set(checks)).toEqual(new Set(['ok']))
})

it('B33 a copy of a message that the old queue has brought is the first message on the new one', async () => {
  const primary = async () => (await alice.store.find(rcvQueues, { where: { primary: true } }))[0]?.router
  await usedByBoth(['one'], { old: () => 'hold', fresh: () => 'hold' })
  world.router.release(world.router.seen.findLast(isToOld) as SeenCommand)
  await world.until(() => alice.events.some(({ type }) => type === 'MSG'), 'the message')
  expect(await primary()).toBe(world.router.address)
  releaseAll(second)
  await world.clock.settle()
  expect(await primary()).toBe(second.address)
  expect(alice.events.filter(({ type }) => type === 'MSG')).toHaveLength(1)
})

describe('B74 the old queue is to be deleted', () => {
  const rotated = async (answer: Reaction): Promise<void> => {
    world.router.react = ({ command, session }) =>
      command.type === 'DEL' && session.channel.remoteAddress === 'alice' ? answer : undefined
    await alice.agent.switchConnection({ connectionId: aliceId, router: second.address })
    await world.until(() => world.router.all('DEL').length > 0, 'DEL')
    await world.clock.settle()
  }
  const completed = () => switches(alice).includes('completed')
  const errors = () => alice.events.flatMap(event => (event.type === 'ERR' ? [event.error.code] : []))

  it('B74 its router has it no more (AUTH): the switch is complete, and nothing else is told', async () => {
    await rotated(errorAnswer('AUTH'))
    expect(completed()).toBe(true)
    expect(errors()).toEqual([])
    expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ router: second.address, primary: true }])
  })

  it('B74 its router refuses for good: the switch is complete, ERR tells of the queue that is left', async () => {
    await rotated(errorAnswer('LARGE_MSG'))
    expect(completed()).toBe(true)
    expect(errors()).toEqual(['LARGE_MSG'])
    expect(await alice.store.find(rcvQueues, {})).toMatchObject([{ router: second.address, primary: true }])
  })

  it('B74 its router does not answer: the switch waits, both queues are read, and it is complete when the router is back', async () => {
    await rotated('lose')
    await world.clock.advance(5 * minute)
    expect(completed()).toBe(false)
    expect(await alice.store.find(rcvQueues, { where: { primary: true } })).toMatchObject([{ router: second.address }])
    answersOnce()
    await world.until(completed, 'the switch')
    // The old router is not needed any more.
    const before = world.router.all('SUB').length
    for (const link of world.network.links({ from: 'alice', place: world.router.place })) link.cut()
    await world.clock.advance(minute)
    expect(world.router.all('SUB')).toHaveLength(before)
  })
})
