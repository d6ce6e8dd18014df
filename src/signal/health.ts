import type { Runtime } from '../runtime/runtime.js'
import type { Json } from '../store/index.js'
import { signalEvent } from './context.js'

export type HealthState = 'healthy' | 'degraded' | 'unhealthy' | 'loggedOut'

export interface HealthReport {
  readonly state: HealthState
  /** Why it is not healthy: codes, in a fixed order. */
  readonly reasons: readonly string[]
  /** States of the signalSocket machines. */
  readonly sockets: { readonly identified: string; readonly unidentified: string }
  /** Whether everything that waited at the server when this session began has arrived (S14). */
  readonly caughtUp: boolean
}

/** What health is made of. A reason stands until it is taken back. */
interface Findings {
  identified: string
  unidentified: string
  linked: boolean
  caughtUp: boolean
  readonly reasons: Set<string>
}

export interface HealthOptions {
  readonly userId: number
  readonly runtime: Runtime
  readonly failed: (error: unknown) => void
}

/**
 * The health of the channel (S15): healthy; degraded, when it works but something does not; unhealthy, when messages
 * cannot be received; loggedOut. Every change is an event.
 */
export class Health {
  readonly #options: HealthOptions
  readonly #findings: Findings = {
    identified: 'stopped',
    unidentified: 'stopped',
    linked: false,
    caughtUp: false,
    reasons: new Set(),
  }
  #told = ''
  #telling: Promise<void> = Promise.resolve()

  constructor(options: HealthOptions) {
    this.#options = options
  }

  get report(): HealthReport {
    const { identified, unidentified, caughtUp } = this.#findings
    return { ...this.#judge(), sockets: { identified, unidentified }, caughtUp }
  }

  socket(name: 'identified' | 'unidentified', state: string): void {
    this.#findings[name] = state
    if (name === 'identified' && !state.startsWith('open')) this.#findings.caughtUp = false
    this.#tell()
  }

  linked(linked: boolean): void {
    this.#findings.linked = linked
    this.#tell()
  }

  caughtUp(): void {
    this.#findings.caughtUp = true
  }

  /** Something does not work although messages do: `ATTRIBUTES_422`, `PRE_KEYS`, `CERTIFICATE`. */
  degraded(reason: string, stands: boolean): void {
    const { reasons } = this.#findings
    if (stands) reasons.add(reason)
    else for (const known of reasons) if (known === reason || known.startsWith(`${reason}_`)) reasons.delete(known)
    this.#tell()
  }

  /** Waits until what was found so far has been told. */
  async idle(): Promise<void> {
    await this.#telling
  }

  #judge(): { state: HealthState; reasons: string[] } {
    const { identified, unidentified, linked, reasons } = this.#findings
    if (!linked) return { state: 'loggedOut', reasons: ['NOT_LINKED'] }
    const loggedOut = ['refused', 'invalidated'].find(end => identified === `closed.${end}`)
    if (loggedOut !== undefined) return { state: 'loggedOut', reasons: [`IDENTIFIED_${loggedOut.toUpperCase()}`] }
    const more = [...reasons].sort()
    if (!unidentified.startsWith('open')) more.unshift(`UNIDENTIFIED_${reasonOf(unidentified)}`)
    if (!identified.startsWith('open'))
      return { state: 'unhealthy', reasons: [`IDENTIFIED_${reasonOf(identified)}`, ...more] }
    return { state: more.length === 0 ? 'healthy' : 'degraded', reasons: more }
  }

  #tell(): void {
    const { state, reasons } = this.#judge()
    const words = `${state} ${reasons.join(' ')}`
    if (words === this.#told) return
    this.#told = words
    const { runtime, failed } = this.#options
    const event = signalEvent(this.#options, '', 'HEALTH', { state, reasons } satisfies Json)
    this.#telling = this.#telling
      .then(() =>
        runtime.run({
          name: 'signal.health',
          internal: true,
          locks: [],
          compute: () => ({ result: undefined, events: [event] }),
        }),
      )
      .catch(failed)
  }
}

/** `closed.replaced` → REPLACED; connecting and backing off are one condition: not connected. */
const reasonOf = (state: string): string =>
  state.startsWith('closed.') ? state.slice('closed.'.length).toUpperCase() : 'DISCONNECTED'
