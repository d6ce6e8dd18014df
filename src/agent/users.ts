import { CallError } from '../errors.js'
import { formatRouterAddress, parseRouterAddressWithAuth } from '../smp/protocol/routerAddress.js'
import { connections, rcvQueues, sndQueues } from '../store/agent/connections.js'
import { invitationLinks } from '../store/agent/links.js'
import { userRouters, users } from '../store/agent/users.js'
import { type Change, insert, patch, remove, removeWhere, type Row, type Store } from '../store/index.js'
import type { Outcome } from '../runtime/unit.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { deleteConnection } from './deleteConnection.js'
import { purge } from './finishDeletion.js'
import { createdQueue } from './queues.js'
import { routerRows, type UserRouter } from './routers.js'
import { eventOf, rcvQueuesOf, requireConnection } from './rows.js'
import { readSharing, sharingGone } from './sharedBodies.js'

type UserRow = Row<typeof users>
const pageLength = 500

/** The users of an agent (B22). Few and often asked for, so they are kept in memory; the rows are the truth. */
export class Users {
  readonly #rows: Map<number, UserRow>

  private constructor(rows: readonly UserRow[]) {
    this.#rows = new Map(rows.map(row => [row.userId, row]))
  }

  /** Reads the users; the first one is made if there is none. */
  static async open(store: Store, now: number): Promise<Users> {
    const rows = await store.find(users, { orderBy: ['userId'] })
    if (rows.length > 0) return new Users(rows)
    const first = newUser(1, '', now)
    await store.commit([insert(users, first)])
    return new Users([first])
  }

