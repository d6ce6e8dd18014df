/**
 * A trace of any length in little memory: columns of numbers, each text kept once. What was at any moment is found by looking up,
 * never by walking through everything before.
 */
import type { TraceRecord } from './trace.js'

/** Texts, or lists of them, by a number each; 0 stands for none. */
class Names<V> {
  readonly #numbers = new Map<string, number>()
  readonly #values: Array<V | undefined> = [undefined]

  numberOf(key: string, value: V): number {
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    this.#numbers.set(key, this.#values.length)
    return this.#values.push(value) - 1
  }

  at(number: number): V | undefined {
    return this.#values[number]
  }
}

const textFields = ['traceId', 'unit', 'machine', 'id', 'event', 'from', 'to', 'error'] as const
const listFields = ['intents', 'events', 'wakes', 'aggregates'] as const
const phases = ['lock', 'compute', 'commit'] as const
type NamedField = (typeof textFields)[number] | (typeof listFields)[number] | 'facts'

/** Numbers in a row that grows by doubling. */
interface Column {
  values: Uint32Array
}

/** Records of one connection, or of all, in their order. */
export interface TraceView {
  readonly length: number
  /** Number of its n-th record in the whole trace. */
  numberOf(n: number): number
  /** Its records from one to before another. */
  records(from: number, to: number): TraceRecord[]
}

export interface ActorCount {
  readonly machine: string
  readonly state: string
  readonly count: number
}

export class TraceTable {
  #length = 0
  #room = 1_024
  #at = new Float64Array(this.#room)
  /** Lock, compute and commit of each record; NaN where it has none. */
  #durations = new Float64Array(this.#room * phases.length)
  readonly #columns: Readonly<Record<NamedField, Column>>
  readonly #texts = new Names<string>()
  readonly #lists = new Names<readonly string[]>()
  readonly #facts = new Names<TraceRecord['facts']>()
  /** Numbers of the records of each actor, in order, by its machine and id. */
  readonly #ofActor = new Map<string, number[]>()
  readonly #ofConnection = new Map<string, number[]>()

  constructor() {
    const names: readonly NamedField[] = [...textFields, ...listFields, 'facts']
    this.#columns = Object.fromEntries(names.map(name => [name, { values: new Uint32Array(this.#room) }])) as never
  }

  get length(): number {
    return this.#length
  }

