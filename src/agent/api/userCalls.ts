import { z } from 'zod'
import { asyncCall, call } from './call.js'
import { connectionIdSchema, userIdSchema } from './schemas.js'

const nothing = z.strictObject({})
const userName = z.string().max(128)
const address = z.string().min(1).max(1024).describe('smp://fingerprint[:password]@host[:port]')
const routerSchema = z.strictObject({
  address,
  /** Whether new receive queues are made on it. */
  storage: z.boolean().default(true),
  /** Whether messages may be sent through it to other routers. */
  proxy: z.boolean().default(true),
  enabled: z.boolean().default(true),
})

/** Users, each with own sessions and routers (B22, B23). */
export const userCalls = {
  createUser: call(
    'Creates a user: its connections have sessions of their own, so that a router cannot tell that they belong to one agent.',
    z.strictObject({ name: userName.default(''), routers: z.array(routerSchema).max(100).optional() }),
    z.strictObject({ userId: userIdSchema }),
  ),
  listUsers: call(
    'The users of this agent, with their routers and how many connections they have.',
    z.strictObject({ includeHidden: z.boolean().default(false) }),
    z.strictObject({
      users: z.array(
        z.strictObject({
          userId: userIdSchema,
          name: z.string(),
          hidden: z.boolean(),
          connections: z.int().nonnegative(),
          /** Addresses without passwords. */
          routers: z.array(
            z.strictObject({
              address: z.string(),
              password: z.boolean(),
              storage: z.boolean(),
              proxy: z.boolean(),
              enabled: z.boolean(),
            }),
          ),
        }),
      ),
    }),
  ),
  setUserHidden: call(
    'Hides a user or shows it again: a hidden user is not listed and receives nothing; what it sends is delivered.',
    z.strictObject({ userId: userIdSchema, hidden: z.boolean() }),
    nothing,
  ),
  deleteUser: asyncCall(
    'Deletes a user with its connections. With deleteQueues their queues are deleted at the routers in the background and DEL_USER tells of the end; without, everything is forgotten at once. May be repeated.',
    z.strictObject({ userId: userIdSchema, deleteQueues: z.boolean().default(true) }),
    nothing,
  ),
  setRouters: call(
    'Sets the routers of a user, with passwords and roles, in place of those that the agent was opened with; an empty list goes back to those. Queues that exist stay where they are.',
    z.strictObject({ userId: userIdSchema.default(1), routers: z.array(routerSchema).max(100) }),
    nothing,
  ),
  testRouter: asyncCall(
    'Tries a router step by step, as the user would use it: connect, create a queue, secure it, delete it.',
    z.strictObject({ address }),
    z.strictObject({
      ok: z.boolean(),
      /** The step that failed. */
      step: z.enum(['connect', 'create', 'secure', 'delete']).optional(),
      error: z.unknown().optional(),
    }),
  ),
  setConnectionUser: asyncCall(
    'Moves a new connection, that nobody has joined yet, to another user.',
    z.strictObject({ connectionId: connectionIdSchema, userId: userIdSchema }),
    nothing,
  ),
} as const
