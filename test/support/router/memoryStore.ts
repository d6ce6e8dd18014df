/** As much of a store as the router uses, until the memory store of src/store is there. */
import { StoreError } from '../../../src/errors.js'
import type { Row, Store, Table } from '../../../src/store/index.js'

type AnyRow = Record<string, unknown>
const same = (a: unknown, b: unknown): boolean =>
  a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.from(a).equals(b) : a === b

export const memoryStore = (): Store => {
  let rows: AnyRow[] = []
  return {
    kind: 'memory',
    epoch: 1,
    find: async <T extends Table>(_table: T, query: { where?: object }) =>
      rows
        .filter(row =>
          Object.entries(query.where ?? {}).every(([column, condition]) =>
            (condition as { in: unknown[] }).in.some(value => same(value, row[column])),
          ),
        )
        .map(row => ({ ...row })) as Row<T>[],
    commit: async changes => {
      const next = rows.map(row => ({ ...row }))
      for (const change of changes as unknown as Array<{
        op: string
        row?: AnyRow
        key?: AnyRow
        set?: AnyRow
        table: Table
      }>) {
        const matches = (row: AnyRow): boolean =>
          Object.entries(change.key ?? {}).every(([name, value]) => same(row[name], value))
        if (change.op === 'insert') {
          const row = change.row as AnyRow
          const unique = [change.table.key, ...change.table.unique]
          if (
            next.some(old =>
              unique.some(columns => columns.every(name => row[name] !== null && same(old[name], row[name]))),
            )
          ) {
            throw new StoreError('STORE_CONFLICT', 'conflict')
          }
          next.push(row)
        } else if (change.op === 'patch') {
          for (const row of next) if (matches(row)) Object.assign(row, change.set)
        } else next.splice(0, next.length, ...next.filter(row => !matches(row)))
      }
      rows = next
    },
    count: async () => rows.length,
    close: async () => {},
  }
}
