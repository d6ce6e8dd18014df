import { describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { createMessages, decideSend, type Messages } from '../../src/router/messages.js'
import { virtualClock } from '../../src/testing/virtualClock.js'

const ttlSeconds = 21 * 86_400
const world = (quota = 3, log = memoryLog()) => {
  const clock = virtualClock()
  return { clock, messages: createMessages({ log, clock, quota, ttlSeconds }) }
}
let next = 0
const newMessage = (text = 'body') => ({
  id: String(next++).padStart(24, '0'),
  notification: true,
  body: Buffer.from(text),
})
const drain = (messages: Messages, queue = 'q'): string[] => {
  const kinds: string[] = []
  for (let head = messages.head(queue); head !== undefined; head = messages.head(queue)) {
    kinds.push(head.kind === 'quota' ? 'marker' : Buffer.from(messages.read(head) as Uint8Array).toString())
    expect(messages.acknowledge(queue, head.id)).toBe(head)
  }
  return kinds
}

describe('messages of a queue', () => {
  it('the quota rule stores up to the quota, marks once, then refuses until the queue is empty', () => {
    expect(decideSend(0, false, 128)).toBe('store')
    expect(decideSend(127, false, 128)).toBe('store')
    expect(decideSend(128, false, 128)).toBe('mark')
    expect(decideSend(129, true, 128)).toBe('refuse')
    expect(decideSend(1, true, 128)).toBe('refuse')
  })

  it('past the quota a marker is stored and QUOTA is answered until everything, the marker included, was taken', async () => {
    const { messages } = world()
    for (const text of ['1', '2', '3']) expect((await messages.send('q', newMessage(text))).kind).toBe('stored')
    expect((await messages.send('q', newMessage('4'))).kind).toBe('quota')
    expect(messages.size('q')).toBe(4)
    expect((await messages.send('q', newMessage('5'))).kind).toBe('quota')
    expect(messages.size('q')).toBe(4)
    for (let i = 0; i < 3; i++) {
      const head = messages.head('q')
      messages.acknowledge('q', head?.id ?? '')
      expect((await messages.send('q', newMessage('6'))).kind).toBe('quota')
    }
    expect(drain(messages)).toEqual(['marker'])
    expect((await messages.send('q', newMessage('7'))).kind).toBe('stored')
    expect(drain(messages)).toEqual(['7'])
    expect(messages.stored).toBe(0)
    expect(messages.queues).toBe(0)
  })

  it('counts messages that are being written, but does not deliver them', async () => {
    const { messages } = world(1)
    const first = messages.send('q', newMessage('1'))
    const second = messages.send('q', newMessage('2'))
    expect(messages.size('q')).toBe(2)
    expect(messages.head('q')).toBeUndefined()
    expect((await first).kind).toBe('stored')
    expect((await second).kind).toBe('quota')
    expect(drain(messages)).toEqual(['1', 'marker'])
  })

  it('forgets a message that could not be written and keeps the order of the others', async () => {
    const log = memoryLog()
    const write = log.write
    log.write = (entry, body) =>
      Buffer.from(body).toString() === 'bad' ? Promise.reject(new StoreError('STORE_WRITE', 'no')) : write(entry, body)
    const { messages } = world(10, log)
    const results = await Promise.allSettled(['1', 'bad', '2'].map(text => messages.send('q', newMessage(text))))
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(drain(messages)).toEqual(['1', '2'])
  })

  it('acknowledges the head only, by its id', async () => {
    const { messages } = world()
    await messages.send('q', newMessage('1'))
    await messages.send('q', newMessage('2'))
    expect(messages.acknowledge('q', 'x'.repeat(24))).toBeUndefined()
    expect(messages.acknowledge('other', 'x')).toBeUndefined()
    expect(drain(messages)).toEqual(['1', '2'])
  })

  it('drops messages after 21 days, but not markers', async () => {
    const { messages, clock } = world(2)
    await messages.send('q', newMessage('old'))
    await clock.advance((ttlSeconds - 10) * 1000)
    await messages.send('q', newMessage('young'))
    await messages.send('q', newMessage('makes the marker'))
    await clock.advance(10_000)
    expect(messages.expire()).toBe(0)
    await clock.advance(1000)
    expect(messages.expire()).toBe(1)
    expect(messages.size('q')).toBe(2)
    await clock.advance(ttlSeconds * 1000)
    expect(drain(messages)).toEqual(['marker'])
    await messages.send('q', newMessage('also gone at a SEND'))
    await clock.advance((ttlSeconds + 1) * 1000)
    await messages.send('q', newMessage('new'))
    expect(drain(messages)).toEqual(['new'])
  })

  it('of a deleted queue are gone, also those that are being written', async () => {
    const { messages } = world()
    await messages.send('q', newMessage('1'))
    const writing = messages.send('q', newMessage('2'))
    messages.drop('q')
    await writing
    expect(messages.size('q')).toBe(0)
    expect(messages.head('q')).toBeUndefined()
    expect(messages.stored).toBe(0)
  })

  it('are bounded in memory: the log refuses with STORE_FULL', async () => {
    const { messages } = world(10, memoryLog(5))
    await messages.send('q', newMessage('12345'))
    await expect(messages.send('q', newMessage('6'))).rejects.toMatchObject({ code: 'STORE_FULL' })
    expect(drain(messages)).toEqual(['12345'])
  })
})