  get all(): readonly UserRow[] {
    return [...this.#rows.values()]
  }

  find(userId: number): UserRow | undefined {
    return this.#rows.get(userId)
  }

  /** A user that is not being deleted. Throws CallError `USER_NOT_FOUND`. */
  require(userId: number): UserRow {
    const row = this.#rows.get(userId)
    if (row !== undefined && !row.deleted) return row
    throw new CallError('USER_NOT_FOUND', 'there is no such user', {
      field: 'userId',
      hint: 'listUsers names those that exist; createUser makes one',
    })
  }

  /** Whether the connections of a user receive. */
  receives(userId: number): boolean {
    const row = this.#rows.get(userId)
    return row !== undefined && !row.hidden && !row.deleted
  }

  /** Notes what a commit has stored. */
  set(row: UserRow): void {
    this.#rows.set(row.userId, row)
  }

  forget(userId: number): void {
    this.#rows.delete(userId)
  }

  /** The id of a new user: one that no user had before it, as long as there is a later one. */
  get nextId(): number {
    return Math.max(0, ...this.#rows.keys()) + 1
  }
}

const newUser = (userId: number, name: string, now: number): UserRow => ({
  userId,
  name,
  createdAt: now,
  hidden: false,
  deleted: false,
})

const commit = (context: AgentContext, name: string, changes: readonly Change[]): Promise<void> =>
  context.runtime.run({ name, locks: [], compute: (): Outcome<void> => ({ result: undefined, changes }) })

export const createUser = async (
  context: AgentContext,
  { name, routers = [] }: ParsedParamsOf<'createUser'>,
): Promise<ResultOf<'createUser'>> => {
  const row = newUser(context.users.nextId, name, context.clock.now())
  const own = routers.map(parseRouter)
  // Noted first: a second call at the same moment must not take the same id.
  context.users.set(row)
  try {
    await commit(context, 'createUser', [insert(users, row), ...ownRouters(row.userId, own)])
  } catch (error) {
    context.users.forget(row.userId)
    throw error
  }
  context.routers.set(row.userId, own)
  return { userId: row.userId }
}

export const listUsers = async (
  { users, routers, store }: AgentContext,
  { includeHidden }: ParsedParamsOf<'listUsers'>,
): Promise<ResultOf<'listUsers'>> => {
  const shown = users.all.filter(row => !row.deleted && (includeHidden || !row.hidden))
  return {
    users: await Promise.all(
      shown.map(async ({ userId, name, hidden }) => ({
        userId,
        name,
        hidden,
        connections: await store.count(connections, { userId, status: { not: 'deleted' } }),
        routers: routers.of(userId).map(({ router, basicAuth, storage, proxy, enabled }) => ({
          address: formatRouterAddress(router),
          password: basicAuth !== undefined,
          storage,
          proxy,
          enabled,
        })),
      })),
    ),
  }
}

export const setUserHidden = async (
  context: AgentContext,
  { userId, hidden }: ParsedParamsOf<'setUserHidden'>,
): Promise<ResultOf<'setUserHidden'>> => {
  const row = context.users.require(userId)
  await commit(context, 'setUserHidden', [patch(users, { userId }, { hidden })])
  context.users.set({ ...row, hidden })
  if (hidden) context.sessions.removeUser(userId)
  return {}
}

export const setRouters = async (
  context: AgentContext,
  { userId, routers }: ParsedParamsOf<'setRouters'>,
): Promise<ResultOf<'setRouters'>> => {
  context.users.require(userId)
  const own = routers.map(parseRouter)
  await commit(context, 'setRouters', [removeWhere(userRouters, { userId }), ...ownRouters(userId, own)])
  context.routers.set(userId, own)
  return {}
}

const ownRouters = (userId: number, routers: readonly UserRouter[]): Change[] =>
  routerRows(userId, routers).map(row => insert(userRouters, row))

const parseRouter = ({ address, ...roles }: ParsedParamsOf<'setRouters'>['routers'][number]): UserRouter => ({
  ...parseRouterAddressWithAuth(address),
  ...roles,
})

/**
 * deleteUser: the user is marked first, so that after a kill the deletion goes on; then each of its connections is deleted like any
 * other, and the row goes with the last one (DEL_USER).
 */
export const deleteUser = async (
  context: AgentContext,
  { userId, deleteQueues }: ParsedParamsOf<'deleteUser'>,
): Promise<ResultOf<'deleteUser'>> => {
  const row = context.users.find(userId)
  if (row === undefined) return {}
  await commit(context, 'deleteUser', [patch(users, { userId }, { deleted: true })])
  context.users.set({ ...row, deleted: true })
  if (!deleteQueues) context.sessions.removeUser(userId)
  await deleteConnectionsOf(context, userId, deleteQueues)
  await removeUserIfEmpty(context, userId)
  return {}
}

/** Deletes the connections of a user that is marked; also what a kill has left of it. */
export const deleteConnectionsOf = async (context: AgentContext, userId: number, atRouters: boolean): Promise<void> => {
  let after = ''
  for (;;) {
    const page = await context.store.find(connections, {
      where: { userId, connectionId: { gt: after } },
      orderBy: ['connectionId'],
      limit: pageLength,
    })
    const last = page.at(-1)
    if (last === undefined) return
    // Together, so that the writer merges their commits.
    await Promise.all(
      page.map(({ connectionId }) =>
        atRouters
          ? deleteConnection(context, { connectionId, waitDelivery: false })
          : forgetConnection(context, connectionId),
      ),
    )
    after = last.connectionId
  }
}

const forgetConnection = async (context: AgentContext, connectionId: string): Promise<void> => {
  const sndQueueIds = await context.runtime.run({
    name: 'forgetConnection',
    locks: [connectionId],
    load: read => readSharing(read, connectionId),
    compute: (state, sharing): Outcome<readonly string[]> => ({
      result: state.rows(sndQueues, connectionId).map(queue => queue.queueId),
      changes: [...sharingGone(connectionId, sharing), ...purge(connectionId)],
    }),
  })
  for (const queueId of sndQueueIds) context.forgetDelivery(queueId)
  context.inbox.forget(connectionId)
}

/** A deleted user goes with its last connection. */
export const removeUserIfEmpty = async (context: AgentContext, userId: number): Promise<void> => {
  const row = context.users.find(userId)
  if (row?.deleted !== true) return
  const removing = removeEmptyUser(context, userId).catch((error: unknown) => {
    // The user is there still, and the next cleanup comes back to it.
    context.users.set(row)
    throw error
  })
  if (!(await removing)) return
  context.routers.set(userId, [])
  context.sessions.removeUser(userId)
}

const removeEmptyUser = (context: AgentContext, userId: number): Promise<boolean> =>
  context.runtime.run({
    name: 'deleteUser.end',
    internal: true,
    locks: [],
    load: async read => ({
      left: await read(connections, { where: { userId }, limit: 1 }),
      stored: await read(users, { where: { userId } }),
    }),
    compute: (_state, { left, stored }): Outcome<boolean> => {
      if (left.length > 0 || context.users.find(userId)?.deleted !== true) return { result: false }
      // Forgotten before the commit: the end of a user is told once.
      context.users.forget(userId)
      // A commit that was not answered has taken place.
      if (stored.length === 0) return { result: true }
      return {
        result: true,
        changes: [
          remove(users, { userId }),
          removeWhere(userRouters, { userId }),
          removeWhere(invitationLinks, { userId }),
          ...context.statistics.reset(context.clock.now(), userId),
        ],
        events: [eventOf({ connectionId: '', userId }, 'DEL_USER', { deletedUserId: userId })],
      }
    },
  })

/** setConnectionUser: only while nobody has joined, since the routers know established connections by their user’s sessions. */
export const setConnectionUser = async (
  context: AgentContext,
  { connectionId, userId }: ParsedParamsOf<'setConnectionUser'>,
): Promise<ResultOf<'setConnectionUser'>> => {
  context.users.require(userId)
  const queues = await context.runtime.run({
    name: 'setConnectionUser',
    locks: [connectionId],
    compute: state => {
      const connection = requireConnection(state, connectionId)
      const before = rcvQueuesOf(state, connectionId)
      if (connection.userId === userId) return { result: [] }
      if (connection.status !== 'new' && connection.status !== 'rcv') {
        throw new CallError('CMD_PROHIBITED', 'the connection has been joined already', {
          field: 'connectionId',
          hint: 'only a connection that nobody has joined yet can be moved to another user',
        })
      }
      return {
        result: before,
        changes: [
          patch(connections, { connectionId }, { userId }),
          ...before.map(({ queueId }) => patch(rcvQueues, { queueId }, { userId })),
        ],
      }
    },
  })
  for (const queue of queues) context.sessions.remove(queue)
  const made = queues.filter(queue => queue.rcvId !== null).map(queue => createdQueue({ ...queue, userId }))
  if (context.users.receives(userId)) void Promise.all(context.sessions.subscribe(made))
  return {}
}
