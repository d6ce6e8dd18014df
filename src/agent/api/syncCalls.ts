import { z } from 'zod'
import { asyncCall } from './call.js'
import { connectionIdSchema, idempotencyKeySchema, pqSchema } from './schemas.js'

/** Ratchet synchronisation (B80–B85). */
export const syncCalls = {
  synchronizeRatchet: asyncCall(
    'Makes a new ratchet with the other party, when messages do not decrypt any more (RSYNC said `allowed` or `required`), or, with `force`, in any state. RSYNC tells of the phases; no message can be sent until it says `ok`.',
    z.strictObject({
      connectionId: connectionIdSchema,
      /** Also where the ratchets seem to fit, or a synchronisation is under way. */
      force: z.boolean().default(false),
      /** Post-quantum encryption from the new ratchet on, if the versions allow it; what it had before stays. */
      pq: pqSchema.optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({}),
  ),
} as const
