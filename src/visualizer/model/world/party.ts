/**
 * One party: its machines are the product’s, what their intents do is written down here in the few lines that a model needs. An
 * intent that is not written down is shown and does nothing.
 */
import type { AnyEventObject } from 'xstate'
import { chartOf, type Chart, ignoresAt, textOf } from '../chart.js'
import { machineNamed, type NamedMachine } from '../machines.js'
import { begin, type Simulation, statePath, type Step, step } from '../simulate.js'
import type { Answer, Content, QueuedMessage, Request } from './router.js'
import { type ActorView, type CueParty, otherSide, type SideName } from './types.js'
import { ModelWorker } from './worker.js'

/** What a party needs of the world around it. */
export interface Surroundings {
  readonly request: (
    side: SideName,
    request: Request,
    about: string,
    answered: (answer: Answer) => void,
    failed: () => void,
  ) => void
  readonly handOver: (from: SideName, word: string, about: string, arrive: (to: Party) => void) => void
  readonly setTimer: (run: () => void, ms: number) => () => void
  readonly nextHash: () => number
  readonly told: (side: SideName, word: string, about: string) => void
  readonly noted: (side: SideName, text: string) => void
  readonly stepped: (side: SideName, machine: string, actor: string, done: Step, ignored: string | undefined) => void
}

interface Protocol {
  readonly named: NamedMachine
  readonly chart: Chart
  readonly actor: string
  simulation: Simulation
}

interface RcvQueue extends Protocol {
  readonly id: string
  subscription: Protocol | undefined
  secret: boolean
  /** Messages by hash, and whether the application has acknowledged them. */
  readonly known: Map<number, { acknowledged: boolean }>
  /** What the application has been told and not acknowledged. */
  readonly unread: Array<{ readonly message: QueuedMessage; readonly hash: number }>
}

interface SndQueue extends Protocol {
  readonly id: string
  readonly securable: boolean
  readonly key: string
  secured: boolean
  readonly waiting: Content[]
  readonly worker: ModelWorker
}

interface Command {
  readonly text: string
  readonly run: (done: (outcome: string) => void) => void
}

const charts = new Map<string, Chart>()
const chartFor = (named: NamedMachine): Chart => {
  const known = charts.get(named.name) ?? chartOf(named.machine)
  charts.set(named.name, known)
  return known
}

const required = (name: string): NamedMachine => {
  const named = machineNamed(name)
  if (named === undefined) throw new Error(`there is no machine ${name}`)
  return named
}

export class Party implements CueParty {
  readonly side: SideName
  readonly #world: Surroundings
  readonly #connection: Protocol
  readonly #rcv: RcvQueue[] = []
  readonly #snd: SndQueue[] = []
  readonly #commands: Command[] = []
  readonly #commandWorker: ModelWorker
  #reading = true
  #replyQueue: string | undefined

