import * as fc from 'fast-check'
import { type Change, insert, patch, put, remove, removeUnused, removeWhere } from '../../src/store/index.js'
import { accounts, items, pairs, plain } from './tables.js'

/** Values from small ranges, so that random changes meet each other, and from the edges of what a column takes. */
const smallText = fc.constantFrom('a', 'b', 'c', 'ü', '\u{1f600}', '\uffee', '')
const anyText = fc.oneof(
  smallText,
  fc
    .string({ unit: 'grapheme', maxLength: 40 })
    .filter(text => !text.includes('\0') && Buffer.from(text).toString() === text),
  fc.constant('quotes \' " \\ {},\n\t'),
)
const smallInt = fc.integer({ min: 0, max: 4 })
const anyInt = fc.oneof(smallInt, fc.maxSafeInteger())
const smallBytes = fc.constantFrom(...['', '00', 'ff00', '5c78', '01'].map(hex => Buffer.from(hex, 'hex')))
const anyBytes = fc.oneof(
  smallBytes,
  fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes)),
)
const anyJson = fc
  .jsonValue({ maxDepth: 3 })
  .map(value => JSON.parse(JSON.stringify(value)) as never)
  .filter(value => !JSON.stringify(value).includes('\\u'))
const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null, freq: 3 })

export const plainRow = fc.record({
  id: smallText,
  count: anyInt,
  flag: fc.boolean(),
  data: anyBytes,
  extra: anyJson,
  maybeText: orNull(anyText),
  maybeCount: orNull(anyInt),
  maybeFlag: orNull(fc.boolean()),
  maybeData: orNull(anyBytes),
  maybeExtra: orNull(anyJson),
})
export const itemRow = fc.record({
  ownerId: fc.constantFrom('x', 'y', 'z'),
  itemId: smallInt,
  state: fc.constantFrom('new', 'done'),
  note: orNull(smallText),
  body: smallBytes,
})
export const accountRow = fc.record({
  id: fc.constantFrom(...['00', '01', '02', 'ff'].map(hex => Buffer.from(hex, 'hex'))),
  email: fc.constantFrom('a@x', 'b@x', 'c@x', 'd@x', 'e@x'),
  tenant: fc.integer({ min: 1, max: 2 }),
  number: orNull(fc.integer({ min: 1, max: 3 })),
  label: smallText,
})
const pairRow = fc.record({ left: smallInt, right: smallText })

const some = <T extends object>(row: fc.Arbitrary<T>, keys: ReadonlyArray<keyof T & string>) =>
  fc
    .tuple(row, fc.subarray([...keys], { minLength: 0 }))
    .map(([value, names]) => Object.fromEntries(names.map(name => [name, value[name]])) as Partial<T>)

export const anyChange: fc.Arbitrary<Change> = fc.oneof(
  plainRow.map(row => insert(plain, row)),
  plainRow.map(row => put(plain, row)),
  fc
    .tuple(plainRow, some(plainRow, ['count', 'flag', 'data', 'extra', 'maybeText', 'maybeData', 'maybeExtra']))
    .map(([{ id }, set]) => patch(plain, { id }, set)),
  plainRow.map(({ id }) => remove(plain, { id })),
  smallText.map(id => removeUnused(plain, { id }, items, 'note')),
  itemRow.map(row => insert(items, row)),
  itemRow.map(row => put(items, row)),
  fc
    .tuple(itemRow, some(itemRow, ['state', 'note', 'body']))
    .map(([{ ownerId, itemId }, set]) => patch(items, { ownerId, itemId }, set)),
  itemRow.map(({ ownerId, itemId }) => remove(items, { ownerId, itemId })),
  itemRow.map(({ ownerId, state }) => removeWhere(items, { ownerId, state })),
  accountRow.map(row => insert(accounts, row)),
  accountRow.map(row => put(accounts, row)),
  fc
    .tuple(accountRow, some(accountRow, ['email', 'tenant', 'number', 'label']))
    .map(([{ id }, set]) => patch(accounts, { id }, set)),
  accountRow.map(({ id }) => remove(accounts, { id })),
  pairRow.map(row => put(pairs, row)),
  pairRow.map(row => remove(pairs, row)),
  smallInt.map(left => removeWhere(pairs, { left: { gt: left } })),
)

export const anyChanges = fc.array(anyChange, { maxLength: 12 })

const conditionOn = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof(
    value,
    value.map(lt => ({ lt })),
    value.map(lte => ({ lte })),
    value.map(gt => ({ gt })),
    value.map(gte => ({ gte })),
    value.map(not => ({ not })),
    fc.array(value, { maxLength: 5 }).map(list => ({ in: list })),
  )
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 })
const query = (where: Record<string, fc.Arbitrary<unknown>>, columns: string[]) =>
  fc
    .record({
      where: optional(fc.record<Record<string, unknown>>(where)),
      orderBy: optional(fc.shuffledSubarray(columns)),
      descending: optional(fc.boolean()),
      limit: optional(fc.nat(4)),
    })
    .map(found => tidy(found))

/** Leaves out what is undefined, as callers do. */
const tidy = (found: Record<string, unknown>): Record<string, unknown> => {
  const where = Object.entries((found.where ?? {}) as object).filter(([, condition]) => condition !== undefined)
  return {
    ...Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)),
    where: Object.fromEntries(where),
  }
}

export const plainQuery = query(
  {
    id: optional(conditionOn(smallText)),
    count: optional(conditionOn(smallInt)),
    flag: optional(conditionOn(fc.boolean())),
    data: optional(conditionOn(smallBytes)),
    maybeText: optional(conditionOn(orNull(smallText))),
    maybeData: optional(conditionOn(orNull(smallBytes))),
    maybeExtra: optional(fc.constantFrom(null, { not: null })),
  },
  ['id', 'count', 'flag', 'data', 'maybeText', 'maybeCount', 'maybeData'],
)
export const itemQuery = query(
  {
    ownerId: optional(conditionOn(fc.constantFrom('x', 'y', 'z'))),
    itemId: optional(conditionOn(smallInt)),
    state: optional(conditionOn(fc.constantFrom('new', 'done'))),
    note: optional(conditionOn(orNull(smallText))),
  },
  ['ownerId', 'itemId', 'state', 'note'],
)
