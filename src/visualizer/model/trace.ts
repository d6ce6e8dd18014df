/** Traces: the JSON lines that an agent writes, and what can be read from them. */

/** One line of a trace, as the runtime writes it. */
export interface TraceRecord {
  readonly at: number
  readonly traceId: string
  readonly unit: string
  readonly machine?: string
  readonly id?: string
  readonly event?: string
  readonly from?: string
  readonly to?: string
  readonly intents?: readonly string[]
  readonly events?: readonly string[]
  readonly wakes?: readonly string[]
  readonly aggregates?: readonly string[]
  readonly durations?: { readonly lock: number; readonly compute: number; readonly commit: number }
  readonly error?: string
}

export interface ParsedTrace {
  readonly records: readonly TraceRecord[]
  /** Lines that are no records. */
  readonly bad: number
  /** Records that the writer has left out because the disk was slow. */
  readonly leftOut: number
}

/** The records of a file of JSON lines. */
export const parseTrace = (text: string): ParsedTrace => {
  const records: TraceRecord[] = []
  let bad = 0
  let leftOut = 0
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const value = parseLine(line)
    if (isRecord(value)) records.push(value)
    else if (typeof value?.['leftOut'] === 'number') leftOut += value['leftOut']
    else bad++
  }
  return { records, bad, leftOut }
}

const parseLine = (line: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

const isText = (value: unknown): boolean => value === undefined || typeof value === 'string'
const isTexts = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.every(item => typeof item === 'string'))

const isRecord = (value: Record<string, unknown> | undefined): value is Record<string, unknown> & TraceRecord =>
  value !== undefined &&
  typeof value['at'] === 'number' &&
  typeof value['unit'] === 'string' &&
  ['traceId', 'machine', 'id', 'event', 'from', 'to', 'error'].every(key => isText(value[key])) &&
  ['intents', 'events', 'wakes', 'aggregates'].every(key => isTexts(value[key])) &&
  isDurations(value['durations'])

const isDurations = (value: unknown): boolean =>
  value === undefined ||
  (typeof value === 'object' &&
    value !== null &&
    ['lock', 'compute', 'commit'].every(key => typeof (value as Record<string, unknown>)[key] === 'number'))

/** A unit of work with the transitions in it, or a single transition outside of any. */
export interface TracedUnit {
  readonly key: number
  readonly at: number
  readonly name: string
  readonly transitions: readonly TraceRecord[]
  /** The unit’s own record: how long its phases took, what was told and woken. */
  readonly summary: TraceRecord | undefined
}

/** Units in the order of their commits. `first` is the number of the first record, so that keys stay the same as records go. */
export const unitsOf = (records: readonly TraceRecord[], first = 0): TracedUnit[] => {
  const units: TracedUnit[] = []
  let open: TraceRecord[] = []
  const close = (key: number, summary?: TraceRecord): void => {
    const [start] = open
    const named = summary ?? start
    if (named !== undefined) units.push({ key, at: named.at, name: named.unit, transitions: open, summary })
    open = []
  }
  records.forEach((record, index) => {
    const key = first + index
    const isTransition = record.machine !== undefined
    if (isTransition && record.traceId === '') {
      close(key)
      open = [record]
      close(key)
      return
    }
    const [start] = open
    if (start !== undefined && start.traceId !== record.traceId) close(key - 1)
    if (isTransition) open.push(record)
    else close(key, record)
  })
  close(first + records.length - 1)
  return units
}

/** An actor as a trace shows it. */
export interface TracedActor {
  readonly machine: string
  readonly id: string
  readonly state: string
  readonly connectionId: string | undefined
  /** Its transitions, oldest first. */
  readonly records: readonly TraceRecord[]
}

export const actorKey = ({ machine, id }: { readonly machine: string; readonly id: string }): string =>
  `${machine} ${id}`

/** The actors of a trace with their states at its end. */
export const actorsOf = (records: readonly TraceRecord[]): TracedActor[] => {
  const actors = new Map<string, TracedActor & { records: TraceRecord[]; state: string }>()
  for (const record of records) {
    const { machine, id, to = '', aggregates } = record
    if (machine === undefined || id === undefined) continue
    const key = actorKey({ machine, id })
    const known = actors.get(key)
    if (known === undefined) {
      actors.set(key, { machine, id, state: to, connectionId: aggregates?.[0], records: [record] })
      continue
    }
    known.state = to
    known.records.push(record)
  }
  return [...actors.values()]
}

/** Connections that a trace tells of, in order of their appearance. */
export const connectionsOf = (records: readonly TraceRecord[]): string[] => [
  ...new Set(records.flatMap(({ aggregates }) => aggregates ?? [])),
]

/** Whether a record belongs to a connection; records without one belong to all. */
export const isOfConnection = (record: TraceRecord, connectionId: string): boolean =>
  connectionId === '' || (record.aggregates ?? []).includes(connectionId)

/** The event of a record as it is read: results of invoked work and timers have long names. */
export const eventText = (event: string): string =>
  event
    .replace(/^xstate\.(done|error)\.actor\..*$/, (_, kind: string) => (kind === 'done' ? 'work done' : 'work failed'))
    .replace(/^xstate\.after\.([^.]+)\..*$/, 'after $1')
    .replace(/^xstate\.init$/, 'started')
    .replace(/^xstate\.stop$/, 'stopped')

/** Names of the transitions that a record can have been: those of its machine with its event, from and to. */
export const transitionsOf = (
  record: TraceRecord,
  transitions: ReadonlyArray<{
    readonly id: string
    readonly source: string
    readonly target: string | undefined
    readonly event: string
  }>,
): string[] => {
  const { event = '', from = '', to = '' } = record
  return transitions
    .filter(transition => transition.event === event)
    .filter(({ source }) => source === '' || from === source || from.startsWith(`${source}.`))
    .filter(({ target }) => (target === undefined ? from === to : to === target || to.startsWith(`${target}.`)))
    .map(({ id }) => id)
}
