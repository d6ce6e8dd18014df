import { resolve } from 'node:path'
import { follow } from '../runtime/follow.js'
import type { Outcome, UnitState } from '../runtime/unit.js'
import { connections } from '../store/agent/connections.js'
import type { AgentContext } from './context.js'
import type { AgentOptions } from './openAgent.js'
import { decideSync, syncChange, syncEvent } from './ratchetSync.js'
import { eventOf, findConnection, isDeleted } from './rows.js'

/** Connections that one commit changes. */
const pageLength = 500

/** Where the sidecar is: where the options say, else beside the directory of an embedded database; none for other stores. */
export const sidecarOf = ({ store, sidecar }: Pick<AgentOptions, 'store' | 'sidecar'>): string | undefined =>
  sidecar ?? ('directory' in store ? `${resolve(store.directory)}.sidecar` : undefined)

/**
 * Before anything runs: whether the database is a restored backup (B85), told as RESTORED. Where the sidecar says so, every ratchet is old, and
 * nothing is sent before it is synchronised: what was sent with it twice could be read by others. The sidecar goes back only when all of
 * that is stored. Throws ConfigError `CONFIG_SIDECAR`, StoreError.
 */
export const tellRestored = async (context: AgentContext): Promise<void> => {
  const { backup, store, runtime } = context
  const { reason, changes } = await backup.check(store, runtime.lastCursor)
  if (reason === 'sidecar') await requireSync(context)
  const events = reason === undefined ? [] : [eventOf({ connectionId: '', userId: 1 }, 'RESTORED', { reason })]
  if (events.length > 0 || changes.length > 0) {
    const outcome = { result: undefined, changes, events }
    await runtime.run({ name: 'restored', internal: true, locks: [], compute: () => outcome })
  }
  await backup.note(runtime.lastCursor)
}

const requireSync = async ({ store, runtime }: AgentContext): Promise<void> => {
  let after = ''
  for (;;) {
    const page = await store.find(connections, {
      where: { connectionId: { gt: after } },
      orderBy: ['connectionId'],
      limit: pageLength,
    })
    const last = page.at(-1)
    if (last === undefined) return
    const ids = page.filter(row => row.ratchet !== null && !isDeleted(row)).map(row => row.connectionId)
    await runtime.run({
      name: 'restored.ratchets',
      internal: true,
      locks: ids,
      compute: (state): Outcome<void> => {
        const effects = ids.map(id => restored(state, id))
        return {
          result: undefined,
          changes: effects.flatMap(one => one.changes),
          events: effects.flatMap(one => one.events),
        }
      },
    })
    after = last.connectionId
  }
}

const restored = (state: UnitState, connectionId: string): Required<Pick<Outcome<void>, 'changes' | 'events'>> => {
  const connection = findConnection(state, connectionId)
  if (connection === undefined) return { changes: [], events: [] }
  const decision = decideSync(state, connection, { type: 'backup.restored' })
  const { changes, events } = follow(decision, {
    notifySync: () => ({ events: [syncEvent(connection, decision.to)] }),
  })
  return { changes: [...syncChange(connection, decision), ...changes], events }
}
