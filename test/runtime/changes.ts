import * as fc from 'fast-check'
import { type Change, insert, patch, put, remove, removeWhere, type Where } from '../../src/store/index.js'
import { accounts, entries, journal } from './support.js'

/** Random changes of the test tables, over few keys so that they meet. */
export const accountNames = ['a', 'b'] as const

const account = fc.constantFrom(...accountNames)
const small = fc.integer({ min: 0, max: 3 })
const word = fc.option(fc.constantFrom('red', 'green', 'blue', 'grey'))
const data = fc.option(fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes)))

const accountRow = fc.record({ account, balance: small, data })
const entryRow = fc.record({
  entry: fc.constantFrom('e1', 'e2', 'e3', 'e4', 'e5'),
  account,
  place: small,
  tag: fc.option(fc.constantFrom('t1', 't2', 't3')),
})
const journalRow = fc.record({ account, line: small, word, extra: fc.constantFrom(null, 1, 'x', { k: [1] }) })

export const accountChange: fc.Arbitrary<Change> = fc.oneof(
  accountRow.map(row => insert(accounts, row)),
  accountRow.map(row => put(accounts, row)),
  fc.record({ account, balance: small }).map(({ account, balance }) => patch(accounts, { account }, { balance })),
  fc.record({ account, data }).map(({ account, data }) => patch(accounts, { account }, { data })),
  account.map(account => remove(accounts, { account })),
)

/** Changes of entries never move one to another account: an entry is named after the account that it was made in. */
const ownEntry = entryRow.map(row => ({ ...row, entry: `${row.account}.${row.entry}` }))

export const entryChange: fc.Arbitrary<Change> = fc.oneof(
  ownEntry.map(row => insert(entries, row)),
  ownEntry.map(row => put(entries, row)),
  ownEntry.map(({ entry, place }) => patch(entries, { entry }, { place })),
  ownEntry.map(({ entry, tag }) => patch(entries, { entry }, { tag })),
  ownEntry.map(({ entry }) => remove(entries, { entry })),
  account.map(account => removeWhere(entries, { account })),
  fc.record({ account, place: small }).map(where => removeWhere(entries, where)),
  fc
    .record({ account, place: small })
    .map(({ account, place }) => removeWhere(entries, { account, place: { gte: place } })),
)

export const journalChange: fc.Arbitrary<Change> = fc.oneof(
  journalRow.map(row => insert(journal, row)),
  journalRow.map(row => put(journal, row)),
  journalRow.map(({ account, line, word }) => patch(journal, { account, line }, { word })),
  journalRow.map(({ account, line, extra }) => patch(journal, { account, line }, { extra })),
  journalRow.map(({ account, line }) => remove(journal, { account, line })),
  journalRow.map(({ account, word }) => removeWhere(journal, { account, word })),
)

export const journalWhere: fc.Arbitrary<Where<typeof journal>> = fc.oneof(
  fc.constant({}),
  account.map(account => ({ account })),
  fc.record({ account, word }),
  fc.record({
    account,
    line: fc.oneof(
      small.map(gt => ({ gt })),
      small.map(lte => ({ lte })),
      fc.array(small).map(list => ({ in: list })),
    ),
  }),
  word.map(word => ({ word: { not: word } })),
)
