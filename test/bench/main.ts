/** `npm run bench`: see docs/BENCHMARKS.md. Results on stdout, progress on stderr. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fullEffort, quickEffort } from './measure.js'
import { stopChildren } from './processes.js'
import { asJson, asText } from './report.js'
import { type BenchOptions, runSuites, type SuiteName, suiteNames } from './suites.js'

const usage = `npm run bench -- [options]
  --only a,b       of ${suiteNames.join(', ')} (default: all but memory)
  --quick          small samples: under a minute, for CI
  --pq             end to end with post-quantum connections (default: without)
  --json           one JSON object on stdout
  --database-url   Postgres to measure on (default: DUOLOGUE_BENCH_DATABASE_URL, DUOLOGUE_TEST_DATABASE_URL, local)
  --profile DIR    write CPU profiles of all child processes there
`

let stopped = false
const defaultDatabaseUrl = 'postgres://postgres@127.0.0.1:5432/postgres'

interface Arguments {
  readonly json: boolean
  readonly help: boolean
  readonly options: BenchOptions
}

const readArguments = (): Arguments => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      pq: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      'database-url': { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const { quick, pq, json, help, only, profile } = values
  return {
    json,
    help,
    options: {
      quick,
      pq,
      effort: quick ? quickEffort : fullEffort,
      suites: suitesOf(only),
      databaseUrl:
        values['database-url'] ??
        process.env['DUOLOGUE_BENCH_DATABASE_URL'] ??
        process.env['DUOLOGUE_TEST_DATABASE_URL'] ??
        defaultDatabaseUrl,
      profileDir: profile === undefined ? undefined : resolve(profile),
      progress: text => {
        if (stopped) throw new Error('stopped')
        process.stderr.write(`${text}\n`)
      },
    },
  }
}

const suitesOf = (only: string | undefined): ReadonlySet<SuiteName> => {
  if (only === undefined) return new Set(suiteNames.filter(name => name !== 'memory'))
  const names = only.split(',')
  const unknown = names.find(name => !suiteNames.some(known => known === name))
  if (unknown !== undefined) throw new Error(`no suite ${unknown}: choose from ${suiteNames.join(', ')}`)
  return new Set(names as SuiteName[])
}

const main = async (): Promise<void> => {
  const { json, help, options } = readArguments()
  if (help) return void process.stdout.write(usage)
  const results = await runSuites(options)
  process.stdout.write(json ? `${JSON.stringify(asJson(results, options.quick))}\n` : asText(results))
}

// Whoever waits for a child fails then, and removes its directories and schemas on the way out; a second signal changes nothing.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopped = true
    stopChildren()
  })
}
main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exit(1)
  },
)
