/**
 * One party: its machines are the product’s; what their intents do is written down here in the few lines that a model needs.
 */
import { isSendProhibited } from '../../../../machines/ratchetSync.js'
import { Actors, nameOf, type Protocol, type Surroundings } from './actors.js'
import { Commands, type Ended } from './commands.js'
import { Contact } from './contact.js'
import { type RcvQueue, Receiving } from './receiving.js'
import { Rotation } from './rotation.js'
import type { Content, QueuedMessage } from './router.js'
import { Sending, type SndQueue } from './sending.js'
import { Synchronisation } from './synchronisation.js'
import { type ActorView, type CueParty, type LinkKind, otherSide, type SideName } from './types.js'

export class Party implements CueParty {
  readonly side: SideName
  readonly #actors: Actors
  readonly #connection: Protocol
  readonly #commands: Commands
  readonly #sending: Sending
  readonly #receiving: Receiving
  readonly #contact: Contact
  readonly #rotation: Rotation
  readonly #sync: Synchronisation
  #replyQueue: string | undefined
  /** The other party’s key, for this side’s router (legacy handshake). */
  #senderKey: string | undefined

  constructor(side: SideName, world: Surroundings) {
    this.side = side
    this.#actors = new Actors(side, world)
    this.#connection = this.#actors.protocol('connection', 'connection')
    this.#commands = new Commands(this.#actors)
    this.#sending = new Sending(this.#actors, {
      confirmationSent: secured => this.#decide({ type: 'confirmation.sent', secured }),
      confirmationRefused: () => this.#decide({ type: 'confirmation.refused' }),
      helloSent: () => this.#decide({ type: 'hello.sent' }),
      helloRefused: () => this.#decide({ type: 'hello.refused' }),
      switchConfirmed: () => this.#rotation.confirmed(),
      switchCompleted: () => this.#rotation.tested(),
    })
    this.#receiving = new Receiving(this.#actors, {
      confirmation: (queue, content) => this.#confirmation(queue, content),
      invitation: content => this.#contact.received(content),
      ratchetKey: content => this.#sync.keyReceived(content),
      userMessage: content => this.#userMessage(content),
      agentMessage: (_, content) => this.#agentMessage(content),
      processed: queue => {
        this.#sync.decrypted()
        this.#rotation.processed(queue)
      },
      drained: () => this.#sending.enqueue('A_QCONT', 'go on'),
    })
    this.#contact = new Contact(this.#actors, this.#commands, this.#receiving, {
      decide: event => this.#decide(event),
    })
    this.#rotation = new Rotation(this.#actors, this.#commands, this.#receiving, this.#sending)
    this.#sync = new Synchronisation(this.#actors, this.#sending)
  }

  get views(): ActorView[] {
    const parts = [this.#contact, this.#rotation, this.#sync, this.#receiving, this.#sending, this.#commands]
    return [this.#actors.view(this.#connection), ...parts.flatMap(part => part.views)]
  }

  get hasLink(): boolean {
    return this.#sending.primary !== undefined || this.#contact.isTarget
  }

  // What the user does.

  create(): void {
    const made = (queue: RcvQueue): void => {
      this.#decide({ type: 'queue.created' })
      this.#actors.world.handOver(this.side, 'link', 'invitation link', queue.id, 'invitation')
    }
    this.#receiving.create(made, () => this.create())
  }

  createAddress(): void {
    this.#contact.create()
  }

  join(): void {
    const by = this.#contact.isTarget ? 'contact' : 'invitation'
    this.#decide({ type: 'connection.join', by, stopped: false })
  }

  accept(): void {
    const { invited } = this.#contact
    if (invited === undefined) return
    this.#sending.add(invited)
    this.#decide({ type: 'connection.join', by: 'invitation', stopped: false })
  }

  allow(): void {
    this.#decide({ type: 'connection.allow', unsecured: this.#senderKey !== undefined, stopped: false })
  }

  send(text: string): void {
    const synchronized = !isSendProhibited(this.#sync.state)
    this.#decide({ type: 'message.send', early: true, synchronized }, () => this.#sending.enqueue('A_MSG', text))
  }

  enqueue(messageType: string): void {
    this.#sending.enqueue(messageType, messageType)
  }

  reading(on: boolean): void {
    this.#receiving.reading(on)
  }

  acknowledge(): void {
    this.#receiving.acknowledge()
  }

  switchQueue(): void {
    this.#rotation.start()
  }

  abortSwitch(): void {
    this.#rotation.abort()
  }

  synchronize(force: boolean): void {
    this.#sync.start(force)
  }

  // What others do to it.

  /** The link of the other party’s queue is here. */
  linked(queue: string, kind: LinkKind): void {
    if (kind === 'contact') this.#contact.linked(queue)
    else this.#sending.add(queue)
  }

  /** A message of a router. */
  arrived(queueId: string, message: QueuedMessage): void {
    this.#receiving.arrived(queueId, message)
  }

  /** The session to the router was lost. */
  sessionLost(): void {
    this.#receiving.sessionLost()
  }

  #confirmation(queue: RcvQueue, { messageType, queue: replyQueue, key }: Content): void {
    const form = messageType === 'CONN_INFO_REPLY' ? 'infoWithReply' : 'info'
    if (replyQueue !== undefined) this.#replyQueue = replyQueue
    this.#senderKey = key
    const confirmed = (): void => this.#receiving.confirmed(queue)
    this.#actors.decide(
      this.#connection,
      { type: 'confirmation.received', form, senderKey: key !== undefined },
      { createRatchet: confirmed, secureReceiving: confirmed, storeSenderKey: confirmed, ...this.#doings() },
    )
  }

  #userMessage({ text }: Content): boolean {
    let told = false
    this.#actors.decide(
      this.#connection,
      { type: 'message.received' },
      {
        deliverMessage: () => {
          this.#actors.told('MSG', text)
          told = true
        },
      },
    )
    return told
  }

  #agentMessage(content: Content): void {
    if (this.#rotation.received(content)) return
    if (content.messageType === 'HELLO') this.#decide({ type: 'hello.received' })
    if (content.messageType !== 'A_QCONT') return
    this.#actors.told('QCONT')
    this.#sending.continueAll()
  }

  // The handshake.

  #decide(event: { readonly type: string; readonly [field: string]: unknown }, accepted = (): void => {}): void {
    this.#actors.decide(this.#connection, event, { acceptMessage: accepted, ...this.#doings() })
  }

  #doings() {
    const other = nameOf(otherSide(this.side))
    return {
      notifyConf: () => this.#actors.told('CONF', `${other} asks to be allowed`),
      notifyInfo: () => this.#actors.told('INFO', `info of ${other}`),
      notifyCon: () => this.#actors.told('CON', 'connected'),
      notifyNotAccepted: () => this.#actors.told('ERR', 'CONN NOT_ACCEPTED'),
      notifyNotAvailable: () => this.#actors.told('ERR', 'CONN NOT_AVAILABLE'),
      refuse: ({ reason }: Readonly<Record<string, unknown>>) => this.#actors.told('ERR', String(reason)),
      ...this.#contact.doings,
      commandJoin: () => this.#commandJoin(),
      commandAllowSecure: () => this.#commandAllowSecure(),
      commandSecureReceive: () => this.#commands.add(ended => this.#secureReceive(ended)),
      enqueueHello: () => this.#sending.enqueue('HELLO', 'hello'),
      enqueueReplyConfirmation: () => this.#enqueueConfirmation('CONN_INFO_REPLY', { queue: this.#replyQueue ?? '' }),
    }
  }

  #commandJoin(): void {
    const queue = this.#sending.primary
    if (queue === undefined) return
    this.#commands.add(ended =>
      this.#secure(queue, ended, () => this.#commands.add(replied => this.#createReply(replied))),
    )
  }

  #createReply(ended: Ended): void {
    this.#receiving.create(
      reply => {
        this.#replyQueue = reply.id
        this.#decide({ type: 'reply.created' })
        ended('done')
      },
      () => ended('retry'),
    )
  }

  #commandAllowSecure(): void {
    const queue = this.#sending.add(this.#replyQueue ?? '')
    this.#commands.add(ended => this.#secure(queue, ended, () => this.#enqueueConfirmation('CONN_INFO')))
  }

  // Where the recipient secures the queue, the confirmation tells it with which key.
  #enqueueConfirmation(messageType: string, more: Partial<Content> = {}): void {
    const queue = this.#sending.primary
    if (queue === undefined) return
    this.#sending.enqueue(messageType, 'own info', { ...more, ...(queue.securable ? {} : { key: queue.key }) })
  }

  #secureReceive(ended: Ended): void {
    const queue = this.#receiving.primary
    if (queue === undefined || this.#senderKey === undefined) return ended('done')
    this.#receiving.secure(queue, this.#senderKey, result => {
      if (result === 'noAnswer') return ended('retry')
      this.#decide({ type: result === 'secured' ? 'queue.secured' : 'step.failed' })
      ended('done')
    })
  }

  // SKEY repeated with the same key succeeds, so a lost answer is only asked for again (B15).
  #secure(queue: SndQueue, ended: Ended, secured: () => void): void {
    if (!queue.securable) {
      secured()
      return ended('done')
    }
    this.#actors.world.request(
      this.side,
      { word: 'SKEY', queue: queue.id, key: queue.key },
      queue.id,
      ({ word }) => {
        if (word !== 'OK') {
          this.#actors.told('ERR', word)
          return ended('failed')
        }
        this.#sending.secured(queue)
        secured()
        ended('done')
      },
      () => ended('retry'),
    )
  }
}
