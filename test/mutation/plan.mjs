/**
 * What `npm run test:mutation` mutates, and by which tests. A machine's constants exist from the moment its file is loaded, so each of its
 * mutants needs fresh modules and all the tests of its part: every machine is a part of its own. So is every file of the agent that
 * decides a ★ row, with the tests of its rows (starred.mjs); the other decision code of the agent is one part, where each mutant meets
 * the tests that reach it.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { starred } from './starred.mjs'

/**
 * @typedef {object} Part
 * @property {string} name
 * @property {readonly string[]} mutate files, from the root
 * @property {readonly string[]} [excluded] mutators that are not applied
 * @property {boolean} [ignoreStatic] what exists from the loading on is left out: each such mutant would need all tests of the part
 * @property {boolean} [compiled] mutants that the compiler refuses are told from the others, and not tried
 * @property {readonly string[]} tests test files, from the root, in the order in which they run
 */

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/** Files that decide nothing, and why. Every other file of machines/ and src/agent/ is mutated. */
export const leftOut = {
  'machines/behaviours.ts': 'the list of rows: titles and owners',
  'machines/index.ts': 'exports',
  'machines/stub.ts': 'what a machine names and nobody provides',
  'machines/walks.ts': 'events in every variant, for the tests and pictures of the machines',
  'src/agent/config.ts': 'values of the reference',
  'src/agent/context.ts': 'types',
  'src/agent/events.ts': 'rows of the event log in the form of the API',
  'src/agent/index.ts': 'exports',
  'src/agent/inspectConnection.ts': 'reads and tells, decides nothing',
  'src/agent/openAgent.ts': 'wiring: what is opened, in which order it is closed',
  'src/agent/options.ts': 'schemas',
  'src/agent/ownedClock.ts': 'wiring: timers and who owns them',
  'src/agent/sessionEvents.ts': 'wiring: what sessions tell goes to the log and the inbox',
  'src/agent/sharedBodies.ts': 'a cache: without it bodies are read more often',
  'src/agent/statistics.ts': 'counts',
  // src/agent/api: schemas and the words of the API's documentation; folders below src/agent are not looked into.
}

/** Tests of the agent that need TLS, Postgres or a long run of random faults: what they hold is held on the virtual clock too. */
const slow = /(?:Tls|OnPostgres|\.property)\.test\.ts$/

/** @param {string} folder @param {string} end */
const list = (folder, end) =>
  readdirSync(`${root}/${folder}`)
    .filter(name => name.endsWith(end))
    .map(name => `${folder}/${name}`)

/** @param {string} file */
const decides = file => !(file in leftOut)

/** The machine that a file is of: the longest name of a test that it begins with (connectionJoiner.ts: connection). @param {string} file */
const machineOf = file => {
  const names = list('test/machines', '.test.ts')
    .filter(test => !test.endsWith('.property.test.ts'))
    .map(test => test.slice('test/machines/'.length, -'.test.ts'.length))
  const [machine] = names
    .filter(name => file.startsWith(`machines/${name}`))
    .sort((one, other) => other.length - one.length)
  if (machine === undefined) throw new Error(`${file} has no test in test/machines, and no reason in leftOut`)
  return machine
}

/** @returns {Part[]} */
const machineParts = () => {
  const files = list('machines', '.ts').filter(decides)
  return [...new Set(files.map(machineOf))].map(machine => ({
    name: `machines-${machine}`,
    mutate: files.filter(file => machineOf(file) === machine),
    tests: [machine, `${machine}.property`, 'totality', 'loading']
      .map(name => `test/machines/${name}.test.ts`)
      .filter(file => existsSync(`${root}/${file}`)),
  }))
}

// Conditions, comparisons, branches, blocks and functions: what decides. The compiler refuses an empty word or object, and a field of what
// may be undefined, nearly everywhere; sums and lists would double the night that this takes.
const decisionsOnly = {
  excluded: [
    'StringLiteral',
    'ObjectLiteral',
    'OptionalChaining',
    'ArrayDeclaration',
    'ArithmeticOperator',
    'AssignmentOperator',
    'UnaryOperator',
    'UpdateOperator',
  ],
  ignoreStatic: true,
  compiled: true,
}

/** @returns {Part[]} */
const starredParts = () =>
  Object.entries(starred).map(([file, tests]) => ({
    name: `src-agent-${file}`,
    ...decisionsOnly,
    mutate: [`src/agent/${file}.ts`],
    tests: tests.map(name => `test/agent/${name}.test.ts`),
  }))

/** @returns {readonly Part[]} */
export const parts = () => [
  ...machineParts(),
  ...starredParts(),
  {
    name: 'src-agent',
    ...decisionsOnly,
    mutate: list('src/agent', '.ts').filter(file => decides(file) && !(basename(file, '.ts') in starred)),
    tests: list('test/agent', '.test.ts').filter(file => !slow.test(file)),
  },
]
