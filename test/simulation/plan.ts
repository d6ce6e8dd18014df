/** What happens in a simulated world: plain JSON, so that it can be printed, shrunk and played again. */
import type { DiskFault } from './disk.js'

export type Side = 'a' | 'b'
/** How the two sides of a pair become connected. */
export type Kind = 'fast' | 'legacy' | 'contact'

/** What applications do. Agents and routers are numbers, a pair is the number that its `meet` gives it. */
export type Action =
  | {
      readonly do: 'meet'
      readonly pair: number
      readonly a: number
      readonly b: number
      readonly kind: Kind
      readonly pq: boolean
    }
  | {
      readonly do: 'say'
      readonly pair: number
      readonly side: Side
      readonly count: number
      readonly how: 'one' | 'batch' | 'burst' | 'async'
    }
  | { readonly do: 'switch' | 'abort'; readonly pair: number; readonly side: Side }
  | { readonly do: 'sync'; readonly pair: number; readonly side: Side }
  | { readonly do: 'delete'; readonly pair: number; readonly side: Side; readonly wait: boolean }
  /** The application takes no events for a while. */
  | { readonly do: 'stall'; readonly agent: number; readonly ms: number }
  | { readonly do: 'suspend'; readonly agent: number; readonly graceMs: number; readonly ms: number }
  | { readonly do: 'offline'; readonly agent: number; readonly ms: number }
  | {
      readonly do: 'configure'
      readonly agent: number
      readonly sessionMode: 'session' | 'entity'
      readonly proxyMode: 'never' | 'unknown' | 'always'
    }

/** What goes wrong. `after`: at which of the next effects (commits, blocks sent and received). */
export type Fault =
  | { readonly do: 'crash'; readonly agent: number; readonly after: number; readonly downMs: number }
  | { readonly do: 'disk'; readonly agent: number; readonly after: number; readonly how: DiskFault }
  | { readonly do: 'jump'; readonly agent: number; readonly ms: number }
  | { readonly do: 'crashRouter'; readonly router: number; readonly after: number; readonly downMs: number }
  | { readonly do: 'jumpRouter'; readonly router: number; readonly ms: number }
  | { readonly do: 'cut' | 'halt'; readonly agent: number; readonly router: number }
  | {
      readonly do: 'halfOpen'
      readonly agent: number
      readonly router: number
      readonly direction: 'toRouter' | 'toClient'
    }
  | {
      readonly do: 'partition'
      readonly agent: number
      readonly router: number
      readonly how: 'refuses' | 'silent'
      readonly ms: number
    }
  /** The next connections of an agent reach the router twice. */
  | { readonly do: 'duplicate'; readonly agent: number; readonly count: number }
  | { readonly do: 'latency'; readonly min: number; readonly max: number }

/** One thing that happens at its time, in ms from the start. */
export type Step = { readonly at: number } & (Action | Fault)

export interface Plan {
  /** Of keys, ids and latencies. */
  readonly seed: number
  readonly agents: number
  readonly routers: number
  /** Messages that a queue of the routers holds. */
  readonly quota: number
  readonly cleanupIntervalMs: number
  readonly latency: { readonly min: number; readonly max: number }
  readonly steps: readonly Step[]
  /** From here on nothing is broken any more, ms from the start. */
  readonly healAt: number
}
