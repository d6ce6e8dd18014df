import { z } from 'zod'
import { call } from './call.js'
import { consumerSchema, cursorSchema } from './schemas.js'

/** Who the event log keeps its events for. */
export const consumerCalls = {
  unregisterConsumer: call(
    'Forgets a reader of the event log: events that waited for nobody else leave the log. What the last one has not acknowledged stays for the next that is registered. May be repeated.',
    z.strictObject({ consumer: consumerSchema }),
    z.strictObject({}),
  ),
  listConsumers: call(
    'The registered readers of the event log, and how many events each has not acknowledged.',
    z.strictObject({}),
    z.strictObject({
      consumers: z.array(z.strictObject({ consumer: z.string(), from: cursorSchema, unread: z.int().nonnegative() })),
    }),
  ),
} as const
