/** The built CLI as a process, for tests of what only processes show. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The CLI under test: the build of this checkout, or another one. */
export const cliPath =
  process.env['DUOLOGUE_CLI'] ?? fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Written to stdin, which then ends. */
  readonly input?: string
  readonly env?: Record<string, string>
  readonly cwd?: string
  /** Told of stdout so far; `signal` sends a signal to the process. */
  readonly onStdout?: (text: string, signal: (name: NodeJS.Signals) => void) => void
  /** SIGKILL after this time. */
  readonly deadlineMs?: number
}

/** Runs a command to its end. */
export const runCli = async (args: readonly string[], options: RunOptions = {}): Promise<Ran> => {
  const { input = '', env = {}, cwd, onStdout, deadlineMs = 60_000 } = options
  const child = spawn(process.execPath, [cliPath, ...args], { env: { ...process.env, ...env }, cwd })
  const texts = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    texts.stdout += chunk.toString()
    onStdout?.(texts.stdout, name => child.kill(name))
  })
  child.stderr.on('data', (chunk: Buffer) => {
    texts.stderr += chunk.toString()
  })
  child.stdin.end(input)
  const late = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(late)
  return { code, ...texts }
}
