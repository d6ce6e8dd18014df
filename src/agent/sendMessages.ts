import { asDuologueError } from '../errors.js'
import { nextTurn } from '../runtime/nextTurn.js'
import type { Outcome, Read, UnitState, Wake } from '../runtime/unit.js'
import { sndBodies, sndMessages } from '../store/agent/messages.js'
import { type Change, insert } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { checkMessageLength, type Encryption } from './limits.js'
import { encodeContent, type EncodedContent, encryptionWith } from './outgoing.js'
import { newId } from './queues.js'
import { type ConnectionRow, requireConnection } from './rows.js'
import { checkCanSend, enqueueOn } from './sendMessage.js'

type Item = ParsedParamsOf<'sendMessages'>['items'][number]
type Result = ResultOf<'sendMessages'>['results'][number]

/**
 * sendMessages (B46): one unit of work over the locks of all connections, taken in one order. Each item answers for itself, and one that
 * cannot be sent keeps no other from being sent, also when it holds the body that others refer to. A body that is used more than once is
 * stored once. Items of one connection take effect in their order.
 */
export const sendMessages = (
  context: AgentContext,
  { items }: ParsedParamsOf<'sendMessages'>,
): Promise<ResultOf<'sendMessages'>> =>
  context.runtime.run({
    name: 'sendMessages',
    locks: items.map(({ connectionId }) => connectionId),
    load: read => readKnown(read, items),
    compute: async (state, known): Promise<Outcome<ResultOf<'sendMessages'>>> => {
      const batch = new Batch(state, known, context.config.e2eVersions.max)
      const accepted = items.map(item => batch.accept(item))
      const bodies = batch.storeBodies(() => newId(context.random))
      const results: Result[] = []
      for (const enqueue of accepted) {
        if (results.length > 0 && results.length % ratchetsPerTurn === 0) await nextTurn()
        results.push(enqueue())
      }
      return { result: { results }, changes: [...bodies, ...batch.changes], wakes: batch.wakes }
    },
  })

/** Ratchets that are advanced before the event loop gets its turn: about 5 ms. */
const ratchetsPerTurn = 50

const keyOf = ({ connectionId, idempotencyKey }: Pick<Item, 'connectionId' | 'idempotencyKey'>): string =>
  `${connectionId} ${idempotencyKey}`

/** Most pairs of connection and key that one query looks for. */
const pairsPerQuery = 1024

/** The messages that earlier calls have sent under the items’ idempotency keys, by connection and key. */
const readKnown = async (read: Read, items: readonly Item[]): Promise<ReadonlyMap<string, Result>> => {
  const known = new Map<string, Result>()
  for (const { ids, keys } of lookups(items)) {
    const where = { connectionId: { in: [...ids] }, idempotencyKey: { in: [...keys] } }
    for (const { connectionId, idempotencyKey, messageId, pqEncryption } of await read(sndMessages, { where })) {
      if (idempotencyKey === null) continue
      known.set(keyOf({ connectionId, idempotencyKey }), { connectionId, messageId, pqEncryption })
    }
  }
  return known
}

interface Lookup {
  readonly ids: Set<string>
  readonly keys: Set<string>
}

// A query looks for every pair of its connections and keys: one key for many connections needs one, many keys need several.
const lookups = (items: readonly Item[]): Lookup[] => {
  const byKey = new Map<string, Set<string>>()
  for (const { connectionId, idempotencyKey } of items) {
    if (idempotencyKey === undefined) continue
    const ids = byKey.get(idempotencyKey)
    if (ids === undefined) byKey.set(idempotencyKey, new Set([connectionId]))
    else ids.add(connectionId)
  }
  const found: Lookup[] = []
  for (const [key, ids] of byKey) {
    const last = found.at(-1)
    const together = new Set([...(last?.ids ?? []), ...ids])
    if (last !== undefined && together.size * (last.keys.size + 1) <= pairsPerQuery) {
      for (const id of ids) last.ids.add(id)
      last.keys.add(key)
    } else found.push({ ids: new Set(ids), keys: new Set([key]) })
  }
  return found
}

