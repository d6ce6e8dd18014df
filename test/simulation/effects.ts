import type { BlockChannel } from '../../src/smp/transport/port.js'

/** What a process does to the world outside of it, one after the other: it can be ended before any of them. */
export class Effects {
  #alive = true
  #planned: Array<{ left: number; readonly run: () => void }> = []

  get alive(): boolean {
    return this.#alive
  }

  /** From now on nothing that the process does takes place. */
  end(): void {
    this.#alive = false
  }

  /** Runs something before one of the next effects: the first one is number 0. */
  plan(after: number, run: () => void): void {
    this.#planned.push({ left: after, run })
  }

  forgetPlans(): void {
    this.#planned = []
  }

  /** To be called before each effect; false: the process is gone, the effect must not take place. */
  next(): boolean {
    if (!this.#alive) return false
    const due = this.#planned.filter(one => one.left-- <= 0)
    if (due.length > 0) this.#planned = this.#planned.filter(one => !due.includes(one))
    for (const { run } of due) run()
    return this.#alive
  }
}

/** A promise that nothing settles: what a process waits for that is gone. */
export const never = <T>(): Promise<T> => new Promise<T>(() => {})

/** A channel whose blocks are effects of the process that holds it. */
export const watchedChannel = (channel: BlockChannel, effects: Effects): BlockChannel => {
  const send = channel.send.bind(channel)
  const onBlock = channel.onBlock.bind(channel)
  return Object.assign(channel, {
    send: (block: Uint8Array): boolean => (effects.next() ? send(block) : false),
    onBlock: (handler: (block: Uint8Array) => void): void => {
      onBlock(block => {
        if (effects.next()) handler(block)
      })
    },
  })
}
