/** A router small enough to read: queues, their keys, and one undelivered message at a time. */
import type { SideName } from './types.js'

export interface QueuedMessage {
  readonly id: number
  /** What the sender put in; `undefined` for the marker that stands for a message that found the queue full. */
  readonly content: Content | undefined
}

/** What one agent says to the other. */
export interface Content {
  /** The same for every copy: what the other side knows a repeated one by. */
  readonly hash: number
  readonly messageType: string
  readonly text: string
  /** The queue that it names: to reply to, or to go over to. */
  readonly queue?: string
  /** The queue that QADD replaces. */
  readonly replaces?: string
  /** The sender’s key for the queue (QKEY, and confirmations of the legacy handshake). */
  readonly key?: string
}

interface Queue {
  readonly id: string
  readonly recipient: SideName
  key: string | undefined
  readonly messages: QueuedMessage[]
  delivering: boolean
}

export type Request =
  | { readonly word: 'NEW'; readonly side: SideName }
  | { readonly word: 'SKEY' | 'KEY'; readonly queue: string; readonly key: string }
  | { readonly word: 'SEND'; readonly queue: string; readonly key: string | undefined; readonly content: Content }
  | { readonly word: 'SUB'; readonly queue: string }
  | { readonly word: 'ACK'; readonly queue: string; readonly message: number }
  | { readonly word: 'DEL'; readonly queue: string }

export interface Answer {
  readonly word: 'OK' | 'IDS' | 'ERR AUTH' | 'ERR QUOTA'
  readonly queue?: string
}

export interface ModelRouterOptions {
  readonly quota: number
  /** Delivers a message to the recipient of a queue. */
  readonly deliver: (recipient: SideName, queue: string, message: QueuedMessage) => void
}

const ok: Answer = { word: 'OK' }
const auth: Answer = { word: 'ERR AUTH' }

export class ModelRouter {
  readonly #options: ModelRouterOptions
  readonly #queues = new Map<string, Queue>()
  #lastQueue = 0
  #lastMessage = 0

  constructor(options: ModelRouterOptions) {
    this.#options = options
  }

  answer(request: Request): Answer {
    if (request.word === 'NEW') return this.#create(request.side)
    const queue = this.#queues.get(request.queue)
    if (queue === undefined) return auth
    switch (request.word) {
      case 'SKEY':
      case 'KEY':
        // Repeated with the same key it succeeds, with another it does not (B15).
        if (queue.key !== undefined && queue.key !== request.key) return auth
        queue.key = request.key
        return ok
      case 'SEND':
        return queue.key !== request.key ? auth : this.#send(queue, request.content)
      case 'SUB':
        queue.delivering = false
        this.#deliver(queue)
        return ok
      case 'ACK':
        if (queue.messages[0]?.id !== request.message) return ok
        queue.messages.shift()
        queue.delivering = false
        this.#deliver(queue)
        return ok
      case 'DEL':
        this.#queues.delete(queue.id)
        return ok
    }
  }

  remove(recipient: SideName): void {
    for (const queue of this.#queues.values()) if (queue.recipient === recipient) this.#queues.delete(queue.id)
  }

  #create(recipient: SideName): Answer {
    this.#lastQueue++
    const id = `queue ${this.#lastQueue}`
    this.#queues.set(id, { id, recipient, key: undefined, messages: [], delivering: false })
    return { word: 'IDS', queue: id }
  }

  // Once full, a queue takes nothing until it is empty again.
  #send(queue: Queue, content: Content): Answer {
    const { messages } = queue
    const last = messages.at(-1)
    const isMarked = last !== undefined && last.content === undefined
    if (isMarked) return { word: 'ERR QUOTA' }
    const isFull = messages.length >= this.#options.quota
    messages.push({ id: ++this.#lastMessage, content: isFull ? undefined : content })
    this.#deliver(queue)
    return isFull ? { word: 'ERR QUOTA' } : ok
  }

  #deliver(queue: Queue): void {
    const [head] = queue.messages
    if (queue.delivering || head === undefined) return
    queue.delivering = true
    this.#options.deliver(queue.recipient, queue.id, head)
  }
}
