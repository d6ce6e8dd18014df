/**
 * Contact addresses. The owner has a queue whose link many may use; who joins by it sends an invitation there that names a queue of
 * their own, and is the initiator from then on: the owner who accepts joins.
 */
import type { Actors, Doings, Protocol } from './actors.js'
import type { Commands } from './commands.js'
import type { Receiving } from './receiving.js'
import type { Content } from './router.js'
import type { ActorView } from './types.js'

export interface ContactListener {
  /** What the connection machine of this side hears of. */
  decide(event: { readonly type: 'queue.created' | 'invitation.sent' }): void
}

export class Contact {
  readonly #actors: Actors
  readonly #commands: Commands
  readonly #receiving: Receiving
  readonly #listener: ContactListener
  /** The owner’s connection that is the address. */
  #address: Protocol | undefined
  /** The queue of the other party’s address. */
  #target: string | undefined
  /** The queue that the last invitation names. */
  #invited: string | undefined

  constructor(actors: Actors, commands: Commands, receiving: Receiving, listener: ContactListener) {
    this.#actors = actors
    this.#commands = commands
    this.#receiving = receiving
    this.#listener = listener
  }

  get views(): ActorView[] {
    return this.#address === undefined ? [] : [this.#actors.view(this.#address)]
  }

  /** The other party’s address is known: whoever joins, joins by it. */
  get isTarget(): boolean {
    return this.#target !== undefined
  }

  /** The queue of who asked to be accepted. */
  get invited(): string | undefined {
    return this.#invited
  }

  /** The owner makes the address. */
  create(): void {
    const address = (this.#address ??= this.#actors.protocol('connection', 'contact address'))
    this.#receiving.create(
      ({ id }) => {
        this.#actors.decide(address, { type: 'address.created' })
        this.#actors.world.handOver(this.#actors.side, 'link', 'contact address', id, 'contact')
      },
      () => this.create(),
      true,
    )
  }

  /** The link of the other party’s address is here. */
  linked(queue: string): void {
    this.#target = queue
  }

  /** An invitation came to the address. */
  received({ queue }: Content): void {
    if (this.#address === undefined) return
    this.#actors.decide(
      this.#address,
      { type: 'invitation.received' },
      {
        storeInvitation: () => {
          this.#invited = queue
        },
        notifyReq: () => this.#actors.told('REQ', 'somebody asks to be accepted'),
      },
    )
  }

  /** What the connection machine of who joins wants done. */
  get doings(): Doings {
    return { commandCreateQueue: () => this.#commandCreate(), commandInvite: () => this.#commandInvite() }
  }

  #commandCreate(): void {
    this.#commands.add(ended =>
      this.#receiving.create(
        () => {
          this.#listener.decide({ type: 'queue.created' })
          ended('done')
        },
        () => ended('retry'),
      ),
    )
  }

  #commandInvite(): void {
    const queue = this.#target
    const own = this.#receiving.primary?.id
    if (queue === undefined || own === undefined) return
    const { world, side } = this.#actors
    const content: Content = { hash: world.nextHash(), messageType: 'INVITATION', text: 'own info', queue: own }
    this.#commands.add(ended =>
      world.request(
        side,
        { word: 'SEND', queue, key: undefined, content },
        'invitation',
        ({ word }) => {
          if (word === 'OK') this.#listener.decide({ type: 'invitation.sent' })
          else this.#actors.told('ERR', word)
          ended(word === 'OK' ? 'done' : 'failed')
        },
        () => ended('retry'),
      ),
    )
  }
}
