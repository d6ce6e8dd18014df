/**
 * Worker threads that outlive a run. Loading the agent takes longer than most tests, and a mutant of code that runs after the loading is
 * switched on and off by a variable: so such mutants follow each other in one thread. What exists from the loading on (a constant of
 * a module) gets a fresh one, and so does the next mutant after a run that did not end.
 */
import { type PoolOptions, type PoolRunnerInitializer, ThreadsPoolWorker } from 'vitest/node'

type Message = Parameters<ThreadsPoolWorker['send']>[0]
type Listener = Parameters<ThreadsPoolWorker['on']>[1]

/** Runs in one thread: each leaves a little behind. */
const runsPerThread = 50

class KeptWorker extends ThreadsPoolWorker {
  readonly #listeners: Array<{ readonly event: string; readonly listener: Listener }> = []
  #runs = 0
  #running = false

  override on(event: string, listener: Listener): void {
    this.#listeners.push({ event, listener })
    super.on(event, listener)
  }

  override send(message: Message): void {
    // The thread would let go of what it has loaded.
    if (message.type === 'stop') return this.#say({ type: 'stopped', __vitest_worker_response__: true })
    if (message.type === 'run') this.#running = true
    super.send(message)
  }

  override async start(): Promise<void> {
    if (this.#runs === 0) await super.start()
    super.on('message', this.#heard)
  }

  override async stop(): Promise<void> {
    for (const { event, listener } of this.#listeners.splice(0)) super.off(event, listener)
    super.off('message', this.#heard)
    this.#runs++
    if (this.#running || this.#runs >= runsPerThread) {
      if (kept === this) kept = undefined
      await super.stop()
    }
  }

  #say(message: object): void {
    for (const { event, listener } of this.#listeners) if (event === 'message') listener(message)
  }

  readonly #heard: Listener = (message: { readonly type?: string }) => {
    if (message.type === 'testfileFinished') this.#running = false
  }
}

let kept: KeptWorker | undefined

const isLasting = ({ project }: PoolOptions): boolean => {
  const { mode, mutantActivation } = project.getProvidedContext() as Record<string, unknown>
  return mode === 'mutant' && mutantActivation === 'runtime'
}

/** Narrows the tests by their titles, for work on some rows; a run of one mutant names its tests itself. */
const titles = process.env['MUTATION_TITLES'] ?? ''

export const keptWorkers: PoolRunnerInitializer = {
  name: 'kept',
  createPoolWorker: options => {
    const { config } = options.project
    if (titles !== '') config.testNamePattern ??= new RegExp(titles)
    return isLasting(options) ? (kept ??= new KeptWorker(options)) : new ThreadsPoolWorker(options)
  },
}
