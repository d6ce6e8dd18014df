import type { Clock, TimerHandle } from '../../runtime/clock.js'
import type { SessionLimits } from './types.js'

/** Notices a router that has silently gone, as the reference does. */
export interface KeepAlive {
  /** Something was received. */
  received(): void
  /** A request got no answer in time. */
  timedOut(): void
  stop(): void
}

/** Silence shorter than this is not worth another timer. */
const slackMs = 1_000

/**
 * PINGs after `pingIntervalMs` without anything received, and calls `onSilent` after a PING when `maxTimeouts` requests in a
 * row had no answer and nothing was received for `maxSilenceMs` before it.
 *
 * @param ping sends a PING and settles with its answer or its deadline
 */
export const keepAlive = (
  clock: Clock,
  limits: SessionLimits,
  ping: () => Promise<unknown>,
  onSilent: () => void,
): KeepAlive => {
  let lastReceived = clock.elapsed()
  let timeouts = 0
  let stopped = false
  let timer: TimerHandle | undefined

  const wait = (ms: number): void => {
    if (!stopped) timer = clock.setTimeout(check, ms)
  }

  const check = async (): Promise<void> => {
    const silence = clock.elapsed() - lastReceived
    if (limits.pingIntervalMs - silence > slackMs) return wait(limits.pingIntervalMs - silence)
    await ping().catch(() => undefined)
    if (timeouts >= limits.maxTimeouts && silence >= limits.maxSilenceMs) {
      if (!stopped) onSilent()
    } else {
      wait(limits.pingIntervalMs)
    }
  }

  wait(limits.pingIntervalMs)
  return {
    received() {
      lastReceived = clock.elapsed()
      timeouts = 0
    },
    timedOut() {
      timeouts += 1
    },
    stop() {
      stopped = true
      if (timer !== undefined) clock.clearTimeout(timer)
    },
  }
}
