/**
 * The live view of an agent over a WebSocket: read-only. The first message must carry the token; after it the reader gets what
 * happened lately and then everything as it happens, and may ask for counts, actors and the history of one.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { WebSocket } from 'ws'
import { z } from 'zod'
import type { Agent } from '../agent/api/agent.js'
import type { Clock } from '../runtime/clock.js'
import type { TraceRecord } from '../runtime/ports.js'
import type { LiveFeed } from './liveFeed.js'
import { safeId, safeName } from './redact.js'

export interface LiveSource {
  readonly agent: Pick<Agent, 'countActors' | 'listActors'>
  readonly feed: LiveFeed
  readonly token: string
}

const name = z.string().min(1).max(64)
const id = z.string().min(1).max(256)
const questionSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('counts') }),
  z.strictObject({
    type: z.literal('actors'),
    machine: name,
    connectionId: id.optional(),
    state: z.string().min(1).max(96).optional(),
    after: z.string().max(256).optional(),
  }),
  z.strictObject({ type: z.literal('actor'), machine: name, id }),
])
type Question = z.infer<typeof questionSchema>
const helloSchema = z.strictObject({ type: z.literal('hello'), token: z.string().max(256) })

/** The longest message of a reader, in bytes. */
export const maxQuestionLength = 2_048
/** Close codes of ours: a wrong token, a message that is none, a reader too slow. */
export const closeCodes = { token: 4401, question: 4400, slow: 4408 } as const

const helloMs = 5_000
const flushMs = 100
const perFlush = 500
/** A reader behind by more than this many bytes gets no records until it has caught up. */
const mostBuffered = 1_048_576
const pageLength = 200
/** Counting goes through tables: an answer is good for so long, for all readers. */
const countsMs = 2_000

/** Serves one reader until either side closes. */
export const serveLive = (socket: WebSocket, source: LiveSource, clock: Clock): void => {
  const late = clock.setTimeout(() => socket.close(closeCodes.token, 'no token came'), helloMs)
  let reader: Reader | undefined
  socket.on('message', data => {
    const message = parse(String(data))
    if (reader === undefined) {
      clock.clearTimeout(late)
      const hello = helloSchema.safeParse(message)
      if (!hello.success || !sameText(hello.data.token, source.token)) {
        socket.close(closeCodes.token, 'the token is wrong')
        return
      }
      reader = startReader(socket, source, clock)
      return
    }
    const question = questionSchema.safeParse(message)
    if (question.success) void answer(socket, source, reader, clock, question.data)
    else socket.close(closeCodes.question, 'not a question')
  })
  socket.on('close', () => {
    clock.clearTimeout(late)
    reader?.stop()
  })
  socket.on('error', () => socket.terminate())
}

interface Reader {
  /** Sends the records that wait. */
  flush(): void
  stop(): void
}

const startReader = (socket: WebSocket, { feed }: LiveSource, clock: Clock): Reader => {
  send(socket, { type: 'welcome', at: clock.now(), records: feed.recent() })
  let waiting: TraceRecord[] = []
  let leftOut = 0
  const unfollow = feed.follow(record => {
    if (waiting.length < perFlush) waiting.push(record)
    else leftOut++
  })
  const flush = (): void => {
    if (socket.bufferedAmount > mostBuffered) {
      leftOut += waiting.length
      waiting = []
      return
    }
    if (waiting.length === 0) return
    send(socket, { type: 'records', records: waiting, leftOut })
    waiting = []
    leftOut = 0
  }
  const flushOften = (): void => {
    timer = clock.setTimeout(flushOften, flushMs)
    flush()
  }
  let timer = clock.setTimeout(flushOften, flushMs)
  return {
    flush,
    stop: () => {
      clock.clearTimeout(timer)
      unfollow()
    },
  }
}

type Counts = Awaited<ReturnType<Agent['countActors']>>['counts']
const lastCounts = new WeakMap<LiveSource, { readonly at: number; readonly counts: Promise<Counts> }>()

const countsOf = (source: LiveSource, now: number): Promise<Counts> => {
  const last = lastCounts.get(source)
  if (last !== undefined && now - last.at < countsMs) return last.counts
  const counts = source.agent.countActors({}).then(result => result.counts)
  lastCounts.set(source, { at: now, counts })
  return counts
}

const answer = async (
  socket: WebSocket,
  source: LiveSource,
  reader: Reader,
  clock: Clock,
  question: Question,
): Promise<void> => {
  const { agent, feed } = source
  try {
    switch (question.type) {
      case 'counts': {
        const counts = await countsOf(source, clock.now())
        return send(socket, {
          type: 'counts',
          counts: counts.map(({ machine, state, count }) => ({
            machine: safeName(machine),
            state: safeName(state),
            count,
          })),
        })
      }
      case 'actors': {
        const { type: _, ...params } = question
        const { actors } = await agent.listActors({ ...defined(params), limit: pageLength })
        return send(socket, {
          ...question,
          more: actors.length === pageLength,
          actors: actors.map(actor => ({
            id: safeId(actor.id),
            state: safeName(actor.state),
            ...(actor.connectionId === undefined ? {} : { connectionId: safeId(actor.connectionId) }),
          })),
        })
      }
      case 'actor':
        // What the history holds must not come once more afterwards.
        reader.flush()
        return send(socket, { ...question, records: feed.historyOf(question.machine, question.id) })
    }
  } catch {
    // The agent is closing, or its store does not answer: the reader asks again.
    send(socket, { type: 'failed', question: question.type })
  }
}

/** Without the fields that are undefined. */
const defined = <T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const send = (socket: WebSocket, message: object): void => {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message))
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Hashes have one length, so the comparison tells nothing of the token's.
const sameText = (given: string, expected: string): boolean => timingSafeEqual(digest(given), digest(expected))
const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
