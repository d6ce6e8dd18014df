/**
 * An agent on a pair of streams: JSON-RPC requests come in and answers and events go out, one JSON object a line.
 */
import type { Readable, Writable } from 'node:stream'
import type { Agent } from '../agent/api/agent.js'
import { StoreError } from '../errors.js'
import { type Clock, systemClock, type TimerHandle } from '../runtime/clock.js'
import { createLineWriter, type Line, type LineWriter, readLines } from './lines.js'
import { createRpc, errorLine, eventNotification, lineTooLong, notJson, type RpcOptions } from './rpc.js'

export interface StdioOptions extends RpcOptions {
  /** The consumer whose events are written; registered if it is new. Default `default`. */
  readonly consumer?: string
  /** Stops serving in order, as the end of the input does. */
  readonly stop?: AbortSignal
  /** The longest line in bytes that is read. Default 1 MiB. */
  readonly maxLineLength?: number
  /** Requests (lines) that are worked on at a time; reading waits while there are so many. Default 256. */
  readonly maxInFlight?: number
  /** How long stopping waits for answers in flight, in milliseconds. Default 10 s. */
  readonly graceMs?: number
  readonly clock?: Clock
}

/**
 * Serves until the input ends, the output's reader goes away or `stop` is aborted; then reads no more, finishes the
 * answers in flight, and resolves. Closing the agent stays the caller's part.
 *
 * @throws DuologueError when the event log cannot be read any more; a database that is away is waited for.
 */
export const serveStdio = async (
  agent: Agent,
  input: Readable,
  output: Writable,
  options: StdioOptions = {},
): Promise<void> => {
  const { consumer = 'default', graceMs = 10_000, clock = systemClock } = options
  const writer = createLineWriter(output)
  const stopping = abortedByAny([options.stop, writer.ended])
  const inFlight = new Set<Promise<void>>()
  let failure: { error: unknown } | undefined

  const events = writeEvents(agent, writer, stopping.signal, { ...options, consumer, clock }).catch(
    (error: unknown) => {
      // A failure after the end began is only the stream of events being cut off.
      if (!stopping.signal.aborted) failure = { error }
      stopping.abort()
    },
  )
  await serveRequests(agent, input, writer, inFlight, stopping.signal, options)
  await withDeadline(Promise.all(inFlight), graceMs, clock)
  stopping.abort()
  await withDeadline(events, graceMs, clock)
  if (failure !== undefined) throw failure.error
}

/** Reads requests until the input ends or `stop` is aborted; answers that are not written yet stay in `inFlight`. */
const serveRequests = async (
  agent: Agent,
  input: Readable,
  writer: LineWriter,
  inFlight: Set<Promise<void>>,
  stop: AbortSignal,
  options: StdioOptions,
): Promise<void> => {
  const { maxLineLength = 1_048_576, maxInFlight = 256 } = options
  const rpc = createRpc(agent, options)
  const answer = async (line: Line): Promise<void> => {
    const text = 'text' in line ? await rpc.handle(line.text) : problemLine(line.problem, maxLineLength)
    // A reader that is gone ends the service by writer.ended.
    if (text !== undefined) await writer.write(text).catch(() => {})
  }
  const endInput = (): void => {
    input.destroy()
  }
  const stopped = whenAborted(stop)
  void stopped.then(endInput)
  try {
    for await (const line of readLines(input, maxLineLength)) {
      if (stop.aborted) return
      const work = answer(line).finally(() => inFlight.delete(work))
      inFlight.add(work)
      if (inFlight.size >= maxInFlight) await Promise.race([...inFlight, stopped])
    }
  } catch (error) {
    // Ending the input breaks the loop with an error of the stream. An input that breaks by itself is at its end as well.
    if (!stop.aborted) options.onUnexpected?.(error, 'input')
  }
}

const problemLine = (problem: 'tooLong' | 'notUtf8', limit: number): string =>
  errorLine(problem === 'tooLong' ? lineTooLong(limit) : notJson)

/** A database that is away for a while: reading goes on where it was. */
const passingCodes: ReadonlySet<string> = new Set(['STORE_UNAVAILABLE', 'STORE_BUSY'])
const readAgainMs = 1_000

/** Writes the consumer's events one by one: the next is taken from the log when there is room for it. */
const writeEvents = async (
  agent: Agent,
  writer: LineWriter,
  stop: AbortSignal,
  { consumer, clock, onUnexpected }: Required<Pick<StdioOptions, 'consumer' | 'clock'>> & StdioOptions,
): Promise<void> => {
  const stopped = whenAborted(stop)
  let after: number | undefined
  while (!stop.aborted) {
    try {
      const from = after === undefined ? {} : { after }
      for await (const event of agent.events({ consumer, signal: stop, ...from })) {
        // A reader that does not read must not keep the service from stopping.
        if (!stop.aborted) await Promise.race([writer.write(eventNotification(event)), stopped])
        if (stop.aborted) return
        after = event.cursor
      }
      return
    } catch (error) {
      if (!(error instanceof StoreError) || !passingCodes.has(error.code)) throw error
      onUnexpected?.(error, 'events')
      await withDeadline(stopped, readAgainMs, clock)
    }
  }
}

const abortedByAny = (signals: ReadonlyArray<AbortSignal | undefined>): AbortController => {
  const controller = new AbortController()
  for (const signal of signals) {
    if (signal !== undefined) void whenAborted(signal).then(() => controller.abort())
  }
  return controller
}

const whenAborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

const withDeadline = async (work: Promise<unknown>, ms: number, clock: Clock): Promise<void> => {
  let timer: TimerHandle | undefined
  const late = new Promise<void>(resolve => {
    timer = clock.setTimeout(resolve, ms)
  })
  await Promise.race([work, late])
  if (timer !== undefined) clock.clearTimeout(timer)
}
