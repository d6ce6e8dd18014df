/** Child processes of the benchmarks: started, spoken to over their ipc channel, and ended by their own handle. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'

/** What children are started with: `--cpu-prof` when a directory for profiles is given. */
export interface ChildOptions {
  readonly profileDir?: string | undefined
  /** More options of Node. */
  readonly flags?: readonly string[]
}

export interface Child {
  readonly pid: number
  /** Rejects when the child ends by itself; never resolves. */
  readonly failed: Promise<never>
  /** Ends it in order, and by force when it takes too long. */
  stop(): Promise<void>
}

/** A child that serves calls (see `serveCalls`). */
export interface CallableChild extends Child {
  call<T>(method: string, params?: unknown): Promise<T>
  /** What the child sends without being asked. */
  onNote: (note: unknown) => void
}

const stopMs = 15_000
/** Children that still run: none may outlive this process, however it ends. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Ends all children now, so that whoever waits for one fails and cleans up. */
export const stopChildren = (): void => {
  for (const child of running) child.kill('SIGTERM')
}

/** Starts a script of this build as a process of its own. */
export const spawnScript = (script: URL, args: readonly string[], { profileDir, flags = [] }: ChildOptions) => {
  const profile = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`]
  const child = spawn(process.execPath, [...flags, ...profile, script.pathname, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  running.add(child)
  const exited = once(child, 'exit').finally(() => running.delete(child))
  let stopping = false
  const failed = exited.then(([code, signal]): never => {
    throw new Error(`${script.pathname} ended by itself (${code ?? signal})`)
  })
  failed.catch(() => {})
  const stop = async (): Promise<void> => {
    if (stopping || child.exitCode !== null || child.signalCode !== null) return
    stopping = true
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), stopMs)
    await exited
    clearTimeout(late)
  }
  return { child, pid: child.pid ?? 0, failed, stop }
}

interface Call {
  readonly id: number
  readonly method: string
  readonly params: unknown
}

type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly note: unknown }

/** Starts a script that serves calls. */
export const startChild = (script: URL, options: ChildOptions): CallableChild => {
  const { child, pid, failed, stop } = spawnScript(script, [], options)
  const open = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>()
  let lastId = 0
  child.stdout?.resume()
  child.on('message', message => {
    const reply = message as Reply
    if ('note' in reply) return callable.onNote(reply.note)
    const waiting = open.get(reply.id)
    open.delete(reply.id)
    if ('error' in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.result as never)
  })
  const callable: CallableChild = {
    pid,
    failed,
    stop,
    onNote: () => {},
    call: (method, params) => {
      const id = ++lastId
      const answer = new Promise<never>((resolve, reject) => open.set(id, { resolve, reject }))
      child.send({ id, method, params } satisfies Call)
      return Promise.race([answer, failed])
    },
  }
  return callable
}

/** The child's side: answers calls until the parent stops it or is gone, then runs `close`. */
export const serveCalls = (
  methods: Readonly<Record<string, (params: never) => unknown>>,
  close: () => Promise<void>,
): { note: (note: unknown) => void } => {
  const send = (reply: Reply): void => void process.send?.(reply)
  process.on('message', async message => {
    const { id, method, params } = message as Call
    try {
      send({ id, result: await methods[method]?.(params as never) })
    } catch (error) {
      send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  })
  const end = (): void =>
    void close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`)
        process.exit(1)
      },
    )
  process.once('SIGTERM', end)
  process.once('disconnect', end)
  // The terminal sends it to all processes; the parent decides.
  process.on('SIGINT', () => {})
  return { note: note => send({ note }) }
}

/** CPU time of any process in ms, all of its threads; undefined where the system does not tell (it does on Linux). */
export const cpuMs = async (pid: number): Promise<number | undefined> => {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return undefined
  }
}
