import type { Bytes } from '../../encoding/index.js'
import type { TransportError } from '../../errors.js'
import { type ChannelIdentity, type ChannelInput, createChannel, type Timers } from './channel.js'
import { type BlockChannel, transportError } from './port.js'

/** The part of a clock that the memory network uses. */
export interface NetworkClock extends Timers {
  now(): number
}

export type LinkDirection = 'toRouter' | 'toClient' | 'both'

/** One open connection of the memory network, in the hands of a test. */
export interface MemoryLink {
  /** Who dialled, as named by `dialer(from)`. */
  readonly from: string
  /** `host:port` that was dialled. */
  readonly place: string
  readonly client: BlockChannel
  readonly router: BlockChannel
  /** Breaks the connection: both sides see TRANSPORT_BROKEN at once, what was on the way is lost. */
  cut(): void
  /** Half-open: from now on nothing passes in this direction, and nobody is told. Only deadlines and `cut` end it. */
  halt(direction?: LinkDirection): void
  /** Sends bytes of any length as if a faulty peer had. */
  inject(direction: 'toRouter' | 'toClient', bytes: Bytes): void
}

type Item = { at: number; bytes: Bytes } | { at: number; end: TransportError }

/** One direction: items in order, each not before its time, blocks only while the receiving end reads. */
class Pipe {
  receiver: ChannelInput | undefined
  sender: ChannelInput | undefined
  queuedBytes = 0
  #items: Item[] = []
  #reading = false
  #halted = false
  #timer: object | number | undefined
  #scheduled = false
  readonly #clock: NetworkClock
  readonly #latencyMs: () => number

  constructor(clock: NetworkClock, latencyMs: () => number) {
    this.#clock = clock
    this.#latencyMs = latencyMs
  }

  write(bytes: Bytes): void {
    this.queuedBytes += bytes.length
    this.#add({ at: this.#arrival(), bytes })
  }

  end(reason: TransportError): void {
    this.#add({ at: this.#arrival(), end: reason })
  }

  reset(reason: TransportError): void {
    this.#clear()
    this.end(reason)
  }

  halt(): void {
    this.#halted = true
    this.#clear()
  }

  read(reading: boolean): void {
    this.#reading = reading
    if (reading) this.#schedule()
  }

  /** An item that could arrive earlier than the one before it waits behind it. */
  #arrival(): number {
    return this.#clock.now() + this.#latencyMs()
  }

  #add(item: Item): void {
    if (this.#halted) return
    this.#items.push(item)
    this.#schedule()
  }

  #clear(): void {
    this.#items = []
    this.queuedBytes = 0
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #schedule(): void {
    const head = this.#items[0]
    if (head === undefined || this.#scheduled || this.#timer !== undefined) return
    const wait = head.at - this.#clock.now()
    if (wait <= 0) {
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        this.#deliver()
      })
    } else {
      this.#timer = this.#clock.setTimeout(() => {
        this.#timer = undefined
        this.#deliver()
      }, wait)
    }
  }

  #deliver(): void {
    for (let head = this.#items[0]; head !== undefined && head.at <= this.#clock.now(); head = this.#items[0]) {
      if ('end' in head) {
        this.#clear()
        this.receiver?.ended(head.end)
        return
      }
      if (!this.#reading) return
      this.#items.shift()
      this.queuedBytes -= head.bytes.length
      if (this.queuedBytes === 0) this.sender?.flushed()
      this.receiver?.received(head.bytes)
    }
    this.#schedule()
  }
}

export interface LinkEnds {
  readonly from: string
  readonly place: string
  readonly client: ChannelIdentity
  readonly router: ChannelIdentity
}

/** Joins two channels by two pipes. `onEnded` is told when both ends have ended. */
export const createMemoryLink = (
  ends: LinkEnds,
  clock: NetworkClock,
  latencyMs: () => number,
  onEnded: () => void,
): MemoryLink => {
  const toRouter = new Pipe(clock, latencyMs)
  const toClient = new Pipe(clock, latencyMs)
  const client = createEnd(ends.client, toRouter, toClient, clock)
  const router = createEnd(ends.router, toClient, toRouter, clock)
  const pipe = (direction: 'toRouter' | 'toClient'): Pipe => (direction === 'toRouter' ? toRouter : toClient)

  let open = 2
  for (const { channel } of [client, router]) {
    channel.onClose(() => {
      open -= 1
      if (open === 0) onEnded()
    })
  }
  return {
    from: ends.from,
    place: ends.place,
    client: client.channel,
    router: router.channel,
    cut() {
      toRouter.halt()
      toClient.halt()
      client.ended(broken())
      router.ended(broken())
    },
    halt(direction = 'both') {
      if (direction !== 'toClient') toRouter.halt()
      if (direction !== 'toRouter') toClient.halt()
    },
    inject: (direction, bytes) => pipe(direction).write(bytes),
  }
}

const createEnd = (identity: ChannelIdentity, out: Pipe, incoming: Pipe, clock: NetworkClock): ChannelInput => {
  const input = createChannel(
    identity,
    {
      write: block => out.write(block),
      queuedBytes: () => out.queuedBytes,
      pause: () => incoming.read(false),
      resume: () => incoming.read(true),
      end: () => out.end(closedByPeer()),
      destroy: () => out.reset(broken()),
    },
    clock,
  )
  out.sender = input
  incoming.receiver = input
  // The peer's answer to an orderly end is its own end.
  input.channel.onClose(() => out.end(closedByPeer()))
  return input
}

const closedByPeer = () => transportError('TRANSPORT_CLOSED', 'the peer closed the connection')
const broken = () => transportError('TRANSPORT_BROKEN', 'the connection broke')
