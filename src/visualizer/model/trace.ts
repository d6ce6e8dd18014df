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
  /** More of what a step has found: names, numbers, states. */
  readonly facts?: Readonly<Record<string, unknown>>
}

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
      close(key - 1)
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

/** The state that records of one actor end in; undefined when none of them says. */
export const lastState = (records: readonly TraceRecord[]): string | undefined =>
  records.findLast(({ to }) => to !== undefined)?.to

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
