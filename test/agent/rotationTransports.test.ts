/** B70 on real sockets: a queue moves from a router that is reached by TLS to one that is reached by WebSocket, and back. */
import { afterEach, expect, it } from 'vitest'
import { type Agent, type AgentEvent, openAgent } from '../../src/index.js'
import { generateCertificates, identityOf } from '../../src/router/certificates.js'
import { memoryLog } from '../../src/router/memoryLog.js'
import { type Router, startRouter } from '../../src/router/router.js'
import { portOf } from '../../src/smp/protocol/routerAddress.js'
import type { Dialer, Listen } from '../../src/smp/transport/port.js'
import { listenTls, tlsDialer } from '../../src/smp/transport/tls.js'
import { listenWebSocket, webSocketDialer } from '../../src/smp/transport/webSocket.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { textOf } from '../support/agentWorld.js'

const closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

const routerOn = async (listen: Listen): Promise<Router> => {
  const identity = await generateCertificates({ host: '127.0.0.1', now: Date.now() }).then(identityOf)
  const listeners = [{ listen, host: '127.0.0.1', port: 0 }] as const
  const router = await startRouter({ identity, listeners, queues: openMemoryStore(), messages: memoryLog() })
  closing.push(() => router.close())
  return router
}

interface Side {
  readonly agent: Agent
  next<T extends AgentEvent['type']>(
    type: T,
    is?: (event: Extract<AgentEvent, { type: T }>) => boolean,
  ): Promise<Extract<AgentEvent, { type: T }>>
}

const sideOf = async (routers: readonly string[], dialer: Dialer): Promise<Side> => {
  const agent = await openAgent({ routers, dialer, store: { open: openMemoryStore() } })
  closing.push(() => agent.close())
  const events: AgentEvent[] = []
  const waiting: Array<() => void> = []
  void (async () => {
    for await (const event of agent.events()) {
      events.push(event)
      for (const look of waiting.splice(0)) look()
    }
  })()
  return {
    agent,
    next: async (type, is = () => true) => {
      for (;;) {
        const at = events.findIndex(event => event.type === type && is(event as never))
        if (at >= 0) return events.splice(at, 1)[0] as never
        await new Promise<void>(resolve => waiting.push(resolve))
      }
    },
  }
}

it('B70 a rotation from TLS to WebSocket and back, with messages on the way: all phases, and nothing is lost or out of order', {
  timeout: 60_000,
}, async () => {
  const [tls, webSocket] = [await routerOn(listenTls), await routerOn(listenWebSocket)]
  const dialers = { tls: tlsDialer(), webSocket: webSocketDialer() }
  const dialed = new Set<string>()
  const dialer: Dialer = {
    dial: (router, how) => {
      const by = portOf(router) === webSocket.port ? 'webSocket' : 'tls'
      dialed.add(by)
      return dialers[by].dial(router, how)
    },
  }
  const alice = await sideOf([tls.address], dialer)
  const bob = await sideOf([tls.address], dialer)
  const { connectionId: aliceId, link } = await alice.agent.createConnection({})
  const { connectionId: bobId } = await bob.agent.joinConnection({ link })
  const { confirmationId } = await alice.next('CONF')
  await alice.agent.allowConnection({ connectionId: aliceId, confirmationId })
  await Promise.all([alice.next('CON'), bob.next('CON')])
  expect([...dialed]).toEqual(['tls'])

  for (const to of [webSocket, tls]) {
    await alice.agent.switchConnection({ connectionId: aliceId, router: to.address })
    for (let n = 0; n < 10; n++) await bob.agent.sendMessage({ connectionId: bobId, body: `${n}` })
    for (let n = 0; n < 10; n++) {
      const { connectionId, messageId, body, integrity } = await alice.next('MSG')
      expect([textOf(body), integrity.result]).toEqual([`${n}`, 'ok'])
      await alice.agent.ackMessage({ connectionId, messageId })
    }
    await alice.next('SWITCH', ({ direction, phase }) => direction === 'rcv' && phase === 'completed')
    await bob.next('SWITCH', ({ direction, phase }) => direction === 'snd' && phase === 'completed')
    const { connections } = await alice.agent.listConnections({})
    expect(connections).toMatchObject([{ rcvRouters: [to.address], subscribed: true }])
  }
  expect(dialed).toEqual(new Set(['tls', 'webSocket']))
})
