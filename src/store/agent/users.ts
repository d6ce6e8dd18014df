import { boolean, defineTable, integer, nullable, text } from '../table.js'

/** Who owns connections; user 1 exists from the start. */
export const users = defineTable(
  'users',
  {
    userId: integer,
    name: text,
    createdAt: integer,
    /** Not listed, and receives nothing. */
    hidden: boolean,
    /** The row goes with the user's last connection. */
    deleted: boolean,
  },
  { key: ['userId'] },
)

/** A user's own routers, in place of those that the agent was opened with (B23). */
export const userRouters = defineTable(
  'user_routers',
  {
    userId: integer,
    position: integer,
    /** The address without password. */
    router: text,
    /** The router's basic auth, for NEW. Private. */
    password: nullable(text),
    storage: boolean,
    proxy: boolean,
    enabled: boolean,
  },
  { key: ['userId', 'position'] },
)

/** What was counted by user and router, as it was saved last (B01). */
export const statistics = defineTable(
  'statistics',
  { userId: integer, router: text, name: text, value: integer },
  { key: ['userId', 'router', 'name'] },
)
