import { toBase64url } from '../encoding/index.js'
import { CallError, StoreError } from '../errors.js'
import type { NewEvent, Read, UnitState } from '../runtime/unit.js'
import { type Change, insert, patch, type Row } from '../store/index.js'
import { recipientPrefix, signalRecipients } from '../store/signal/account.js'
import { type SignalContext, signalEvent } from './context.js'
import { isAci, isE164, isPni } from './wire/serviceId.js'

export type RecipientRow = Row<typeof signalRecipients>

/** What is known to belong together: of one person. */
export interface RecipientIds {
  readonly aci?: string | undefined
  readonly pni?: string | undefined
  readonly e164?: string | undefined
}

const kinds = ['aci', 'pni', 'e164'] as const

/** Ids from the text that a caller names a recipient by; undefined for a recipient id of our own. */
export const idsOf = (to: string): RecipientIds | undefined => {
  if (isAci(to)) return { aci: to }
  if (isPni(to)) return { pni: to }
  return isE164(to) ? { e164: to } : undefined
}

/** Where messages to a recipient go: its ACI, or the PNI while nothing else is known. */
export const serviceIdOfRecipient = ({ aci, pni }: RecipientRow): string | undefined => aci ?? pni ?? undefined

/** Looks up the rows that hold any of the ids, oldest first. */
export const readRecipients = async (read: Read, userId: number, ids: RecipientIds): Promise<RecipientRow[]> => {
  const found = await Promise.all(
    kinds.map(kind => {
      const value = ids[kind]
      return value === undefined ? [] : read(signalRecipients, { where: { userId, [kind]: value } })
    }),
  )
  const byId = new Map(found.flat().map(row => [row.recipientId, row]))
  return [...byId.values()].sort((a, b) => a.createdAt - b.createdAt || (a.recipientId < b.recipientId ? -1 : 1))
}

/** The ids of all rows that were found to be one of these, those themselves first: where messages of one person are. */
export const withMerged = async (read: Read, rows: readonly RecipientRow[]): Promise<string[]> => {
  const ids = rows.map(row => row.recipientId)
  for (let from = 0; from < ids.length; ) {
    const into = ids.slice(from)
    from = ids.length
    const merged = await read(signalRecipients, { where: { mergedInto: { in: into } } })
    ids.push(...merged.map(row => row.recipientId).filter(id => !ids.includes(id)))
  }
  return ids
}

/** The rows changed in between: the unit must be run again with the locks that it turned out to need. */
export class RecipientsMoved extends CallError {
  constructor() {
    super('SIGNAL_RECIPIENTS_MOVED', 'recipients were joined meanwhile', { field: 'recipient' })
  }
}

const attempts = 5

/**
 * Runs a unit that needs the one recipient of some ids: `run` gets the ids of all rows that hold them, and a fresh one for
 * a person not known yet, to be locked together.
 */
export const withRecipient = async <T>(
  context: SignalContext,
  named: RecipientIds,
  run: (candidates: readonly string[], fresh: string) => Promise<T>,
): Promise<T> => {
  const { store, userId, random } = context
  for (let attempt = 1; ; attempt++) {
    const rows = await readRecipients((table, query) => store.find(table, query), userId, named)
    const fresh = `${recipientPrefix}${toBase64url(random(15))}`
    const ids = rows.map(row => row.recipientId)
    // A known recipient is locked alone, so that its units share commits; that another one is needed turns out under its lock.
    const candidates = attempt === 1 && ids.length === 1 ? ids : [...ids, fresh]
    try {
      return await run(candidates, fresh)
    } catch (error) {
      const again = error instanceof RecipientsMoved || (error instanceof StoreError && error.code === 'STORE_CONFLICT')
      if (!again || attempt >= attempts) throw error
    }
  }
}

/** One recipient, with what had to change so that it is one. */
export interface Resolved {
  readonly recipient: RecipientRow
  readonly changes: readonly Change[]
  readonly events: readonly NewEvent[]
}

/**
 * The one recipient of ids that belong together (S18), decided under the locks of all candidates: rows that turn out to be
 * one person are joined, a number that has gone to another ACI moves with an event.
 */
