/** A trace file, read piece by piece: JSON lines, of whoever wrote them. What is no record is told with its line. */
import type { TraceRecord } from './trace.js'
import { TraceTable } from './traceTable.js'

/** A line that is no record. */
export interface BadLine {
  readonly line: number
  readonly why: string
  /** How it begins. */
  readonly text: string
}

export interface LoadedTrace {
  readonly table: TraceTable
  /** The first lines that are no records. */
  readonly bad: readonly BadLine[]
  /** How many there are in all. */
  readonly badCount: number
  /** Records that the writer has left out because the disk was slow. */
  readonly leftOut: number
  /** There are more records than are kept. */
  readonly cut: boolean
}

/** The last moment that a date can be. */
const latest = 8.64e15
const longestLine = 1_048_576
const mostBad = 100
const excerptLength = 80
/** About 90 bytes each are kept in memory. */
const mostRecords = 5_000_000

export class TraceReader {
  readonly #table = new TraceTable()
  readonly #bad: BadLine[] = []
  readonly #mostRecords: number
  #badCount = 0
  #leftOut = 0
  #line = 0
  #cut = false
  /** The beginning of a line whose end has not come. */
  #begun = ''
  /** The line that has begun is too long: it is told of already. */
  #skipping = false

  constructor(most: number = mostRecords) {
    this.#mostRecords = most
  }

  get count(): number {
    return this.#table.length
  }

  /** Takes the next piece of the file, which may end anywhere. */
  push(text: string): void {
    let from = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      this.#begin(text.slice(from, end))
      this.#finish()
      from = end + 1
    }
    this.#begin(text.slice(from))
  }

  /** The end of the file. */
  end(): LoadedTrace {
    if (this.#begun !== '' || this.#skipping) this.#finish()
    const { length } = this.#table
    return {
      table: this.#table,
      bad: this.#bad,
      badCount: this.#badCount,
      leftOut: this.#leftOut,
      cut: this.#cut && length > 0,
    }
  }

  #begin(text: string): void {
    if (this.#skipping) return
    this.#begun += text
    if (this.#begun.length <= longestLine) return
    this.#refuse(this.#line + 1, 'it is longer than 1 MiB', this.#begun)
    this.#begun = ''
    this.#skipping = true
  }

  #finish(): void {
    this.#line++
    const text = this.#begun.trim()
    this.#begun = ''
    if (this.#skipping) {
      this.#skipping = false
      return
    }
    if (text !== '') this.#take(text)
  }

  #take(text: string): void {
    const value = parsed(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#refuse(this.#line, value === undefined ? 'it is no JSON' : 'it is no JSON object', text)
      return
    }
    const fields = value as Record<string, unknown>
    if (typeof fields['leftOut'] === 'number') {
      this.#leftOut += fields['leftOut']
      return
    }
    const why = problemOf(fields)
    if (why !== undefined) this.#refuse(this.#line, why, text)
    else if (this.#table.length >= this.#mostRecords) this.#cut = true
    else this.#table.add({ traceId: '', ...fields } as unknown as TraceRecord)
  }

  #refuse(line: number, why: string, text: string): void {
    this.#badCount++
    if (this.#bad.length < mostBad) this.#bad.push({ line, why, text: text.slice(0, excerptLength) })
  }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

const texts = ['traceId', 'machine', 'id', 'event', 'from', 'to', 'error'] as const
const lists = ['intents', 'events', 'wakes', 'aggregates'] as const
const phases = ['lock', 'compute', 'commit'] as const

/** What keeps an object from being a record; undefined when nothing does. */
const problemOf = (fields: Readonly<Record<string, unknown>>): string | undefined => {
  if (typeof fields['at'] !== 'number' || Math.abs(fields['at']) > latest) return '`at` is no time in ms'
  if (typeof fields['unit'] !== 'string') return '`unit` is no text'
  const noText = texts.find(name => fields[name] !== undefined && typeof fields[name] !== 'string')
  if (noText !== undefined) return `\`${noText}\` is no text`
  const noList = lists.find(name => fields[name] !== undefined && !isTexts(fields[name]))
  if (noList !== undefined) return `\`${noList}\` is no list of texts`
  if (fields['facts'] !== undefined && !isObject(fields['facts'])) return '`facts` is no object'
  return isDurations(fields['durations']) ? undefined : '`durations` has no numbers for lock, compute and commit'
}

const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(item => typeof item === 'string')
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isDurations = (value: unknown): boolean =>
  value === undefined || (isObject(value) && phases.every(phase => typeof value[phase] === 'number'))
