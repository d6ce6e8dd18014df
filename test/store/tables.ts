import { boolean, bytes, defineTable, integer, json, nullable, text, type Table } from '../../src/store/index.js'

/** Test tables, as test/store/migrations makes them: every type, a compound key, unique sets, an aggregate. */
export const plain = defineTable(
  'plain',
  {
    id: text,
    count: integer,
    flag: boolean,
    data: bytes,
    extra: json,
    maybeText: nullable(text),
    maybeCount: nullable(integer),
    maybeFlag: nullable(boolean),
    maybeData: nullable(bytes),
    maybeExtra: nullable(json),
  },
  { key: ['id'], indexes: [['count'], ['maybeText', 'count']] },
)

export const items = defineTable(
  'items',
  { ownerId: text, itemId: integer, state: text, note: nullable(text), body: bytes },
  { key: ['ownerId', 'itemId'], indexes: [['state', 'itemId']], sparse: ['note'], aggregate: 'ownerId' },
)

export const accounts = defineTable(
  'accounts',
  { id: bytes, email: text, tenant: integer, number: nullable(integer), label: text },
  { key: ['id'], unique: [['email'], ['tenant', 'number']] },
)

export const pairs = defineTable('pairs', { left: integer, right: text }, { key: ['left', 'right'] })

export const testTables: readonly Table[] = [plain, items, accounts, pairs]