/** A body of the call, under the name that items refer to, and how many messages it is needed for. */
interface SharedBody {
  content: EncodedContent
  readonly length: number
  uses: number
}

/** One call of sendMessages: first every item is accepted or refused, then the accepted ones are enqueued. */
class Batch {
  readonly changes: Change[] = []
  readonly wakes: Wake[] = []
  readonly #state: UnitState
  readonly #known: ReadonlyMap<string, Result>
  readonly #e2eVersion: number
  readonly #bodies = new Map<string, SharedBody>()
  /** Connections as the items before have left them. */
  readonly #connections = new Map<string, ConnectionRow>()
  /** What the wishes of the accepted items make of their connections: a later item has what room is left. */
  readonly #encryptions = new Map<string, Encryption>()
  /** The first item of this call under a key: a later one answers with it. */
  readonly #firstByKey = new Map<string, { result: Result | undefined }>()

  constructor(state: UnitState, known: ReadonlyMap<string, Result>, e2eVersion: number) {
    this.#state = state
    this.#known = known
    this.#e2eVersion = e2eVersion
  }

  /** Checks an item; what it gives enqueues it and answers. Spends nothing. */
  accept(item: Item): () => Result {
    const { connectionId, idempotencyKey } = item
    const body = this.#bodyOf(item)
    if (idempotencyKey !== undefined) {
      const known = this.#known.get(keyOf(item))
      if (known !== undefined) return () => known
      const first = this.#firstByKey.get(keyOf(item))
      if (first !== undefined) return () => first.result as Result
    }
    try {
      const connection = requireConnection(this.#state, connectionId)
      const before = this.#encryptions.get(connectionId) ?? connection
      const encryption = encryptionWith(before, { pq: item.pq, e2eVersion: this.#e2eVersion })
      checkMessageLength(body.length, encryption)
      checkCanSend(this.#state, connection)
      this.#encryptions.set(connectionId, encryption)
    } catch (error) {
      return () => refused(connectionId, error)
    }
    const slot: { result: Result | undefined } = { result: undefined }
    if (idempotencyKey !== undefined) this.#firstByKey.set(keyOf(item), slot)
    body.uses++
    return () => (slot.result = this.#enqueue(item, body.content))
  }

  /** Bodies that more than one message needs become rows of their own. */
  storeBodies(newBodyId: () => string): Change[] {
    const changes: Change[] = []
    for (const shared of this.#bodies.values()) {
      if (shared.uses < 2) continue
      const bodyId = newBodyId()
      shared.content = { ...shared.content, bodyId }
      changes.push(insert(sndBodies, { bodyId, body: shared.content.body, createdAt: this.#state.now }))
    }
    return changes
  }

  // The schema has seen to it that every reference has its body before it.
  #bodyOf({ body = Buffer.alloc(0), ref }: Item): SharedBody {
    const known = ref === undefined ? undefined : this.#bodies.get(ref)
    if (known !== undefined) return known
    const shared = { content: encodeContent({ type: 'A_MSG', body }), length: body.length, uses: 0 }
    if (ref !== undefined) this.#bodies.set(ref, shared)
    return shared
  }

  #enqueue({ connectionId, notify, pq, idempotencyKey }: Item, content: EncodedContent): Result {
    try {
      const connection = this.#connections.get(connectionId) ?? requireConnection(this.#state, connectionId)
      const options = { now: this.#state.now, notify, idempotencyKey, pq, e2eVersion: this.#e2eVersion }
      const enqueued = enqueueOn(this.#state, connection, content, options)
      this.#connections.set(connectionId, enqueued.connection)
      this.changes.push(...enqueued.changes)
      this.wakes.push(enqueued.wake)
      const { messageId, pqEncryption } = enqueued
      return { connectionId, messageId, pqEncryption }
    } catch (error) {
      return refused(connectionId, error)
    }
  }
}

const refused = (connectionId: string, error: unknown): Result => ({
  connectionId,
  error: errorFact(asDuologueError(error)),
})
