import { z } from 'zod'
import { connectionIdSchema, messageIdSchema, userIdSchema } from './schemas.js'

const timeSchema = z.int().nonnegative().meta({ description: 'ms since 1970' })

const errorFactSchema = z.strictObject({
  code: z.string(),
  message: z.string(),
  field: z.string().optional(),
  hint: z.string().optional(),
})

/** How far something that is tried again and again has come, since the agent was opened. */
const attemptsSchema = {
  /** Failed attempts at what is first in the row. */
  attempts: z.int().nonnegative(),
  lastError: errorFactSchema.optional(),
  /** Absent while an attempt is under way. */
  nextAttemptAt: timeSchema.optional(),
}

const queueSchema = {
  queueId: z.string(),
  router: z.string(),
  /** State of the rcvQueue or sndQueue machine. */
  status: z.string(),
  primary: z.boolean(),
  switchStatus: z.string().optional(),
}

const waitingMessageSchema = z.strictObject({
  messageId: messageIdSchema,
  /** A_MSG for a message of the application, other words of the protocol for what the agents say to each other. */
  type: z.string(),
  since: timeSchema,
  /** When it fails if it is not delivered until then. */
  expiresAt: timeSchema,
})

const commandSchema = z.strictObject({
  /** What the agent does, or the name of an asynchronous call. */
  type: z.string(),
  /** Empty when it needs no certain router. */
  router: z.string(),
  since: timeSchema,
  correlationId: z.string().optional(),
  ...attemptsSchema,
})

/** The answer to "why is it waiting?". */
export const inspectionSchema = z.strictObject({
  connectionId: connectionIdSchema,
  userId: userIdSchema,
  status: z.string(),
  ready: z.boolean(),
  ratchetSync: z.string(),
  /** Whether the device is said to be online (setNetwork); offline, nothing is tried again. */
  online: z.boolean(),
  rcvQueues: z.array(
    z.strictObject({
      ...queueSchema,
      /** State of the subscription machine. */
      subscription: z.string(),
      suspended: z.boolean(),
    }),
  ),
  sndQueues: z.array(
    z.strictObject({
      ...queueSchema,
      /** How many messages wait, and the first of them. */
      waiting: z.int().nonnegative(),
      messages: z.array(waitingMessageSchema),
      ...attemptsSchema,
    }),
  ),
  /** In the order in which they were stored; those of one router run one after the other. */
  commands: z.array(commandSchema),
})
