import { type AnyStateMachine, createActor, type EventFrom, type InputFrom } from 'xstate'
import { type VirtualClock, virtualClock } from '../../src/testing/virtualClock.js'

/** A live worker machine on a virtual clock, with the states it went through. */
export interface LiveWorker<M extends AnyStateMachine> {
  readonly clock: VirtualClock
  /** State names as they were entered, dotted; the first is the initial one. */
  readonly states: string[]
  readonly state: () => string
  readonly context: () => Record<string, unknown>
  readonly send: (event: EventFrom<M>) => void
  readonly stop: () => void
}

export const startWorker = <M extends AnyStateMachine>(
  machine: M,
  input?: InputFrom<M>,
  clock: VirtualClock = virtualClock(0),
): LiveWorker<M> => {
  const actor = createActor(machine, {
    input,
    clock: {
      setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms),
      clearTimeout: (handle: never) => clock.clearTimeout(handle),
    },
  } as never)
  const name = (value: unknown): string =>
    typeof value === 'string'
      ? value
      : Object.entries(value as object)
          .map(([parent, child]) => `${parent}.${name(child)}`)
          .join(',')
  const snapshot = () => actor.getSnapshot() as unknown as { value: unknown; context: Record<string, unknown> }
  const states: string[] = []
  actor.subscribe(() => {
    const state = name(snapshot().value)
    if (states.at(-1) !== state) states.push(state)
  })
  actor.start()
  return {
    clock,
    states,
    state: () => name(snapshot().value),
    context: () => snapshot().context,
    send: event => actor.send(event as never),
    stop: () => actor.stop(),
  }
}

/** Work whose ends the test decides: each call waits until `end` or `fail` is called for it. */
export interface Work<Output> {
  readonly run: () => Promise<Output>
  /** Calls so far, and those that have not ended. */
  readonly calls: () => number
  readonly open: () => number
  /** Ends the oldest open call. */
  readonly end: (output: Output) => Promise<void>
  readonly fail: () => Promise<void>
}

export const controlledWork = <Output>(clock: VirtualClock): Work<Output> => {
  const open: Array<{ resolve: (output: Output) => void; reject: (error: Error) => void }> = []
  let calls = 0
  const next = () => {
    const call = open.shift()
    if (call === undefined) throw new Error('no work is under way')
    return call
  }
  return {
    run: () => {
      calls++
      return new Promise<Output>((resolve, reject) => open.push({ resolve, reject }))
    },
    calls: () => calls,
    open: () => open.length,
    end: async output => {
      next().resolve(output)
      await clock.settle()
    },
    fail: async () => {
      next().reject(new Error('unreachable'))
      await clock.settle()
    },
  }
}

/** The waits between attempts, in ms: moves time timer by timer while every attempt ends with `outcome`. */
export const delaysBetween = async <Output>(
  clock: VirtualClock,
  work: Work<Output>,
  outcome: Output,
  count: number,
): Promise<number[]> => {
  const delays: number[] = []
  for (let attempt = 0; attempt < count; attempt++) {
    await work.end(outcome)
    const from = clock.now()
    await clock.next()
    delays.push(clock.now() - from)
  }
  return delays
}
