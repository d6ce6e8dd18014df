import { z } from 'zod'
import { call } from './call.js'
import { connectionIdSchema, networkConfigSchema } from './schemas.js'

/** Receiving without a subscription (B69), and what the agent is told about its network (B68). */
export const networkCalls = {
  getMessages: call(
    'Asks the routers of connections that are not subscribed for one message each; it comes as an event, and the next one can be asked for when it is acknowledged.',
    z.strictObject({ connectionIds: z.array(connectionIdSchema).min(1).max(1000) }),
    z.strictObject({
      results: z.array(
        z.strictObject({
          connectionId: connectionIdSchema,
          ok: z.boolean(),
          /** The router’s id of the message, as in its event; missing when there is none. */
          brokerId: z.string().optional(),
          error: z.unknown().optional(),
        }),
      ),
    }),
  ),
  setNetwork: call(
    'Tells whether the device is online. Offline, nothing is retried: sessions, deliveries and commands wait. The answer says what holds: an offline within 2 s after the last change is ignored.',
    z.strictObject({ online: z.boolean() }),
    z.strictObject({ online: z.boolean() }),
  ),
  setNetworkConfig: call(
    'Changes how the network is used, for this run of the agent, and returns the whole configuration. Another session mode ends all sessions; what was subscribed is subscribed again (DOWN, UP).',
    networkConfigSchema.partial(),
    networkConfigSchema,
  ),
} as const