export const resolveRecipient = (
  context: SignalContext,
  { now }: Pick<UnitState, 'now'>,
  rows: readonly RecipientRow[],
  ids: RecipientIds,
  locked: readonly string[],
  fresh: string,
): Resolved => {
  if (rows.some(row => !locked.includes(row.recipientId))) throw new RecipientsMoved()
  const chosen = rows.find(row => ids.aci !== undefined && row.aci === ids.aci) ?? rows.find(row => fits(row, ids))
  if (
    chosen === undefined &&
    ids.aci === undefined &&
    ids.pni === undefined &&
    rows.length === 0 &&
    ids.e164 === undefined
  )
    throw new CallError('SIGNAL_RECIPIENT', 'a recipient has an ACI, a PNI or a number', { field: 'to' })
  if (chosen === undefined && !locked.includes(fresh)) throw new RecipientsMoved()
  const base: RecipientRow = chosen ?? newRecipient(context, fresh, now)
  const set: Record<string, string | null> = {}
  for (const kind of kinds) if (ids[kind] !== undefined && base[kind] !== ids[kind]) set[kind] = ids[kind] as string
  const changes: Change[] = []
  const events: NewEvent[] = []
  for (const other of rows) {
    if (other.recipientId === base.recipientId) continue
    changes.push(...giveUp(other, ids, base.recipientId))
    events.push(takenEvent(context, base, other, ids))
  }
  const recipient = { ...base, ...set } as RecipientRow
  if (chosen === undefined) changes.push(insert(signalRecipients, recipient))
  else if (Object.keys(set).length > 0) changes.push(patch(signalRecipients, { recipientId: base.recipientId }, set))
  return { recipient, changes, events }
}

// A row without another ACI of its own can be the same person.
const fits = (row: RecipientRow, { aci }: RecipientIds): boolean =>
  row.aci === null || aci === undefined || row.aci === aci

/**
 * The other row loses what belongs to the chosen one. One that nothing can be sent to any more was the same person, under another
 * number perhaps: what waits there goes to the chosen one.
 */
const giveUp = (row: RecipientRow, ids: RecipientIds, into: string): Change[] => {
  const left = kinds.filter(kind => row[kind] !== null && row[kind] !== ids[kind])
  const set = Object.fromEntries(kinds.filter(kind => !left.includes(kind)).map(kind => [kind, null]))
  const merged = left.every(kind => kind === 'e164') || (row.aci === null && ids.aci !== undefined)
  const cleared = merged ? { aci: null, pni: null, e164: null, mergedInto: into } : set
  return [patch(signalRecipients, { recipientId: row.recipientId }, cleared)]
}

const takenEvent = (context: SignalContext, base: RecipientRow, other: RecipientRow, ids: RecipientIds): NewEvent => {
  const anotherAci = other.aci !== null && ids.aci !== undefined && other.aci !== ids.aci
  return anotherAci
    ? signalEvent(context, base.recipientId, 'UNEXPECTED_SERVICE_ID', {
        number: ids.e164 ?? null,
        expected: other.aci,
        actual: ids.aci ?? null,
        previousRecipientId: other.recipientId,
      })
    : signalEvent(context, base.recipientId, 'RECIPIENT_MERGED', { mergedRecipientId: other.recipientId })
}

const newRecipient = ({ userId }: SignalContext, recipientId: string, now: number): RecipientRow => ({
  recipientId,
  userId,
  aci: null,
  pni: null,
  e164: null,
  profileKey: null,
  sealed: 'unknown',
  registered: true,
  lastMessageId: 0,
  mergedInto: null,
  createdAt: now,
})

/** A new profile key is a new right to sealed sender: an earlier refusal does not count any more. */
export const profileKeyChange = (recipient: RecipientRow, profileKey: Uint8Array | undefined): Change[] =>
  profileKey === undefined ||
  profileKey.length !== 32 ||
  (recipient.profileKey !== null && Buffer.compare(recipient.profileKey, profileKey) === 0)
    ? []
    : [patch(signalRecipients, { recipientId: recipient.recipientId }, { profileKey, sealed: 'unknown' })]

/** The recipient that a caller names by id, ACI, PNI or number. Throws CallError `SIGNAL_RECIPIENT_UNKNOWN`. */
export const findRecipient = async ({ store, userId }: SignalContext, to: string): Promise<RecipientRow> => {
  const ids = idsOf(to)
  let [row] = await store.find(signalRecipients, {
    where: ids === undefined ? { recipientId: to, userId } : ({ userId, ...ids } as object),
  })
  for (let hops = 0; row !== undefined && row.mergedInto !== null && hops < attempts; hops++) {
    ;[row] = await store.find(signalRecipients, { where: { recipientId: row.mergedInto } })
  }
  if (row !== undefined) return row
  throw new CallError('SIGNAL_RECIPIENT_UNKNOWN', 'there is no such recipient', {
    field: 'to',
    hint: isE164(to)
      ? 'a number must be made known first: setRecipient with its ACI'
      : 'give an ACI, a PNI or a recipientId of an event',
  })
}

/** The recipient of ids that belong together, made or joined if need be; `profileKey` gives the right to sealed sender. */
export const setRecipient = (
  context: SignalContext,
  ids: RecipientIds,
  profileKey?: Uint8Array,
): Promise<RecipientRow> =>
  withRecipient(context, ids, (candidates, fresh) =>
    context.runtime.run({
      name: 'signal.setRecipient',
      locks: candidates,
      load: read => readRecipients(read, context.userId, ids),
      compute: (state, rows) => {
        const { recipient, changes, events } = resolveRecipient(context, state, rows, ids, candidates, fresh)
        return { result: recipient, changes: [...changes, ...profileKeyChange(recipient, profileKey)], events }
      },
    }),
  )
