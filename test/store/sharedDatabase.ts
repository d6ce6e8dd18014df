import type { SqlSession } from '../../src/store/session.js'
import type { SqlDatabase } from '../../src/store/sqlStore.js'

/**
 * A database whose owner's connection is in the hands of the test: every store opened over it has the same one, as
 * if an earlier one's lock had gone without its knowing. The connection ends with `end`.
 */
export const sharedDatabase = (database: SqlDatabase) => {
  let session: SqlSession | undefined
  const shared: SqlDatabase = {
    kind: database.kind,
    field: database.field,
    connect: async (purpose, deadline) => {
      session ??= await database.connect(purpose, deadline)
      const current = session
      return {
        get broken() {
          return current.broken
        },
        whenBroken: listener => current.whenBroken(listener),
        transaction: statements => current.transaction(statements),
        script: text => current.script(text),
        end: async () => {},
      }
    },
    ...(database.read === undefined ? {} : { read: database.read }),
    close: async () => {},
  }
  return {
    database: shared,
    end: async () => {
      await session?.end()
      await database.close()
    },
  }
}
