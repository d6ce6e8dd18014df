import { afterEach, describe, expect, it } from 'vitest'
import { authKey, bodyText, errorOf, newQueue, publicOf, send } from '../support/router/client.js'
import { type RouterWorld, routerWorld } from '../support/router/world.js'

let world: RouterWorld
afterEach(() => world.close())

describe('smoke', () => {
  it('carries a message', async () => {
    world = await routerWorld()
    const alice = await world.client()
    const bob = await world.client()
    const queue = await newQueue(alice)
    const key = authKey()
    expect(errorOf(await bob.one({ type: 'SKEY', key: publicOf(key) }, queue.sndId, key))).toBe('OK')
    expect(errorOf(await bob.one(send('hello'), queue.sndId, key))).toBe('OK')
    const { response } = await alice.event()
    const message = queue.open(response)
    expect(bodyText(message)).toBe('hello')
    expect(errorOf(await alice.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key))).toBe('OK')
  })
})
