/** One side of the demo: an agent, its connection, and its events as they come. */
import type { Agent } from '../../agent/api/agent.js'
import type { AgentEvent } from '../../agent/api/events.js'
import { CallError } from '../../errors.js'

export interface Party {
  readonly agent: Agent
  readonly connectionId: string
}

/** Handles every event of an agent in its order until it is stopped. */
export interface EventReader {
  /** What the events go to from now on. */
  handle: (event: AgentEvent) => void
  /** Rejects when the events cannot be read, or when handling one throws; never resolves. */
  readonly failed: Promise<never>
  stop(): Promise<void>
}

export const readEvents = (agent: Agent): EventReader => {
  const stop = new AbortController()
  let fail: (error: unknown) => void = () => {}
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  failed.catch(() => {})
  const reader: EventReader = {
    handle: () => {},
    failed,
    stop: async () => {
      stop.abort()
      await reading
    },
  }
  const read = async (): Promise<void> => {
    for await (const event of agent.events({ signal: stop.signal })) {
      if (stop.signal.aborted) return
      reader.handle(event)
    }
  }
  const reading = read().catch(fail)
  return reader
}

/** Throws what an event reports that no conversation survives. */
export const throwIfFailed = (event: AgentEvent): void => {
  if (event.type !== 'ERR' || event.temporary === true) return
  const { code, message, field, hint } = event.error
  throw new CallError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/**
 * The result of `work`, unless `ms` milliseconds pass without a sign of life.
 *
 * @throws CallError CMD_DEADLINE
 */
export const withStallDeadline = async <T>(
  work: (alive: () => void) => Promise<T>,
  ms: number,
  late: () => { what: string; facts?: Readonly<Record<string, number>> },
): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const { what, facts = {} } = late()
      const hint = 'is the router reachable? --log-level info shows what the agents do'
      reject(new CallError('CMD_DEADLINE', `${what} within ${ms / 1000} s`, { hint, facts }))
    }, ms)
  })
  try {
    return await Promise.race([work(() => timer?.refresh()), stalled])
  } finally {
    clearTimeout(timer)
  }
}
