import { describe, expect, it } from 'vitest'
import { createRelays } from '../../src/router/relays.js'
import type { RelaySession } from '../../src/smp/client.js'
import type { RouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { virtualClock } from '../../src/testing/virtualClock.js'

const relay: RouterAddress = { keyHash: Buffer.alloc(32), hosts: ['relay'], port: '' }

describe('B49 sessions with relays', () => {
  it('B49 that are ready after the router has closed are closed', async () => {
    const clock = virtualClock()
    let closed = 0
    const session = { sessionId: Buffer.alloc(32), underWay: 0, onClose: () => {}, close: () => closed++ }
    let connected: (session: RelaySession) => void = () => {}
    const relays = createRelays({
      clock,
      maxRelays: 10,
      failedSeconds: 30,
      idleSeconds: 600,
      // It does not look at the signal.
      connect: () => new Promise(resolve => (connected = resolve)),
    })
    void relays.connect(relay)
    relays.close()
    connected(session as unknown as RelaySession)
    await clock.settle()
    expect([closed, relays.connected]).toEqual([1, 0])
    await expect(relays.connect(relay)).rejects.toMatchObject({ code: 'TRANSPORT_BUSY' })
    expect(clock.pendingTimers).toBe(0)
  })
})
