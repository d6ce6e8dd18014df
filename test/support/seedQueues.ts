/** Connections with a receive queue at a scripted router, written straight into an agent's rows: thousands in a moment. */
import { randomBytes } from 'node:crypto'
import { generateKeyPair, systemRandom } from '../../src/crypto/index.js'
import { newConnection } from '../../src/agent/newConnection.js'
import { newRcvQueue } from '../../src/agent/queues.js'
import { connections, rcvQueues } from '../../src/store/agent/connections.js'
import { type Change, insert, type Store } from '../../src/store/index.js'
import type { ScriptedQueue, ScriptedRouter } from './scriptedRouter.js'

export interface SeedOptions {
  readonly userId?: number
  readonly status?: string
  /** The connection that the queues belong to; default: one of its own for each. */
  readonly connectionId?: string
  readonly prefix?: string
}

export interface Seeded {
  readonly connectionId: string
  readonly queue: ScriptedQueue
}

// Making keys would be most of the time; nothing here depends on their being different.
const keys = generateKeyPair('ed25519')

export const seedQueues = async (
  store: Store,
  router: ScriptedRouter,
  count: number,
  { userId = 1, status = 'new', connectionId: owner, prefix = 'seeded' }: SeedOptions = {},
): Promise<Seeded[]> => {
  const changes: Change[] = []
  const seeded: Seeded[] = []
  for (let index = 0; index < count; index++) {
    const connectionId = owner ?? `${prefix}-${String(index).padStart(5, '0')}`
    const fields = { connectionId, userId, origin: 'created', agentVersion: 7, now: 0 } as const
    const connection = { ...newConnection(fields), status: 'rcv' }
    const queue: ScriptedQueue = {
      recipientId: randomBytes(24),
      senderId: randomBytes(24),
      recipientKey: keys.publicKey,
      dhSecret: randomBytes(32),
      senderKey: undefined,
      link: undefined,
      isContact: false,
      messages: [],
      subscriber: undefined,
      delivered: false,
      off: false,
    }
    const row = newRcvQueue(systemRandom, { connectionId, userId }, router.address, 4, 0)
    const { recipientId: rcvId, senderId: sndId, dhSecret: routerDhSecret } = queue
    if (owner === undefined) changes.push(insert(connections, connection))
    changes.push(insert(rcvQueues, { ...row, status, rcvId, sndId, routerDhSecret }))
    router.queues.push(queue)
    seeded.push({ connectionId, queue })
  }
  await store.commit(changes)
  return seeded
}
