/** Private routing over TLS, with three bundled routers and agents on Postgres. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openRouter } from '../../src/router/openRouter.js'
import type { Router } from '../../src/router/router.js'
import { textOf } from '../support/agentWorld.js'
import { type TlsWorld, tlsWorld } from '../support/tlsWorld.js'

let world: TlsWorld
let root: string
const running: Router[] = []
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'duologue-private-'))
  world = await tlsWorld()
})
afterEach(async () => {
  await world.close()
  for (const router of running.splice(0)) await router.close()
  await rm(root, { recursive: true, force: true })
})

const open = async (name: string, port = 0): Promise<Router> => {
  const place = { directory: join(root, name), host: '127.0.0.1', listenHost: '127.0.0.1', memory: true } as const
  const router = await openRouter({ ...place, port, proxy: { privateAddresses: true } })
  running.push(router)
  return router
}

it('B49 over TLS: handshake and messages go through the proxy, also after proxy and agent have restarted', async () => {
  const [home, proxy] = [await open('home'), await open('proxy')]
  const network = { proxyMode: 'unknown', proxyFallback: 'prohibit' } as const
  let alice = await world.startAgent({ routers: [home.address], network })
  await alice.agent.setRouters({
    routers: [
      { address: home.address, proxy: false },
      { address: proxy.address, storage: false },
    ],
  })
  const bob = await world.startAgent()
  const { initiatorId, joinerId } = await world.connect(alice, bob)

  const exchange = async (...bodies: string[]): Promise<void> => {
    for (const body of bodies) await alice.agent.sendMessage({ connectionId: initiatorId, body })
    for (const body of bodies) {
      const message = await bob.next('MSG', joinerId)
      expect([textOf(message.body), message.integrity]).toEqual([body, { result: 'ok' }])
      await bob.agent.ackMessage({ connectionId: joinerId, messageId: message.messageId })
      expect((await alice.next('SENT', initiatorId)).proxy).toBe(proxy.address)
    }
  }
  await exchange('one', 'two', 'three')
  expect(proxy.stats().proxy).toMatchObject({ relays: 1, forwards: 5 })
  expect(world.router.stats().forwardsReceived).toBe(5)

  await proxy.close()
  await open('proxy', proxy.port)
  await exchange('four', 'five')
  for (const { cursor } of alice.events.slice(-1)) await alice.agent.ackEvents({ upTo: cursor })
  alice = await alice.restart()
  await exchange('six')
  // Bob's own session and the proxy's: nobody else has ever been here.
  expect(world.router.stats().sessions).toBe(2)
})
