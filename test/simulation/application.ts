import { StoreError } from '../../src/errors.js'
import type { Agent, AgentEvent } from '../../src/index.js'
import type { Clock } from '../../src/runtime/clock.js'
import { textOf } from '../support/agentWorld.js'
import { legacyLink } from '../support/legacyLink.js'
import { Insistence } from './insist.js'
import type { Ledger } from './ledger.js'
import type { End, How, Pair } from './pair.js'
import type { Side } from './plan.js'
import type { AgentProcess } from './process.js'

const syncPatienceMs = 3 * 3_600_000

/** An application as it should be: it repeats what got no answer under its key, notes what it has read, and acknowledges it. */
export class Application {
  readonly name: string
  readonly process: AgentProcess
  readonly calls: Insistence
  /** Connections that have told CON, with the cursor of that. */
  readonly complete = new Map<string, number>()
  readonly #world: Clock
  readonly #ledger: Ledger
  readonly #pairs: ReadonlyMap<number, Pair>
  /** Answers of asynchronous calls, by correlation id. */
  readonly #asked = new Map<string, (event: Extract<AgentEvent, { type: 'OK' | 'ERR' }>) => void>()
  #asks = 0
  #stalledUntil = 0
  #healed = false
  #resumeReading: (() => void) | undefined

  constructor(process: AgentProcess, world: Clock, ledger: Ledger, pairs: ReadonlyMap<number, Pair>) {
    this.name = process.name
    this.process = process
    this.calls = new Insistence(process, world)
    this.#world = world
    this.#ledger = ledger
    this.#pairs = pairs
  }

  /** A process runs: what belongs to it begins anew. */
  started(agent: Agent): void {
    this.calls.restarted()
    void this.calls.call(`subscribe ${this.#asks++}`, running => running.subscribe({}))
    void this.#read(agent)
  }

  /** Side a makes a link, side b joins by it. */
  async meet(pair: Pair): Promise<void> {
    const key = `meet ${pair.id}`
    const { kind, pq } = pair
    const mode = kind === 'contact' ? 'contact' : 'invitation'
    const created = await this.#must(key, agent => agent.createConnection({ mode, pq, idempotencyKey: key }))
    if (created === undefined) return
    if (kind === 'contact') pair.addressId = created.connectionId
    else pair.a.connectionId = created.connectionId
    pair.link = kind === 'legacy' ? legacyLink(created.link) : created.link
    void pair.b.app.join(pair)
  }

  async join(pair: Pair): Promise<void> {
    const { link = '', pq } = pair
    const key = `join ${pair.id}`
    const info = `pair ${pair.id}`
    const joined = await this.#must(key, agent => agent.joinConnection({ link, pq, info, idempotencyKey: key }))
    if (joined === undefined) return
    pair.b.connectionId = joined.connectionId
    this.speak(pair.b)
  }

  say(end: End, count: number, how: How): void {
    for (let index = 0; index < count; index++) {
      end.wanted.push({ body: `${end.pair.id}.${end.side}.${end.said++}`, how })
    }
    this.speak(end)
  }

