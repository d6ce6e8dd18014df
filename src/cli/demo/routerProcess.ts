/**
 * The bundled router as a process of its own, as it would be on another machine: it shares nothing with the agents but
 * the TLS connections, and its work does not stand in the way of theirs when times are measured.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { ConfigError, InternalError } from '../../errors.js'
import { readLines } from '../../service/lines.js'

export interface RouterProcess {
  readonly address: string
  /** Rejects when the router ends by itself; never resolves. */
  readonly failed: Promise<never>
  stop(): Promise<void>
}

const startMs = 30_000
const stopMs = 5000
const main = fileURLToPath(new URL('../main.js', import.meta.url))

/**
 * Starts a router with a fresh identity in `directory`, on a free port of this machine.
 *
 * @throws ConfigError CONFIG_ROUTER when it does not start.
 */
export const startRouterProcess = async (directory: string): Promise<RouterProcess> => {
  const args = [main, 'router', 'start', '--dir', directory, '--host', '127.0.0.1', '--port', '0', '--json']
  // The ipc channel tells the router when this process is gone, however that happens.
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const exited = once(child, 'exit')
  const ended = exited.then((): never => {
    throw new InternalError('the bundled router ended by itself')
  })
  ended.catch(() => {})
  try {
    const address = await firstAddress(child)
    return { address, failed: ended, stop: () => stop(child, exited) }
  } catch (error) {
    await stop(child, exited)
    throw error
  }
}

const firstAddress = async (child: ChildProcess): Promise<string> => {
  const late = setTimeout(() => child.kill('SIGKILL'), startMs)
  try {
    for await (const line of readLines(child.stdout as Readable, 65_536)) {
      if ('text' in line) return (JSON.parse(line.text) as { address: string }).address
    }
  } finally {
    clearTimeout(late)
  }
  throw new ConfigError('CONFIG_ROUTER', 'the bundled router did not start', { hint: 'its message is above' })
}

const stop = async (child: ChildProcess, exited: Promise<unknown>): Promise<void> => {
  const running = (): boolean => child.exitCode === null && child.signalCode === null
  if (!running()) return
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), stopMs)
  await exited
  clearTimeout(late)
}
