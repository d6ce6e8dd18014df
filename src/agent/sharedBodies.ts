import type { Bytes } from '../encoding/index.js'
import type { Read } from '../runtime/unit.js'
import { sndBodies, sndMessages } from '../store/agent/messages.js'
import { type Change, removeUnused, removeWhere, type Store } from '../store/index.js'
import type { SndMessageRow } from './outgoing.js'

/** Bodies that are kept in memory for the next queues that load them. */
const keptBodies = 64

/** Bodies that many messages share (B46), as the delivery workers read them: after a restart each is read once for many queues. */
export class SharedBodies {
  readonly #store: Store
  readonly #kept = new Map<string, Promise<Bytes | undefined>>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Bodies by their ids. Rejects with StoreError. */
  async read(ids: readonly string[]): Promise<Map<string, Bytes>> {
    const bodies = new Map<string, Bytes>()
    for (const id of new Set(ids)) {
      const body = await this.#one(id)
      if (body !== undefined) bodies.set(id, body)
    }
    return bodies
  }

  #one(bodyId: string): Promise<Bytes | undefined> {
    const known = this.#kept.get(bodyId)
    this.#kept.delete(bodyId)
    const body = known ?? this.#store.find(sndBodies, { where: { bodyId } }).then(([row]) => row?.body)
    this.#kept.set(bodyId, body)
    if (known === undefined) body.catch(() => this.#kept.delete(bodyId))
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > keptBodies && oldest !== undefined) this.#kept.delete(oldest)
    return body
  }
}

/** The body goes with the last message that names it. */
export const bodyReleased = (bodyId: string): Change => removeUnused(sndBodies, { bodyId }, sndMessages, 'bodyId')

/** The messages of a connection that wait with a shared body. */
export const readSharing = (read: Read, connectionId: string): Promise<readonly SndMessageRow[]> =>
  read(sndMessages, { where: { connectionId, bodyId: { not: null } } })

/** Takes those messages away, and with the last ones their bodies. */
export const sharingGone = (connectionId: string, messages: readonly SndMessageRow[]): Change[] => {
  if (messages.length === 0) return []
  const bodyIds = new Set(messages.flatMap(({ bodyId }) => (bodyId === null ? [] : [bodyId])))
  return [removeWhere(sndMessages, { connectionId, bodyId: { not: null } }), ...[...bodyIds].map(bodyReleased)]
}
