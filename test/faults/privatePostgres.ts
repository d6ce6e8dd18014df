/** A Postgres of a test’s own, in a directory that goes with it, so that it may be killed. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { freePort } from './harness.js'
import { pause } from './killer.js'

export interface PrivatePostgres {
  readonly url: string
  readonly port: number
  /** SIGKILL to the postmaster and all its processes; resolves when they are gone. */
  kill(): Promise<void>
  /** Resolves when it answers. */
  start(): Promise<void>
  /** Runs SQL beside the stores. */
  sql(text: string): Promise<readonly Record<string, unknown>[]>
  /** Ends it and removes its data. */
  remove(): Promise<void>
}

const run = promisify(execFile)
const patienceMs = 60_000

/** Makes and starts it. Rejects, saying what to install, where there is no Postgres server. */
export const startPostgres = async (settings: Readonly<Record<string, string>> = {}): Promise<PrivatePostgres> => {
  const bin = await postgresBin()
  const owner = await whoMayRunIt()
  const directory = await mkdtemp(join(tmpdir(), 'duologue-postgres-'))
  if (owner.uid !== undefined) await chown(directory, owner.uid, owner.gid ?? -1)
  const data = join(directory, 'data')
  await run(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'duologue', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'],
    { ...owner, cwd: directory },
  )
  const port = await freePort()
  const url = `postgres://duologue@127.0.0.1:${port}/postgres`
  const args = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', directory]
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`)
  let server: ChildProcess | undefined
  let stderr = ''
  const start = async (): Promise<void> => {
    const child = spawn(join(bin, 'postgres'), args, { ...owner, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
    server = child
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr = `${stderr}${chunk.toString()}`.slice(-4000)
    })
    const deadline = Date.now() + patienceMs
    while (!(await answers(url))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`Postgres does not start: ${stderr}`)
      await pause(20)
    }
  }
  const kill = async (): Promise<void> => {
    const child = server
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    const pids = [child.pid, ...(await childrenOf(child.pid))]
    for (const pid of pids) killPid(pid)
    await exited
    while ((await Promise.all(pids.map(isAlive))).includes(true)) await pause(5)
  }
  const remove = async (): Promise<void> => {
    await kill()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await remove()
    throw error
  }
  const sql = async (text: string): Promise<readonly Record<string, unknown>[]> => {
    const client = new Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(text)).rows as Record<string, unknown>[]
    } finally {
      await client.end()
    }
  }
  return { url, port, kill, start, sql, remove }
}

const answers = async (url: string): Promise<boolean> => {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

/** The newest server of this machine: Debian keeps them outside of the path. */
const postgresBin = async (): Promise<string> => {
  const debian = '/usr/lib/postgresql'
  const versions = (await namesIn(debian)).toSorted((a, b) => Number(b) - Number(a))
  const named = await run('pg_config', ['--bindir']).then(
    ({ stdout }) => [stdout.trim()],
    () => [],
  )
  for (const directory of [...named, ...versions.map(version => join(debian, version, 'bin'))]) {
    if ((await namesIn(directory)).includes('initdb')) return directory
  }
  throw new Error('no initdb on this machine: install a Postgres server (Debian: apt-get install postgresql)')
}

const namesIn = (directory: string): Promise<string[]> => readdir(directory).catch(() => [])

/** Postgres refuses to run as root: then it is another user who runs it. */
const whoMayRunIt = async (): Promise<{ uid?: number; gid?: number }> => {
  if (userInfo().uid !== 0) return {}
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')
  if (user === undefined) throw new Error('root cannot run Postgres: make a user named postgres')
  return { uid: Number(user[2]), gid: Number(user[3]) }
}

const childrenOf = async (pid: number): Promise<number[]> =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter(Boolean).map(Number)

const killPid = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

// A zombie that nobody has waited for yet holds nothing any more.
const isAlive = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')
  return !/\) [ZX]/.test(stat)
}