  constructor(side: SideName, world: Surroundings) {
    this.side = side
    this.#world = world
    this.#connection = this.#protocol('connection', 'connection')
    this.#commandWorker = this.#worker('commandWorker', 'commands', {
      runNext: done => this.#runNext(done),
    })
    // Nothing is stored yet: the worker looks, finds nothing and is idle.
    this.#commandWorker.start()
  }

  get actors(): ActorView[] {
    const view = ({ named, actor, simulation }: Protocol): ActorView => ({
      side: this.side,
      machine: named.name,
      actor,
      state: statePath(simulation.snapshot),
      taken: simulation.steps.at(-1)?.taken ?? [],
    })
    const worker = (machine: string, actor: string, { state, lastTaken }: ModelWorker): ActorView => ({
      side: this.side,
      machine,
      actor,
      state,
      taken: lastTaken,
    })
    return [
      view(this.#connection),
      ...this.#rcv.flatMap(queue => [
        view(queue),
        ...(queue.subscription === undefined ? [] : [view(queue.subscription)]),
      ]),
      ...this.#snd.flatMap(queue => [view(queue), worker('sndQueueDelivery', queue.actor, queue.worker)]),
      worker('commandWorker', 'commands', this.#commandWorker),
    ]
  }

  // What the user does.

  create(): void {
    this.#newQueue(queue => {
      this.#decide(this.#connection, { type: 'queue.created' })
      this.#world.handOver(this.side, 'link', 'invitation link', to => to.linked(queue.id))
    })
  }

  join(): void {
    this.#decide(this.#connection, { type: 'connection.join' })
  }

  allow(): void {
    this.#decide(this.#connection, { type: 'connection.allow' })
  }

  send(text: string): void {
    this.#decide(
      this.#connection,
      { type: 'message.send', early: true },
      { acceptMessage: () => this.#enqueue('A_MSG', text) },
    )
  }

  enqueue(messageType: string): void {
    this.#enqueue(messageType, messageType)
  }

  reading(on: boolean): void {
    this.#reading = on
    if (on) while (this.#rcv.some(({ unread }) => unread.length > 0)) this.acknowledge()
  }

  acknowledge(): void {
    for (const queue of this.#rcv) {
      const read = queue.unread.shift()
      if (read === undefined) continue
      const known = queue.known.get(read.hash)
      if (known !== undefined) known.acknowledged = true
      this.#ack(queue, read.message)
      return
    }
  }

  // What others do to it.

  /** The link of the other party’s queue is here. */
  linked(queue: string): void {
    this.#addSndQueue(queue)
  }

  /** A message of a router. */
  arrived(queueId: string, message: QueuedMessage): void {
    const queue = this.#rcv.find(({ id }) => id === queueId)
    if (queue === undefined) return
    const { content } = message
    if (content === undefined) {
      // The queue was full and is empty now: the sender need not wait any longer.
      this.#ack(queue, message)
      this.#enqueue('A_QCONT', 'go on')
      return
    }
    const known = queue.known.get(content.hash)
    const isConfirmation = content.messageType.startsWith('CONN_INFO')
    if (known !== undefined && !isConfirmation) {
      // Seen before: acknowledged again only if the application has acknowledged it (B34).
      if (known.acknowledged) this.#ack(queue, message)
      return
    }
    queue.known.set(content.hash, { acknowledged: false })
    const envelope = isConfirmation ? 'confirmation' : 'message'
    const event = { type: 'message.arrived', key: isConfirmation, envelope }
    this.#decide(queue, event, {
      acknowledge: () => this.#ack(queue, message),
      processConfirmation: () => {
        this.#confirmation(queue, content)
        this.#ack(queue, message)
      },
      processMessage: () => this.#message(queue, message, content),
      prohibited: () => {
        this.#world.told(this.side, 'ERR', 'refused')
        this.#ack(queue, message)
      },
    })
  }

  /** The session to the router was lost with a message on it: it comes back, and the queues are subscribed again. */
  sessionLost(): void {
    for (const queue of this.#rcv) {
      if (queue.subscription !== undefined)
        this.#decide(
          queue.subscription,
          { type: 'session.closed' },
          { notifyDown: () => this.#world.told(this.side, 'DOWN', '') },
        )
    }
    this.#world.setTimer(() => {
      for (const queue of this.#rcv) this.#subscribe(queue)
    }, 2_000)
  }

  // Receiving.

  #confirmation(queue: RcvQueue, { messageType, replyQueue }: Content): void {
    const form = messageType === 'CONN_INFO_REPLY' ? 'infoWithReply' : 'info'
    this.#replyQueue = replyQueue
    this.#decide(
      this.#connection,
      { type: 'confirmation.received', form, senderKey: false },
      {
        createRatchet: () => this.#confirmed(queue),
        secureReceiving: () => this.#confirmed(queue),
      },
    )
  }

  #confirmed(queue: RcvQueue): void {
    queue.secret = true
    this.#decide(queue, { type: 'queue.confirmed' })
  }

  #message(queue: RcvQueue, message: QueuedMessage, { messageType, text, hash }: Content): void {
    const known = queue.known.get(hash)
    if (messageType !== 'A_MSG') {
      // The agent’s own messages are acknowledged at once (B31).
      if (known !== undefined) known.acknowledged = true
      this.#ack(queue, message)
      if (messageType === 'A_QCONT') {
        this.#world.told(this.side, 'QCONT', '')
        for (const { worker } of this.#snd) worker.send({ type: 'queue.continued' })
      }
      return
    }
    this.#decide(
      this.#connection,
      { type: 'message.received' },
      {
        deliverMessage: () => {
          this.#world.told(this.side, 'MSG', text)
          queue.unread.push({ message, hash })
          if (this.#reading) this.acknowledge()
        },
      },
    )
  }

  #ack(queue: RcvQueue, { id }: QueuedMessage): void {
    this.#world.request(
      this.side,
      { word: 'ACK', queue: queue.id, message: id },
      queue.id,
      () => {},
      // No answer means that the session is gone: the router delivers again after the next SUB.
      () => this.sessionLost(),
    )
  }

  // Queues.

  #newQueue(made: (queue: RcvQueue) => void, failed: () => void = () => {}): void {
    this.#world.request(
      this.side,
      { word: 'NEW', side: this.side },
      'a queue to receive from',
      ({ queue: id }) => {
        if (id === undefined) return failed()
        const queue: RcvQueue = {
          ...this.#protocol('rcvQueue', id, { secret: false }),
          id,
          subscription: undefined,
          secret: false,
          known: new Map(),
          unread: [],
        }
        this.#rcv.push(queue)
        this.#subscribed(queue)
        made(queue)
      },
      failed,
    )
  }

  // A queue is made with its subscription.
  #subscribed(queue: RcvQueue): void {
    queue.subscription = this.#protocol('subscription', queue.id)
    this.#decide(queue.subscription, { type: 'subscription.requested' }, { sendSub: () => {} })
    this.#decide(queue.subscription, { type: 'subscription.confirmed', current: true }, { notifyUp: () => {} })
  }

  #subscribe(queue: RcvQueue): void {
    const { subscription } = queue
    if (subscription === undefined) return
    const ended = (event: AnyEventObject): void =>
      this.#decide(subscription, event, { notifyUp: () => this.#world.told(this.side, 'UP', '') })
    this.#decide(
      subscription,
      { type: 'subscription.requested' },
      {
        sendSub: () =>
          this.#world.request(
            this.side,
            { word: 'SUB', queue: queue.id },
            queue.id,
            ({ word }) =>
              ended(
                word === 'OK'
                  ? { type: 'subscription.confirmed', current: true }
                  : { type: 'subscription.failed', current: true, temporary: false },
              ),
            () => {
              ended({ type: 'subscription.failed', current: true, temporary: true })
              this.#world.setTimer(() => this.#subscribe(queue), 2_000)
            },
          ),
      },
    )
  }

  #addSndQueue(id: string): SndQueue {
    const known = this.#snd.find(queue => queue.id === id)
    if (known !== undefined) return known
    const waiting: Content[] = []
    const worker = this.#worker('sndQueueDelivery', id, {
      deliverNext: done => this.#deliverNext(id, done),
    })
    const queue: SndQueue = {
      ...this.#protocol('sndQueue', id),
      id,
      securable: true,
      key: `key of ${this.side}`,
      secured: false,
      waiting,
      worker,
    }
    this.#snd.push(queue)
    worker.start()
    return queue
  }

  // Commands: stored first, then run one after the other.

  #command(command: Command): void {
    this.#commands.push(command)
    this.#commandWorker.send({ type: 'command.added' })
  }

  #runNext(done: (outcome: string) => void): void {
    const [head] = this.#commands
    if (head === undefined) return done('empty')
    head.run(outcome => {
      if (outcome !== 'retry') this.#commands.shift()
      done(outcome)
    })
  }

  #secure(queue: SndQueue, secured: () => void, done: (outcome: string) => void): void {
    this.#world.request(
      this.side,
      { word: 'SKEY', queue: queue.id, key: queue.key },
      queue.id,
      ({ word }) => {
        if (word !== 'OK') {
          this.#world.told(this.side, 'ERR', word)
          return done('failed')
        }
        queue.secured = true
        this.#decide(queue, { type: 'queue.secured' })
        secured()
        done('done')
      },
      () => done('retry'),
    )
  }

  #commandJoin(): void {
    const [queue] = this.#snd
    if (queue === undefined) return
    this.#command({
      text: 'secure the queue of the link',
      run: done =>
        this.#secure(
          queue,
          () => this.#command({ text: 'make the reply queue', run: made => this.#createReply(made) }),
          done,
        ),
    })
  }

  #createReply(done: (outcome: string) => void): void {
    this.#newQueue(
      reply => {
        this.#replyQueue = reply.id
        this.#decide(this.#connection, { type: 'reply.created' })
        done('done')
      },
      () => done('retry'),
    )
  }

  #commandAllowSecure(): void {
    const queue = this.#addSndQueue(this.#replyQueue ?? '')
    this.#command({
      text: 'secure the reply queue',
      run: done => this.#secure(queue, () => this.#enqueue('CONN_INFO', 'own info'), done),
    })
  }

  // Sending.

  #enqueue(messageType: string, text: string): void {
    const [queue] = this.#snd
    if (queue === undefined) return
    const reply =
      messageType === 'CONN_INFO_REPLY' && this.#replyQueue !== undefined ? { replyQueue: this.#replyQueue } : {}
    queue.waiting.push({ hash: this.#world.nextHash(), messageType, text, ...reply })
    queue.worker.send({ type: 'delivery.added' })
  }

  #deliverNext(id: string, done: (outcome: string) => void): void {
    const queue = this.#snd.find(one => one.id === id)
    const [head] = queue?.waiting ?? []
    if (queue === undefined || head === undefined) return done('empty')
    const { messageType } = head
    const settle = (event: AnyEventObject): void => {
      let outcome = 'sent'
      const gone = (next: string): void => {
        if (queue.waiting[0] === head) queue.waiting.shift()
        outcome = next
      }
      this.#decide(queue, event, {
        dropMessage: () => gone('dropped'),
        keepForReceipt: () => gone('sent'),
        notifySent: () => this.#world.told(this.side, 'SENT', head.text),
        notifyFailed: () => this.#world.told(this.side, messageType === 'A_MSG' ? 'MERR' : 'ERR', head.text),
        warn: () => this.#world.told(this.side, 'MWARN', head.text),
        retryFast: () => {
          outcome = 'retryFast'
        },
        retrySlow: () => {
          outcome = 'retrySlow'
        },
        confirmSent: () => this.#decide(this.#connection, { type: 'confirmation.sent', secured: queue.securable }),
        refuseConfirmation: () => this.#decide(this.#connection, { type: 'confirmation.refused' }),
      })
      if (event.type === 'message.sent' && queue.waiting[0] === head) {
        // The row would stay for ever: the reader must see it, and the scenario goes on.
        this.#world.noted(this.side, `no intent says what becomes of ${messageType}, which was sent`)
        queue.waiting.shift()
      }
      done(outcome)
    }
    this.#world.request(
      this.side,
      { word: 'SEND', queue: id, key: queue.secured ? queue.key : undefined, content: head },
      head.messageType === 'A_MSG' ? head.text : head.messageType,
      ({ word }) => {
        if (word === 'OK') settle({ type: 'message.sent', messageType, securable: queue.securable })
        else if (word === 'ERR QUOTA') settle({ type: 'message.overQuota', messageType, expired: false })
        else settle({ type: 'message.unauthorized', messageType })
      },
      () => settle({ type: 'message.unreached', messageType, host: false, expired: false }),
    )
  }

  // Machines.

  #protocol(name: string, actor: string, context?: Record<string, unknown>): Protocol {
    const named = required(name)
    const chart = chartFor(named)
    const simulation = begin(named, chart, context === undefined ? {} : { context })
    return { named, chart, actor, simulation }
  }

  #worker(name: string, actor: string, works: ConstructorParameters<typeof ModelWorker>[0]['works']): ModelWorker {
    const named = required(name)
    const chart = chartFor(named)
    return new ModelWorker({
      named,
      chart,
      works,
      setTimer: this.#world.setTimer,
      stepped: done => this.#world.stepped(this.side, name, actor, done, undefined),
    })
  }

  /** One decision of a protocol machine, and what follows from its intents. */
  #decide(protocol: Protocol, event: AnyEventObject, doings: Readonly<Record<string, () => void>> = {}): void {
    const { named, chart, actor } = protocol
    if ('secret' in protocol) {
      const state = statePath(protocol.simulation.snapshot)
      const { secret } = protocol as RcvQueue
      protocol.simulation = begin(named, chart, { state, context: { secret } })
    }
    protocol.simulation = step(protocol.simulation, event)
    const done = protocol.simulation.steps.at(-1)
    if (done === undefined) return
    const ignored = done.taken.length === 0 ? ignoresAt(chart, done.from)[event.type] : undefined
    this.#world.stepped(this.side, named.name, actor, done, ignored)
    for (const { name } of done.actions) (doings[name] ?? this.#own[name])?.()
  }

  /** Intents that mean the same wherever they come from. */
  readonly #own: Readonly<Record<string, () => void>> = {
    notifyConf: () => this.#world.told(this.side, 'CONF', `${nameOf(otherSide(this.side))} asks to be allowed`),
    notifyInfo: () => this.#world.told(this.side, 'INFO', `info of ${nameOf(otherSide(this.side))}`),
    notifyCon: () => this.#world.told(this.side, 'CON', 'connected'),
    notifyNotAvailable: () => this.#world.told(this.side, 'ERR', 'CONN NOT_AVAILABLE'),
    refuse: () => this.#world.told(this.side, 'ERR', 'refused'),
    commandJoin: () => this.#commandJoin(),
    commandAllowSecure: () => this.#commandAllowSecure(),
    enqueueReplyConfirmation: () => this.#enqueue('CONN_INFO_REPLY', 'own info and reply queue'),
  }
}

export const nameOf = (side: SideName): string => (side === 'alice' ? 'Alice' : 'Bob')

/** The names of actions, with their parameters. */
export const intentNames = (done: Step): string[] =>
  done.actions.map(({ name, params }) =>
    textOf(
      typeof params === 'object' && params !== null ? { name, params: params as Record<string, unknown> } : { name },
    ),
  )
