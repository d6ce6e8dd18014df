/** A process that commits rows to a store in a directory until it is killed, telling the number of each answered commit. */
const [, , openModule = '', migrations = '', directory = ''] = process.argv
const { openStore } = await import(openModule)
const { insert } = await import(new URL('./index.js', `file://${openModule}`).href)
const column = (/** @type {string} */ type, nullable = false) => ({ type, nullable })
const table = (/** @type {string} */ name, /** @type {object} */ columns, /** @type {string[]} */ key) => ({
  name,
  columns,
  key,
  unique: [],
  indexes: [],
  aggregate: undefined,
})
const pairs = table('pairs', { left: column('integer'), right: column('text') }, ['left', 'right'])
const items = table(
  'items',
  {
    ownerId: column('text'),
    itemId: column('integer'),
    state: column('text'),
    note: column('text', true),
    body: column('bytes'),
  },
  ['ownerId', 'itemId'],
)

const store = await openStore({ directory, scope: 'agent', migrations })
for (let n = await store.count(pairs); ; ) {
  n++
  await store.commit([
    insert(pairs, { left: n, right: 'x' }),
    insert(items, { ownerId: 'x', itemId: n, state: 'new', note: null, body: Buffer.alloc(1024, n) }),
  ])
  process.stdout.write(`${n}\n`)
}
