/** Two parties and a router in a small world without time, network or keys of its own: only the machines are real. */

export type SideName = 'alice' | 'bob'
export type Place = SideName | 'router'

export const sideNames: readonly SideName[] = ['alice', 'bob']
export const otherSide = (side: SideName): SideName => (side === 'alice' ? 'bob' : 'alice')

/** What a link is to: one connection, or an address that many may ask at. */
export type LinkKind = 'invitation' | 'contact'

/** A message between two places that has been sent and not yet arrived. */
export interface Wire {
  readonly id: number
  readonly from: Place
  readonly to: Place
  /** Its word on the wire: SKEY, SEND, OK. */
  readonly word: string
  /** What it carries, in words. */
  readonly about: string
  /** Kind of the agent message that a SEND carries. */
  readonly carries?: string
  /** Handed over outside of the network, as a link is: it cannot be lost. */
  readonly outside?: boolean
  readonly arrive: () => void
  /** Held back until it is let go by hand. */
  held: boolean
}

/** What happened, in order: the rows of the sequence diagram. */
export type Entry =
  | {
      readonly kind: 'wire'
      readonly wire: Pick<Wire, 'id' | 'from' | 'to' | 'word' | 'about' | 'outside'>
      readonly fate: 'arrived' | 'lost' | 'copied' | 'held'
    }
  | {
      readonly kind: 'machine'
      readonly side: SideName
      readonly machine: string
      readonly actor: string
      readonly event: string
      readonly from: string
      readonly to: string
      readonly intents: readonly string[]
      readonly taken: readonly string[]
      /** Why the event meant nothing, if it did. */
      readonly ignored?: string
    }
  | { readonly kind: 'told'; readonly side: SideName; readonly word: string; readonly about: string }
  | { readonly kind: 'does'; readonly side: SideName | 'router'; readonly text: string }
  | { readonly kind: 'time'; readonly ms: number }

/** A machine of a party as it stands. */
export interface ActorView {
  readonly side: SideName
  readonly machine: string
  /** Which one of its kind: a queue, a router. */
  readonly actor: string
  readonly state: string
  /** Transitions of its last step. */
  readonly taken: readonly string[]
}

/** What the reader of a scenario does. */
export type Input =
  | { readonly do: 'step' }
  | { readonly do: 'deliver' | 'drop' | 'duplicate' | 'hold'; readonly wire: number }

/** One line of a scenario’s script: it is said when nothing else is on its way. */
export interface Cue {
  readonly side: SideName | 'router'
  readonly text: string
  readonly run: (world: CueWorld) => void
  /** Said as soon as this holds, whatever is on its way. */
  readonly when?: (world: CueWorld) => boolean
  /** Not said before this holds: a user waits to be told. */
  readonly after?: (world: CueWorld) => boolean
}

/** What a script can do. */
export interface CueWorld {
  readonly alice: CueParty
  readonly bob: CueParty
  readonly wires: readonly Wire[]
  /** Whether the application of a side was told this word, or word and what about. */
  wasTold(side: SideName, word: string, about?: string): boolean
  /** Takes the queue of a recipient away at the router. */
  removeQueue(recipient: SideName): void
}

export interface CueParty {
  /** Whether it has a queue to send to. */
  readonly hasLink: boolean
  create(): void
  createAddress(): void
  join(): void
  /** Accepts who has asked at the address. */
  accept(): void
  allow(): void
  send(text: string): void
  /** Queues a message of any kind, as the agent’s own work would. */
  enqueue(messageType: string): void
  /** Whether the application acknowledges what it is told. */
  reading(on: boolean): void
  /** Acknowledges the oldest message. */
  acknowledge(): void
  switchQueue(): void
  abortSwitch(): void
  /** Starts a synchronisation of the ratchet; `force` from any state. */
  synchronize(force: boolean): void
}

export interface Scenario {
  readonly id: string
  readonly title: string
  readonly about: string
  /** Behaviours that it shows. */
  readonly spec: readonly string[]
  /** Queues are of the legacy form: their recipient secures them (KEY), not their sender (SKEY). */
  readonly legacy?: boolean
  /** Messages that a queue holds. */
  readonly quota?: number
  /** Done before the first row, without being shown. */
  readonly before?: readonly Cue[]
  readonly cues: readonly Cue[]
}
