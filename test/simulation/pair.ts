import type { Application } from './application.js'
import type { Action, Kind, Side } from './plan.js'

export type How = Extract<Action, { do: 'say' }>['how']

/** One side of a connection, as its application knows it. */
export class End {
  readonly pair: Pair
  readonly side: Side
  readonly app: Application
  connectionId: string | undefined
  deleted = false
  /** Its confirmation was refused by the router; an earlier copy of it may have come all the same. */
  refused = false
  /** A synchronisation of the ratchets was begun, and this end has not told of its end. */
  syncing = false
  /** What is still to be said. */
  readonly wanted: Array<{ readonly body: string; readonly how: How }> = []
  said = 0
  speaking = false

  constructor(pair: Pair, side: Side, app: Application) {
    this.pair = pair
    this.side = side
    this.app = app
  }

  get other(): End {
    return this.side === 'a' ? this.pair.b : this.pair.a
  }

  get connected(): boolean {
    return this.connectionId !== undefined && this.app.complete.has(this.connectionId)
  }
}

/** Two applications that become connected. */
export class Pair {
  readonly id: number
  readonly kind: Kind
  readonly pq: boolean
  readonly a: End
  readonly b: End
  link: string | undefined
  /** The contact address by which the two met. */
  addressId: string | undefined
  /** One of the ends was deleted, or the handshake failed: nothing is promised any more. */
  over = false
  /** A switch of one of the ends was started. */
  switched = false
  /** A switch of one of the ends was ended by its application. */
  aborted = false
  /** A queue could not be deleted at its router (DEL_RCVQ with an error): what is sent to it waits until it expires. */
  leftQueue = false
  /** A message of the agents' own, such as a receipt, was given up: its number is missing at the other side. */
  ownFailed = false
  /** The last synchronisation that was forced, and whether one was that did not wait for the end of another. */
  lastSync = ''
  forcedAgain = false
  /** A message of a switch was given up, having waited for days. */
  switchExpired = false

  constructor(id: number, { kind, pq }: { readonly kind: Kind; readonly pq: boolean }, a: Application, b: Application) {
    this.id = id
    this.kind = kind
    this.pq = pq
    this.a = new End(this, 'a', a)
    this.b = new End(this, 'b', b)
  }

  get ends(): readonly End[] {
    return [this.a, this.b]
  }

  /** A router has refused a confirmation for good, and the two have not connected by an earlier copy of it. */
  get neverMet(): boolean {
    return this.ends.some(end => end.refused && !end.connected)
  }

  end(side: Side): End {
    return this[side]
  }
}
