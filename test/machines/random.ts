/** Random events and random lives of machines, for the properties. What is drawn comes from the walks, so that no event is forgotten. */
import * as fc from 'fast-check'
import { type AnyEventObject, type AnyStateMachine, fromPromise } from 'xstate'
import { walks } from '../../machines/walks.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { type LiveWorker, startWorker } from './worker.js'

/** Any event of a machine, in any variant; each type as likely as another one. */
export const anyEvent = <E extends AnyEventObject>(machine: AnyStateMachine): fc.Arbitrary<E> => {
  const walk = walks.find(({ name }) => name === machine.id)
  if (walk === undefined) throw new Error(`nobody walks through ${machine.id}`)
  const ofType = Object.values(walk.events).map(variants => fc.constantFrom(...(variants as readonly E[])))
  return fc.oneof(...ofType)
}

/** A piece of invoked work that has begun and not ended. */
export interface OpenWork {
  readonly name: string
  readonly input: Readonly<Record<string, unknown>>
}

/** How each kind of work can end, beside breaking off. */
export type Outcomes = Readonly<Record<string, readonly unknown[]>>

export interface Life {
  readonly worker: LiveWorker<AnyStateMachine>
  /** Work that is under way; what was begun in a state that has been left is not. */
  readonly open: () => readonly OpenWork[]
  /** Work in the order in which it began, and actions, by name and parameters. */
  readonly did: readonly string[]
  readonly began: readonly OpenWork[]
}

export type Step = { readonly event: AnyEventObject } | { readonly end: number } | { readonly ms: number }

/** What happens to a worker: events, the end of what is under way (often), time. */
export const anySteps = (machine: AnyStateMachine, maxLength = 40): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 4, arbitrary: anyEvent(machine).map(event => ({ event })) },
      { weight: 5, arbitrary: fc.nat(1000).map(end => ({ end })) },
      { weight: 2, arbitrary: fc.constantFrom(1, 1_000, 60_000, 3_600_000).map(ms => ({ ms })) },
    ),
    { maxLength },
  )

// Nothing but promises is waited for here.
const microtasks = async (): Promise<void> => {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve()
}

/** Starts a worker machine whose work ends as the steps say, and takes the steps; `look` sees it after each of them. */
export const live = async (
  machine: AnyStateMachine,
  input: object | undefined,
  outcomes: Outcomes,
  steps: readonly Step[],
  look: (life: Life) => void = () => {},
): Promise<Life & { readonly take: (step: Step) => Promise<void> }> => {
  const open: Array<OpenWork & { resolve: (output: unknown) => void; reject: (error: Error) => void }> = []
  const did: string[] = []
  const began: OpenWork[] = []
  const actors = Object.fromEntries(
    Object.keys(outcomes).map(name => [
      name,
      fromPromise<unknown, Record<string, unknown>>(
        ({ input: about, signal }) =>
          new Promise((resolve, reject) => {
            const work = { name, input: about, resolve, reject }
            open.push(work)
            began.push(work)
            did.push(name)
            signal.addEventListener('abort', () => void (open.includes(work) && open.splice(open.indexOf(work), 1)))
          }),
      ),
    ]),
  )
  const stubs = Object.entries(machine.implementations.actions).filter(([, action]) => isStub(action))
  const actions = Object.fromEntries(
    stubs.map(([name]) => [name, (_: unknown, params?: object) => void did.push(wordOf(name, params))]),
  )
  const clock = virtualClock(0, microtasks)
  const worker = startWorker(machine.provide({ actors, actions } as never), input as never, clock)
  const life: Life = { worker, open: () => open, did, began }
  const take = async (step: Step): Promise<void> => {
    if ('event' in step) worker.send(step.event as never)
    else if ('ms' in step) await clock.advance(step.ms)
    else if (open.length > 0) {
      const [work] = open.splice(step.end % open.length, 1) as [(typeof open)[number]]
      const ends = outcomes[work.name] as readonly unknown[]
      const index = step.end % (ends.length + 1)
      if (index === ends.length) work.reject(new Error('broke off'))
      else work.resolve(ends[index])
    }
    await clock.settle()
    look(life)
  }
  look(life)
  for (const step of steps) await take(step)
  return { ...life, take }
}

/** Lets work end as `outcome` says until nothing is under way; the number of ends, at most `most`. */
export const drain = async (
  { open, take }: Life & { readonly take: (step: Step) => Promise<void> },
  endOf: (work: OpenWork) => number,
  most = 50,
): Promise<number> => {
  let ends = 0
  for (; open().length > 0 && ends < most; ends++) await take({ end: endOf(open()[0] as OpenWork) })
  return ends
}

const wordOf = (name: string, params: object | undefined): string =>
  params === undefined
    ? name
    : `${name} ${Object.values(params)
        .filter(value => typeof value === 'string')
        .join(' ')}`

// What the runtime provides throws at once as long as nobody does.
const isStub = (action: unknown): boolean => {
  if (typeof action !== 'function' || action.length > 0) return false
  try {
    ;(action as () => void)()
    return false
  } catch {
    return true
  }
}
