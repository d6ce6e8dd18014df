/** One direction of a proxied connection: what comes from one socket goes to the other, or what the fault makes of it. */
import type { Socket } from 'node:net'

/** What becomes of the bytes of one direction. All but `drop` keep bytes and their order, as TCP does, however late they come. */
export type Fault =
  | { readonly type: 'pass' }
  /** Nothing gets through, not even the end of the connection. What was sent meanwhile comes when the fault is over. */
  | { readonly type: 'blackhole' }
  /** Nothing gets through, and what was sent meanwhile is lost: the connection can only break afterwards. */
  | { readonly type: 'drop' }
  /** Every byte comes so many milliseconds late. */
  | { readonly type: 'latency'; readonly ms: number }
  /** So many bytes get through, then nothing more, as with `blackhole`: the middle of a block. */
  | { readonly type: 'stall'; readonly after: number }
  /** So many bytes at a time, with a pause before each. */
  | { readonly type: 'drip'; readonly bytes: number; readonly everyMs: number }
  /** So many bytes get through, then every connection ends: in order, or with RST. New ones pass: it happens once. */
  | { readonly type: 'cut' | 'reset'; readonly after: number }

/** What the pipes of a direction share: counts of `stall`, `cut` and `reset` are over all its connections. */
export interface FaultState {
  fault: Fault
  /** Bytes that may pass until the fault begins. */
  left: number
  /** Bytes that have passed so far. */
  passed: number
  /** The bytes before a `cut` or `reset` have passed. */
  fire(how: 'cut' | 'reset'): void
}

interface Piece {
  /** Undefined: the end of the stream. */
  readonly bytes: Buffer | undefined
  readonly at: number
}

/** So much waits for a fault to be over; then the sender is not read from any more. */
const mostWaiting = 1 << 20

export class FaultPipe {
  readonly #from: Socket
  readonly #to: Socket
  readonly #state: FaultState
  #waiting: Piece[] = []
  #waitingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #broken = false
  #closed = false

  constructor(from: Socket, to: Socket, state: FaultState) {
    this.#from = from
    this.#to = to
    this.#state = state
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.on('end', () => this.#take(undefined))
    from.on('close', hadError => {
      this.#broken = hadError
      this.#move()
    })
    to.on('drain', () => this.#move())
  }

  /** The fault has changed: what waits goes on under the new one. */
  changed(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#move()
  }

  /** Forgets what waits and ends its timer. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#waitingBytes = 0
  }

  #take(bytes: Buffer | undefined): void {
    if (this.#closed) return
    this.#waiting.push({ bytes, at: Date.now() })
    this.#waitingBytes += bytes?.length ?? 0
    this.#move()
    if (this.#waitingBytes > mostWaiting) this.#from.pause()
  }

  #move(): void {
    while (!this.#closed && !this.#to.destroyed && this.#timer === undefined) {
      const allowed = this.#allowed()
      if (allowed === 0) break
      const [piece] = this.#waiting
      if (piece === undefined) {
        // RST overtakes nothing that was sent before it.
        if (this.#broken) resetSocket(this.#to)
        break
      }
      if (this.#state.fault.type !== 'drop' && this.#to.writableNeedDrain) break
      this.#pass(piece, allowed)
    }
    if (this.#waitingBytes <= mostWaiting && this.#from.isPaused()) this.#from.resume()
  }

  /** How many bytes may pass now; 0 to wait, for the timer or for the fault to be over. */
  #allowed(): number {
    const { fault, left } = this.#state
    const [first] = this.#waiting
    switch (fault.type) {
      case 'blackhole':
        return 0
      case 'stall':
        return left
      case 'cut':
      case 'reset':
        // At 0 the next byte is the one that does not arrive.
        if (left === 0 && first?.bytes !== undefined) {
          this.#state.fire(fault.type)
          return 0
        }
        return Math.max(left, 1)
      case 'latency':
        return first === undefined ? 1 : this.#due(first.at + fault.ms - Date.now(), Number.POSITIVE_INFINITY)
      case 'drip':
        if (first === undefined) return 1
        this.#later(fault.everyMs, () => this.#drip(fault.bytes))
        return 0
      default:
        return Number.POSITIVE_INFINITY
    }
  }

  #due(waitMs: number, allowed: number): number {
    if (waitMs <= 0) return allowed
    this.#later(waitMs, () => {})
    return 0
  }

  #drip(bytes: number): void {
    const [piece] = this.#waiting
    if (piece !== undefined && !this.#to.destroyed) this.#pass(piece, bytes)
  }

  #later(ms: number, then: () => void): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      then()
      this.#move()
    }, ms)
  }

  #pass(piece: Piece, allowed: number): void {
    const { bytes, at } = piece
    this.#waiting.shift()
    if (bytes === undefined) {
      if (this.#state.fault.type !== 'drop') this.#to.end()
      return
    }
    const count = Math.min(allowed, bytes.length)
    if (count < bytes.length) this.#waiting.unshift({ bytes: bytes.subarray(count), at })
    this.#waitingBytes -= count
    if (this.#state.fault.type === 'drop') return
    this.#state.left -= count
    this.#state.passed += count
    this.#to.write(bytes.subarray(0, count))
    const { fault, left } = this.#state
    if ((fault.type === 'cut' || fault.type === 'reset') && left === 0) this.#state.fire(fault.type)
  }
}

/** Sockets that end with RST as soon as Node has got so far. */
const resetting = new WeakSet<Socket>()

/** RST, whatever still waits to be sent; a peer that is behind in reading may see the end instead. */
export const resetSocket = (socket: Socket): void => {
  // Asked a second time while it shuts down, or asked to be reset then, Node would keep the socket for ever.
  if (resetting.has(socket)) return
  if (socket.readableEnded || socket.writableEnded) {
    socket.destroy()
    return
  }
  resetting.add(socket)
  socket.resetAndDestroy()
  // It would wait for those writes.
  if (socket.writableLength > 0) socket.destroy()
}
