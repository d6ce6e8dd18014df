import { z } from 'zod'
import { asyncCall } from './call.js'
import { connectionIdSchema } from './schemas.js'

/** Queue rotation (B70–B78). */
export const rotationCalls = {
  switchConnection: asyncCall(
    'Moves the queue that this side receives from to another router: one of the user’s that the connection does not use yet, or the named one. SWITCH tells of the phases; messages go on meanwhile.',
    z.strictObject({ connectionId: connectionIdSchema, router: z.string().min(1).max(1024).optional() }),
    z.strictObject({ router: z.string() }),
  ),
  abortSwitch: asyncCall(
    'Ends a switch as long as the other party cannot have given up the old queue: the new one is dropped.',
    z.strictObject({ connectionId: connectionIdSchema }),
    z.strictObject({}),
  ),
} as const
