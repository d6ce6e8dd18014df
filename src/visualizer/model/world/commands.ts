/** Commands of one party: stored first, then run one after the other by the command worker. */
import type { Actors } from './actors.js'
import type { ActorView } from './types.js'
import type { ModelWorker } from './worker.js'

/** Ends a run of a command: `done`, `failed`, `retry`. */
export type Ended = (outcome: 'done' | 'failed' | 'retry') => void
export type Command = (ended: Ended) => void

export class Commands {
  readonly #actors: Actors
  readonly #waiting: Command[] = []
  readonly #worker: ModelWorker

  constructor(actors: Actors) {
    this.#actors = actors
    this.#worker = actors.worker('commandWorker', 'commands', { runNext: done => this.#runNext(done) })
    // Nothing is stored yet: the worker looks, finds nothing and is idle.
    this.#worker.start()
  }

  add(command: Command): void {
    this.#waiting.push(command)
    this.#worker.send({ type: 'command.added' })
  }

  get views(): ActorView[] {
    return [this.#actors.workerView('commandWorker', 'commands', this.#worker)]
  }

  #runNext(done: (outcome: string) => void): void {
    const [head] = this.#waiting
    if (head === undefined) return done('empty')
    head(outcome => {
      if (outcome !== 'retry') this.#waiting.shift()
      done(outcome)
    })
  }
}
