import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSendProhibited, type RatchetSyncEvent, ratchetSyncMachine, type SyncRole } from '../../machines/index.js'
import { decided } from './decisions.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const states = ['ok', 'allowed', 'required', 'started', 'agreed'] as const
const after = (state: string, event: RatchetSyncEvent) => decided(ratchetSyncMachine, state, event)
const key = (role: SyncRole) => ({ type: 'key.received', role }) as const

/** A message on its way: a key, which no ratchet encrypts, or one that only the same ratchet decrypts. */
type Sent = { readonly key: number } | { readonly ratchet: string }

/** One party: its machine, its keys and its ratchet, and what it has sent that the other one has not read. */
class Party {
  state = 'ok'
  ratchet = 'first'
  readonly sent: Sent[] = []
  readonly #keys: () => number
  #own = 0
  #saysReady = false

  constructor(keys: () => number) {
    this.#keys = keys
  }

  decide(event: RatchetSyncEvent, theirs = 0): void {
    const { to, intents } = after(this.state, event)
    this.state = to
    for (const intent of intents) {
      if (intent === 'sendKey') this.sent.push({ key: (this.#own = this.#keys()) })
      if (intent === 'replyKey') this.sent.push({ key: this.#own })
      if (intent.startsWith('create')) this.ratchet = [this.#own, theirs].sort((a, b) => a - b).join('+')
      if (intent === 'createReceivingRatchet') this.#saysReady = true
      if (intent === 'sendEREADY') this.sent.push({ ratchet: this.ratchet })
    }
  }

  read(message: Sent): void {
    if ('key' in message) {
      if (this.state !== 'started') this.#own = this.#keys()
      this.decide(key(this.#own <= message.key ? 'receiving' : 'sending'), message.key)
    } else if (message.ratchet !== this.ratchet) this.decide({ type: 'message.undecryptable', need: 'required' })
    else {
      const wasAgreed = this.state === 'agreed'
      this.decide({ type: 'message.decrypted' })
      if (wasAgreed && this.#saysReady) this.sent.push({ ratchet: this.ratchet })
      this.#saysReady = false
    }
  }

  write(): void {
    if (!isSendProhibited(this.state)) this.sent.push({ ratchet: this.ratchet })
  }
}

const pair = (seed: readonly number[]): [Party, Party] => {
  let made = 0
  // Hashes in any order, none twice.
  const keys = () => (seed[made % seed.length] as number) * 1000 + ++made
  return [new Party(keys), new Party(keys)]
}

/** Everything that is on its way is read. */
const settle = ([one, other]: readonly [Party, Party]): void => {
  for (let read = 0; one.sent.length + other.sent.length > 0; read++) {
    expect(read).toBeLessThan(1_000)
    const message = one.sent.shift()
    if (message !== undefined) other.read(message)
    const answer = other.sent.shift()
    if (answer !== undefined) one.read(answer)
  }
}

const step = fc.tuple(
  fc.constantFrom(0, 1),
  fc.constantFrom('write', 'read', 'read', 'start', 'force', 'fail', 'restore'),
)
const lives = fc.array(step, { maxLength: 40 })
const seeds = fc.array(fc.nat(9), { minLength: 1, maxLength: 20 })

const live = (parties: [Party, Party], steps: ReadonlyArray<readonly [number, string]>): void => {
  for (const [index, what] of steps) {
    const [party, other] = (index === 0 ? parties : [parties[1], parties[0]]) as [Party, Party]
    const message = what === 'read' ? other.sent.shift() : undefined
    if (message !== undefined) party.read(message)
    if (what === 'write') party.write()
    if (what === 'start' || what === 'force') party.decide({ type: 'sync.start', force: what === 'force' })
    if (what === 'fail') party.decide({ type: 'message.undecryptable', need: 'allowed' })
    if (what === 'restore') {
      party.ratchet = `restored ${party.ratchet}`
      party.decide({ type: 'backup.restored' })
    }
  }
}

describe('ratchetSync', () => {
  it('B81 two parties that start at once converge: one makes the receiving, the other the sending ratchet, and EREADY ends it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...states), fc.constantFrom(...states), fc.boolean(), (left, right, leftReceives) => {
        const started = [left, right].map(state => after(state, { type: 'sync.start', force: true }).to)
        const roles: SyncRole[] = leftReceives ? ['receiving', 'sending'] : ['sending', 'receiving']
        const agreed = started.map((state, side) => after(state, key(roles[side] as SyncRole)))
        expect(agreed.map(step => step.to)).toEqual(['agreed', 'agreed'])
        expect(agreed.filter(step => step.intents.includes('sendEREADY'))).toHaveLength(1)
        expect(agreed.filter(step => step.intents.includes('createReceivingRatchet'))).toHaveLength(1)
        for (const { to } of agreed) expect(after(to, { type: 'message.decrypted' }).to).toBe('ok')
      }),
      fuzzRuns(40),
    )
  })

  it('B80 B81 a synchronisation converges whatever went before: one party alone that asks for it asks three times at most', () => {
    fc.assert(
      fc.property(lives, seeds, fc.constantFrom(0, 1), (steps, seed, asking) => {
        const parties = pair(seed)
        live(parties, steps)
        settle(parties)
        const isDone = () => parties.every(({ state }) => state === 'ok') && parties[0].ratchet === parties[1].ratchet
        let asked = 0
        while (!isDone()) {
          expect(++asked).toBeLessThanOrEqual(3)
          ;(parties[asking] as Party).decide({ type: 'sync.start', force: true })
          settle(parties)
        }
        // It carries messages in both directions.
        for (const party of parties) party.write()
        settle(parties)
        expect(parties.map(({ state }) => state)).toEqual(['ok', 'ok'])
      }),
      fuzzRuns(200),
    )
  })

  it('B84 a party that may send has the ratchet of the last synchronisation it has seen the end of', () => {
    fc.assert(
      fc.property(lives, seeds, (steps, seed) => {
        const parties = pair(seed)
        for (const one of steps) {
          const before = parties.map(({ ratchet }) => ratchet)
          live(parties, [one])
          // A ratchet is replaced only on the way through a state in which nothing is sent.
          parties.forEach(({ state, ratchet }, index) => {
            if (ratchet !== before[index]) expect(isSendProhibited(state)).toBe(true)
          })
        }
      }),
      fuzzRuns(40),
    )
  })
})
