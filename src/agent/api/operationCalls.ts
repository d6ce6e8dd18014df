import { z } from 'zod'
import { call } from './call.js'
import { userIdSchema } from './schemas.js'

const nothing = z.strictObject({})

/** The agent as a whole: suspension (B04) and statistics (B01). */
export const operationCalls = {
  suspendAgent: call(
    'Suspends the agent: at once (maxDelayMs 0), or kind by kind, which SUSPENDED tells the end of: receiving, delivery, sending, database, each when nothing of the kind before is under way; receiving and delivery are waited for maxDelayMs at the most.',
    z.strictObject({ maxDelayMs: z.int().nonnegative().max(3_600_000).default(0) }),
    z.strictObject({ state: z.enum(['suspending', 'suspended']) }),
  ),
  foregroundAgent: call('Ends a suspension, whatever its state.', nothing, nothing),
  getStatistics: call(
    'What was counted since the last reset, by user and router: commands with their answers, messages and connections.',
    z.strictObject({ userId: userIdSchema.optional() }),
    z.strictObject({
      since: z.int().nonnegative(),
      statistics: z.array(
        z.strictObject({
          userId: userIdSchema,
          router: z.string(),
          counts: z.record(z.string(), z.int().nonnegative()),
        }),
      ),
    }),
  ),
  resetStatistics: call('Sets all counts to nothing.', nothing, nothing),
} as const
