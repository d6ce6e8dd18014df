import { asDuologueError, KemError, StoreError } from '../errors.js'
import { isTemporaryOrHostError } from '../smp/client.js'

/** What the agent itself, not the call, is the reason of. */
const notNow = new Set(['AGENT_OVERLOADED', 'AGENT_SUSPENDED', 'AGENT_CLOSED'])

/** Whether the agent refuses a call because of its own state: the call is made again without a word. */
export const isNotNow = (error: unknown): boolean =>
  error instanceof StoreError || error instanceof KemError || notNow.has(asDuologueError(error).code)

/** Whether a stored command that failed with this error is run again (B53). */
export const isTriedAgain = (error: unknown): boolean => isNotNow(error) || isTemporaryOrHostError(error)
