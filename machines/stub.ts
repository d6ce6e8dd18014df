/**
 * A machine only names its actions, guards, actors and delays; the runtime provides those that touch the world. What a
 * machine names and nobody provided must fail loudly.
 */
export const stub = (name: string) => (): never => {
  throw new Error(`${name} is provided by the runtime`)
}

/** An intent: an action of a protocol machine. It does nothing; the unit of work turns it into rows, events and wake-ups. */
export const intent =
  <Params extends object | undefined = undefined>() =>
  (_action: unknown, _params: Params): void => {}

/** What every state tells a reader: the behaviours it serves, and the events that mean nothing to it, with the reason. */
export interface StateMeta {
  /** Ids of rows in the behaviour list (B11 …). */
  spec: readonly string[]
  ignores?: Readonly<Record<string, string>>
}