  /** Connections in the order of their appearance. */
  get connections(): string[] {
    return [...this.#ofConnection.keys()]
  }

  add(record: TraceRecord): void {
    if (this.#length === this.#room) this.#grow()
    const number = this.#length++
    this.#at[number] = record.at
    for (const name of textFields) {
      const text = record[name]
      if (text !== undefined) this.#columns[name].values[number] = this.#texts.numberOf(text, text)
    }
    for (const name of listFields) {
      const list = record[name]
      if (list !== undefined) this.#columns[name].values[number] = this.#lists.numberOf(JSON.stringify(list), list)
    }
    const { facts, durations, machine, id, aggregates = [] } = record
    if (facts !== undefined) this.#columns.facts.values[number] = this.#facts.numberOf(JSON.stringify(facts), facts)
    phases.forEach((phase, index) => {
      this.#durations[number * phases.length + index] = durations?.[phase] ?? Number.NaN
    })
    if (machine !== undefined && id !== undefined) push(this.#ofActor, `${machine} ${id}`, number)
    for (const connectionId of aggregates) push(this.#ofConnection, connectionId, number)
  }

  record(number: number): TraceRecord {
    const record: Record<string, unknown> = { at: this.#at[number] ?? 0 }
    for (const name of textFields) {
      const text = this.#texts.at(this.#numberAt(name, number))
      if (text !== undefined) record[name] = text
    }
    for (const name of listFields) {
      const list = this.#lists.at(this.#numberAt(name, number))
      if (list !== undefined) record[name] = list
    }
    const facts = this.#facts.at(this.#numberAt('facts', number))
    if (facts !== undefined) record['facts'] = facts
    const [lock = Number.NaN, compute = 0, commit = 0] = this.#durations.subarray(number * phases.length)
    if (!Number.isNaN(lock)) record['durations'] = { lock, compute, commit }
    return record as unknown as TraceRecord
  }

  /** The records of a connection; of all where its id is empty. */
  view(connectionId: string): TraceView {
    const numbers = connectionId === '' ? undefined : (this.#ofConnection.get(connectionId) ?? [])
    const numberOf = (n: number): number => (numbers === undefined ? n : (numbers[n] ?? 0))
    return {
      length: numbers?.length ?? this.#length,
      numberOf,
      records: (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, n) => this.record(numberOf(from + n))),
    }
  }

  /** How many actors of a connection (of all) were in which state after so many records of the whole trace. */
  counts(connectionId: string, before: number): ActorCount[] {
    const counts = new Map<string, { machine: string; state: string; count: number }>()
    for (const { machine, state } of this.#actors(connectionId, before)) {
      const key = `${machine} ${state}`
      const known = counts.get(key)
      if (known === undefined) counts.set(key, { machine, state, count: 1 })
      else known.count++
    }
    return [...counts.values()].sort((a, b) => compare(a.machine, b.machine) || compare(a.state, b.state))
  }

  /** The first actors of a machine at that moment, in one state or in any (''). */
  list(
    kind: { readonly machine: string; readonly state: string },
    connectionId: string,
    before: number,
    most: number,
  ): Array<{ readonly id: string; readonly state: string }> {
    const found: Array<{ id: string; state: string }> = []
    for (const { machine, id, state } of this.#actors(connectionId, before)) {
      if (machine !== kind.machine || (kind.state !== '' && state !== kind.state)) continue
      found.push({ id, state })
      if (found.length === most) break
    }
    return found
  }

  /** Numbers of the last records of one actor at that moment, oldest first. */
  history({ machine, id }: { readonly machine: string; readonly id: string }, before: number, most: number): number[] {
    const numbers = this.#ofActor.get(`${machine} ${id}`) ?? []
    const end = countBelow(numbers, before)
    return numbers.slice(Math.max(0, end - most), end)
  }

  /** The state of an actor at that moment; empty where none of its records has told one. */
  stateOf(actor: { readonly machine: string; readonly id: string }, before: number): string {
    const numbers = this.#ofActor.get(`${actor.machine} ${actor.id}`) ?? []
    return this.#stateAmong(numbers, countBelow(numbers, before))
  }

  *#actors(
    connectionId: string,
    before: number,
  ): Iterable<{ readonly machine: string; readonly id: string; readonly state: string }> {
    const aggregate = connectionId === '' ? undefined : connectionId
    for (const numbers of this.#ofActor.values()) {
      const end = countBelow(numbers, before)
      const first = numbers[0] ?? 0
      if (end === 0 || (aggregate !== undefined && !this.#belongs(first, aggregate))) continue
      const machine = this.#texts.at(this.#numberAt('machine', first)) ?? ''
      const id = this.#texts.at(this.#numberAt('id', first)) ?? ''
      yield { machine, id, state: this.#stateAmong(numbers, end) }
    }
  }

  // An actor belongs to the connection that its first record names.
  #belongs(number: number, connectionId: string): boolean {
    return this.#lists.at(this.#numberAt('aggregates', number))?.includes(connectionId) === true
  }

  #stateAmong(numbers: readonly number[], end: number): string {
    for (let index = end - 1; index >= 0; index--) {
      const state = this.#texts.at(this.#numberAt('to', numbers[index] ?? 0))
      if (state !== undefined) return state
    }
    return ''
  }

  #numberAt(name: NamedField, number: number): number {
    return this.#columns[name].values[number] ?? 0
  }

  #grow(): void {
    this.#room *= 2
    const grown = <A extends Uint32Array | Float64Array>(values: A, more: A): A => {
      more.set(values)
      return more
    }
    this.#at = grown(this.#at, new Float64Array(this.#room))
    this.#durations = grown(this.#durations, new Float64Array(this.#room * phases.length))
    for (const column of Object.values(this.#columns)) column.values = grown(column.values, new Uint32Array(this.#room))
  }
}

const push = (lists: Map<string, number[]>, key: string, number: number): void => {
  const known = lists.get(key)
  if (known === undefined) lists.set(key, [number])
  else if (known.at(-1) !== number) known.push(number)
}

/** How many of ascending numbers are below a limit. */
const countBelow = (numbers: readonly number[], limit: number): number => {
  let [low, high] = [0, numbers.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((numbers[middle] ?? 0) < limit) low = middle + 1
    else high = middle
  }
  return low
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
