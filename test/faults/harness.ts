/**
 * Real processes for fault tests: the built CLI, started, killed with SIGKILL and started again on the same files, and a
 * caller of an agent that repeats what was not answered.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { CallName, ParamsOf, ResultOf } from '../../src/agent/api/calls.js'
import { readLines } from '../../src/service/lines.js'
import { cliPath } from '../support/cli.js'

/** A directory for what helps to find a fault: traces and logs of the processes, and what the harness did and saw. */
export const traces = process.env['KILL_TRACES']

/** Writes a line of what the harness did or saw, if traces are kept. */
export const note = (facts: object): void => {
  if (traces !== undefined) {
    appendFileSync(join(traces, 'harness.jsonl'), `${JSON.stringify({ at: Date.now(), ...facts })}\n`)
  }
}

/** The call may have taken effect or not: its process ended before the answer. */
export class Unanswered extends Error {}

/** A command of the CLI that is started again whenever it was killed. */
export class RestartedProcess {
  readonly name: string
  readonly args: readonly string[]
  /** The lines of stdout go here. */
  onLine: (line: string) => void = () => {}
  onStart: () => void = () => {}
  onExit: () => void = () => {}
  /** Told when the process ends without being killed or asked to. */
  onCrash: () => void = () => {}
  kills = 0
  #ending = false
  #child: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #stderr = ''

  constructor(name: string, args: readonly string[]) {
    this.name = name
    this.args = args
  }

  start(): void {
    const child = spawn(process.execPath, [cliPath, ...this.args], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    this.#ending = false
    // Writing to a process that was just killed fails; what it did not answer is repeated.
    child.stdin?.on('error', () => {})
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = `${this.#stderr}${chunk.toString()}`.slice(-4000)
      if (traces !== undefined) appendFileSync(join(traces, `${this.name}.log`), chunk)
    })
    const read = readStdout(child, line => this.onLine(line))
    this.#exited = Promise.all([once(child, 'exit'), read]).then(() => {
      this.onExit()
      if (!this.#ending) this.onCrash()
    })
    note({ started: this.name })
    this.onStart()
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Throws where none runs. */
  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined || !this.running) throw new Error(`${this.name} does not run`)
    return pid
  }

  /** The last that the process wrote to stderr, for messages of failed tests. */
  get stderr(): string {
    return this.#stderr
  }

  write(line: string): void {
    this.#child?.stdin?.write(`${line}\n`)
  }

  /** SIGKILL, and waits until the process is gone. */
  async kill(): Promise<void> {
    this.kills += 1
    note({ killed: this.name })
    this.#ending = true
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** Ends in order (end of the input, or SIGTERM) and gives the exit code. */
  async end(how: 'input' | 'SIGTERM'): Promise<number | null> {
    this.#ending = true
    if (how === 'input') this.#child?.stdin?.end()
    else this.#child?.kill('SIGTERM')
    await this.#exited
    return this.#child?.exitCode ?? null
  }
}

const readStdout = async (child: ChildProcess, onLine: (line: string) => void): Promise<void> => {
  for await (const line of readLines(child.stdout as Readable, 16_777_216)) {
    if (!('text' in line)) throw new Error(`stdout has a line that is ${line.problem}`)
    onLine(line.text)
  }
}

/** An event as it stands in the notification. */
export interface EventLine {
  readonly cursor: number
  readonly type: string
  readonly connectionId: string
  readonly [fact: string]: unknown
}

interface Pending {
  readonly resolve: (result: never) => void
  readonly reject: (error: Error) => void
}

/** An agent in a process, and its caller: calls that the process did not answer can be repeated at the next one. */
export class AgentProcess {
  readonly process: RestartedProcess
  onEvent: (event: EventLine) => void = () => {}
  /** Told at each start, before what is repeated. */
  onStart: () => void = () => {}
  /** How often a call was repeated because it was not answered. */
  repeats = 0
  #nextId = 1
  #pending = new Map<number, Pending>()
  #started: Array<() => void> = []

  constructor(name: string, args: readonly string[]) {
    this.process = new RestartedProcess(name, ['agent', '--stdio', ...args])
    this.process.onLine = line => this.#take(JSON.parse(line))
    this.process.onStart = () => {
      this.onStart()
      for (const go of this.#started.splice(0)) go()
    }
    this.process.onExit = () => {
      const pending = [...this.#pending.values()]
      this.#pending.clear()
      for (const { reject } of pending) reject(new Unanswered(`${name} ended before its answer`))
    }
  }

  /** One call. Rejects with Unanswered when the process ends first, with RpcFailure when the agent refuses. */
  call<N extends CallName>(method: N, params: ParamsOf<N>): Promise<ResultOf<N>> {
    if (!this.process.running) return Promise.reject(new Unanswered(`${this.process.name} does not run`))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.process.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    })
  }

  /** Repeats a call at one process after the other until one answers it. */
  async repeat<N extends CallName>(method: N, params: ParamsOf<N>): Promise<ResultOf<N>> {
    for (;;) {
      try {
        return await this.call(method, params)
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error
        this.repeats += 1
        await this.started()
      }
    }
  }

  /** Resolves when a process runs. */
  started(): Promise<void> {
    if (this.process.running) return Promise.resolve()
    return new Promise(resolve => {
      this.#started.push(resolve)
    })
  }

  #take(message: {
    id?: number
    method?: string
    params?: EventLine
    result?: never
    error?: RpcFailure['error']
  }): void {
    note({ agent: this.process.name, ...message, params: message.params && { ...message.params, body: undefined } })
    if (message.method === 'event' && message.params !== undefined) return this.onEvent(message.params)
    const pending = this.#pending.get(message.id ?? -1)
    if (pending === undefined) throw new Error(`${this.process.name} answered what was not asked`)
    this.#pending.delete(message.id ?? -1)
    if (message.error === undefined) pending.resolve(message.result as never)
    else pending.reject(new RpcFailure(this.process.name, message.error))
  }
}

/** The agent answered with an error. */
export class RpcFailure extends Error {
  readonly error: { readonly code: number; readonly message: string; readonly data?: unknown }
  constructor(name: string, error: RpcFailure['error']) {
    super(`${name} answered: ${error.message} ${JSON.stringify(error.data)}`)
    this.error = error
  }
}

/** A TCP port of this machine that is free now. */
export const freePort = async (): Promise<number> => {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  await once(listener, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Random numbers in [0, 1) that repeat under the same seed (mulberry32). */
export const seededRandom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
