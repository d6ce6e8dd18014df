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
  /** By what it is about. */
  readonly reasons: Map<string, string>
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
    reasons: new Map(),
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

  /** Something does not work although messages do: `PRE_KEYS`, `CERTIFICATE`. */
  degraded(reason: string, stands: boolean): void {
    this.degradedBy(reason, stands ? reason : undefined)
  }

  /** Why something does not work, in place of whatever was said of it before: `ATTRIBUTES_422`. */
  degradedBy(subject: string, reason: string | undefined): void {
    const { reasons } = this.#findings
    if (reason === undefined) reasons.delete(subject)
    else reasons.set(subject, reason)
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
    const more = [...reasons.values()].sort()
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