  /** Sends what is wanted, one call after the other. */
  speak(end: End): void {
    if (end.speaking || !end.connected || end.pair.over) return
    end.speaking = true
    void this.#speak(end).finally(() => {
      end.speaking = false
    })
  }

  async #speak(end: End): Promise<void> {
    let delay = 5_000
    for (let first = end.wanted[0]; first !== undefined && !end.pair.over; first = end.wanted[0]) {
      const { how } = first
      const others = end.wanted.findIndex(one => one.how !== how)
      const together = how === 'one' || how === 'async' ? 1 : others < 0 ? end.wanted.length : others
      const bodies = end.wanted.slice(0, together).map(({ body }) => body)
      for (const body of bodies) this.#ledger.called(end.pair.id, end.side, body, this.process.clock.now())
      const taken = await this.#send(end, bodies, how)
      end.wanted.splice(0, taken)
      // Refused while the ratchet is made anew, which may take days.
      if (taken < bodies.length && !end.pair.over) await this.calls.sleep(delay)
      delay = taken > 0 ? 5_000 : Math.min(2 * delay, 300_000)
    }
  }

  /** Answers how many were accepted. */
  async #send(end: End, bodies: readonly string[], how: How): Promise<number> {
    const connectionId = end.connectionId as string
    const items = bodies.map(body => ({ connectionId, body, idempotencyKey: body }))
    if (how === 'batch') {
      const answer = await this.calls.call(`send ${bodies[0]}`, agent => agent.sendMessages({ items }))
      if (!answer.ok) return this.#refused(end, answer)
      for (const [index, { messageId, error }] of answer.value.results.entries()) {
        if (messageId === undefined) return index + this.#refused(end, error as { code: string; message: string })
        this.#ledger.accepted(end.pair.id, end.side, bodies[index] as string, messageId)
      }
      return bodies.length
    }
    const answers = await Promise.all(
      items.map(item =>
        how === 'async'
          ? this.#sendAsync(item)
          : this.calls.call(`send ${item.body}`, agent => agent.sendMessage(item)),
      ),
    )
    let taken = 0
    let refused = false
    for (const [index, answer] of answers.entries()) {
      if (answer.ok) this.#ledger.accepted(end.pair.id, end.side, bodies[index] as string, answer.value.messageId)
      else this.#refused(end, answer)
      refused ||= !answer.ok
      if (!refused) taken++
    }
    return taken
  }

  async #sendAsync(item: { readonly connectionId: string; readonly body: string; readonly idempotencyKey: string }) {
    const correlationId = `${item.body} ${this.#asks++}`
    const answered = new Promise<Extract<AgentEvent, { type: 'OK' | 'ERR' }>>(resolve =>
      this.#asked.set(correlationId, resolve),
    )
    const stored = await this.calls.call(`store ${item.body}`, agent =>
      agent.sendMessageAsync({ ...item, correlationId }),
    )
    if (!stored.ok) return stored
    const event = await answered
    if (event.type === 'ERR') return { ok: false as const, ...event.error }
    return { ok: true as const, value: { messageId: event.result['messageId'] as number } }
  }

  // While a synchronisation is under way, and for connections that were deleted.
  #refused(end: End, { code, message }: { readonly code: string; readonly message: string }): 0 {
    const isExpected = end.pair.over || (code === 'CMD_PROHIBITED' && /synchroni/iu.test(message))
    if (!isExpected) this.#ledger.blame(`${this.name} could not send on ${end.pair.id}.${end.side}: ${code} ${message}`)
    return 0
  }

  /** Something that may be refused: a switch during a switch, a synchronisation that is not needed. */
  async may(what: string, make: (agent: Agent) => Promise<unknown>): Promise<void> {
    const answer = await this.calls.call(what, make)
    if (answer.ok || ['CMD_PROHIBITED', 'CONFIG_NO_ROUTERS', 'CONN_NOT_FOUND', 'CONN_DELETED'].includes(answer.code))
      return
    this.#ledger.blame(`${this.name} ${what}: ${answer.code} ${answer.message}`)
  }

  async delete(end: End, waitDelivery: boolean): Promise<void> {
    const { connectionId } = end
    if (connectionId === undefined || end.deleted) return
    end.pair.over = true
    end.deleted = true
    end.wanted.length = 0
    end.other.wanted.length = 0
    await this.#must(`delete ${end.pair.id}.${end.side}`, agent =>
      agent.deleteConnection({ connectionId, waitDelivery }),
    )
  }

  async #must<T>(what: string, make: (agent: Agent) => Promise<T>): Promise<T | undefined> {
    const answer = await this.calls.call(what, make)
    if (answer.ok) return answer.value
    this.#ledger.blame(`${this.name} ${what}: ${answer.code} ${answer.message}`)
    return undefined
  }

  /** Reads nothing until then, by the time of the world. */
  stall(ms: number): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, this.#world.now() + ms)
    this.#world.setTimeout(() => this.#goOn(), ms)
  }

  /** Nothing is broken any more: it reads on, and what still does not come to its end is begun anew. */
  heal(): void {
    this.#healed = true
    this.#stalledUntil = 0
    this.#goOn()
  }

  #goOn(): void {
    if (this.#world.now() < this.#stalledUntil) return
    this.#resumeReading?.()
    this.#resumeReading = undefined
  }

  async #read(agent: Agent): Promise<void> {
    for (;;) {
      try {
        let last = 0
        for await (const event of agent.events()) {
          // It is delivered now, however long it is not looked at: a call of before a restart may acknowledge it meanwhile.
          this.#ledger.read(this.name, event.cursor, event.type)
          if (this.#world.now() < this.#stalledUntil)
            await new Promise<void>(resolve => (this.#resumeReading = resolve))
          if (this.process.agent !== agent) return
          if (event.cursor <= last) this.#ledger.blame(`${this.name}: event ${event.cursor} after ${last}`)
          last = event.cursor
          await this.#take(event)
          if (this.process.agent !== agent) return
        }
        return
      } catch (error) {
        if (this.process.agent !== agent) return
        if (!(error instanceof StoreError)) throw error
        await this.calls.sleep(1_000)
      }
    }
  }

  async #take(event: AgentEvent): Promise<void> {
    const end = this.#endOf(event)
    switch (event.type) {
      case 'CONF':
        await this.#allow(event, end)
        break
      case 'REQ':
        await this.#accept(event)
        break
      case 'CON':
        this.#noteCon(event)
        for (const { ends } of this.#pairs.values()) for (const one of ends) if (one.app === this) this.speak(one)
        break
      case 'MSG':
        this.#hear(event)
        break
      case 'SENT':
        if (end !== undefined) this.#ledger.direction(end.pair.id, end.side).sent.add(event.messageId)
        break
      case 'MERR':
      case 'MERRS':
        if (end !== undefined && event.messageType === undefined) this.#failed(event, end)
        else if (end !== undefined) end.pair.ownFailed = true
        break
      case 'OK':
        this.#answered(event)
        break
      case 'ERR':
        if (event.correlationId === undefined) this.#error(event, end)
        else this.#answered(event)
        break
      case 'DEL_RCVQ':
        if (event.error !== undefined && end !== undefined) end.pair.leftQueue = true
        break
      case 'RSYNC':
        this.#synced(event, end)
        break
      case 'END':
      case 'DELD':
        this.#blameUnlessOver(end, event.type)
        break
      default:
    }
    await this.#acknowledge(event)
  }

  async #allow({ connectionId, confirmationId }: Extract<AgentEvent, { type: 'CONF' }>, end: End | undefined) {
    const answer = await this.calls.call(`allow ${connectionId}`, agent =>
      agent.allowConnection({ connectionId, confirmationId }),
    )
    if (!answer.ok) this.#blameUnlessOver(end, `allow: ${answer.code} ${answer.message}`)
  }

  #noteCon({ connectionId, cursor }: AgentEvent): void {
    const first = this.complete.get(connectionId)
    if (first !== undefined && first !== cursor) this.#ledger.blame(`${this.name}: CON twice`)
    this.complete.set(connectionId, cursor)
  }

  async #accept(event: Extract<AgentEvent, { type: 'REQ' }>): Promise<void> {
    const id = Number(/^pair (\d+)$/u.exec(textOf(event.info))?.[1])
    const pair = this.#pairs.get(id)
    if (pair === undefined) return this.#ledger.blame(`${this.name}: REQ of nobody`)
    const { invitationId } = event
    // The request went with the connection that it was accepted as, and is delivered once more.
    if (pair.a.deleted) return void (await this.#must(`reject ${id}`, agent => agent.rejectContact({ invitationId })))
    const accepted = await this.#must(`accept ${id}`, agent =>
      agent.acceptContact({ invitationId, pq: pair.pq, idempotencyKey: `accept ${id}` }),
    )
    if (accepted === undefined) return
    pair.a.connectionId = accepted.connectionId
    this.speak(pair.a)
  }

  #hear({ connectionId, messageId, body, integrity }: Extract<AgentEvent, { type: 'MSG' }>): void {
    const text = textOf(body)
    const [id, side] = text.split('.') as [string, Side]
    const pair = this.#pairs.get(Number(id))
    if (pair === undefined) return this.#ledger.blame(`${this.name}: ${text} of nobody`)
    const end = pair.end(side).other
    if (end.app !== this || (end.connectionId !== undefined && end.connectionId !== connectionId)) {
      this.#ledger.blame(`${text} came to another connection`)
    }
    if (this.#ledger.delivered(pair.id, side, text, messageId) && integrity.result !== 'ok') {
      const anyFailed = this.#ledger.direction(pair.id, side).failed.size > 0
      if (!anyFailed && !pair.ownFailed && !pair.over) this.#ledger.blame(`${text}: ${JSON.stringify(integrity)}`)
    }
  }

  #failed(event: Extract<AgentEvent, { type: 'MERR' | 'MERRS' }>, { pair, side }: End): void {
    const failure = { code: event.error.code, cursor: event.cursor, at: this.process.clock.now() }
    for (const number of event.type === 'MERR' ? [event.messageId] : event.messageIds) {
      this.#ledger.failed(pair.id, side, number, failure)
    }
  }

  /**
   * Makes the ratchets of a connection anew. One that is started while another one is agreed on can leave both sides waiting for each
   * other, as in the reference: a careful application waits for the end of the first.
   */
  synchronize(end: End): void {
    const { connectionId, pair } = end
    if (connectionId === undefined || pair.over || end.syncing || end.other.syncing) return
    end.syncing = true
    end.other.syncing = true
    const ask = this.#asks++
    pair.lastSync = `${this.name} ${ask}`
    const idempotencyKey = `sync ${ask}`
    void this.may(`${idempotencyKey} of ${pair.id}`, agent =>
      agent.synchronizeRatchet({ connectionId, force: true, idempotencyKey }),
    )
    this.#watchSync(end, pair.lastSync)
  }

  #watchSync(end: End, sync: string): void {
    this.#world.setTimeout(() => {
      if (end.pair.lastSync !== sync || (!end.syncing && !end.other.syncing)) return
      if (this.#healed) this.#forceOnceMore(end)
      else this.#watchSync(end, sync)
    }, syncPatienceMs)
  }

  // Keys that cross or expire can leave both sides waiting for each other (B80).
  #forceOnceMore(end: End): void {
    end.pair.forcedAgain = true
    end.syncing = false
    end.other.syncing = false
    this.synchronize(end)
  }

  #synced({ state, error }: Extract<AgentEvent, { type: 'RSYNC' }>, end: End | undefined): void {
    if (state === 'ok' && end !== undefined) end.syncing = false
    if (error !== undefined && end?.pair.forcedAgain !== true)
      this.#blameUnlessOver(end, `RSYNC ${state} ${error.code}`)
  }

  #error(event: Extract<AgentEvent, { type: 'ERR' }>, end: End | undefined): void {
    if (event.temporary === true) return
    if (end !== undefined && event.messageType !== undefined) return this.#gaveUp(end, event.messageType)
    // A late QKEY of an aborted switch, an A_QCONT for the queue that a switch has replaced meanwhile: the reference tells both.
    const { aborted = false, switched = false, forcedAgain = false } = end?.pair ?? {}
    // A confirmation that is repeated after a lost answer may meet a full queue, and is refused for good then.
    if (event.error.code === 'CONN_NOT_AVAILABLE' && end?.connected === false) {
      end.refused = true
      return
    }
    // What was sent between two synchronisations that crossed, which sends nothing of an application.
    if (event.error.code === 'CRYPTO_HEADER' && forcedAgain) return
    if (event.error.code === 'AGENT_QUEUE' && (aborted || switched)) return
    this.#blameUnlessOver(end, `ERR ${event.error.code} ${event.error.message}`)
  }

  // A message of the agents' own has waited for days: a careful application begins anew what cannot go on by itself.
  #gaveUp(end: End, messageType: string): void {
    const { pair } = end
    pair.ownFailed = true
    if (messageType.startsWith('Q')) pair.switchExpired = true
    else if (messageType === 'RATCHET_INFO') {
      this.#forceOnceMore(end)
    } else {
      // The handshake has failed.
      pair.over = true
      end.wanted.length = 0
      end.other.wanted.length = 0
    }
  }

  #blameUnlessOver(end: End | undefined, what: string): void {
    if (end?.pair.over !== true)
      this.#ledger.blame(`${this.name} on ${end === undefined ? 'no pair' : `${end.pair.id}.${end.side}`}: ${what}`)
  }

  #answered(event: Extract<AgentEvent, { type: 'OK' | 'ERR' }>): void {
    this.#asked.get(event.correlationId ?? '')?.(event)
    this.#asked.delete(event.correlationId ?? '')
  }

  async #acknowledge(event: AgentEvent): Promise<void> {
    const { connectionId, cursor } = event
    // Every third message gets a receipt, unless the ratchet is being made anew.
    const receipted =
      event.type === 'MSG' && event.messageId % 3 === 0
        ? await this.calls.call(`ack ${cursor} with a receipt`, agent =>
            agent.ackMessage({ connectionId, messageId: event.messageId, receipt: '' }),
          )
        : undefined
    const answer =
      receipted === undefined || (!receipted.ok && receipted.code === 'CMD_PROHIBITED')
        ? await this.calls.call(`ack ${cursor}`, agent => agent.ackEvents({ cursor }))
        : receipted
    if (answer.ok) this.#ledger.acknowledged(this.name, cursor)
    else this.#blameUnlessOver(this.#endOf(event), `ack of ${event.type}: ${answer.code}`)
  }

  #endOf({ connectionId }: AgentEvent): End | undefined {
    for (const { ends } of this.#pairs.values())
      for (const end of ends) if (end.app === this && end.connectionId === connectionId) return end
    return undefined
  }
}
