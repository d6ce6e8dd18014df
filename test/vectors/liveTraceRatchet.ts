import { expect, it } from 'vitest'
import { AES_TAG_BYTES, inlineKem, type Kem } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import {
  type E2eParams,
  type E2ePrivateKeys,
  type KemAgreement,
  type MessageEncryptKey,
  type RatchetState,
  type SkippedKey,
  advanceHeader,
  decrypt,
  encryptBody,
  generateX448,
  initRcvRatchet,
  initSndRatchet,
  x3dhInitiator,
} from '../../src/ratchet/index.js'
import { paddedInfoLength, paddedMessageLength } from '../../src/smp/protocol/agentEnvelope.js'
import { aliceX3dhKeys, events, type Name, NAMES, openSend, recordedState } from './liveTraceStates.js'
import { type Vector, loadVectors, toHex } from './load.js'
import { applyChange, readable } from './ratchetTranscript.js'

const VERSIONS = { current: 3, maxSupported: 3 }
interface Party {
  state: RatchetState | undefined
  skipped: readonly SkippedKey[]
  /** The keys of its turns that the snapshots record, in order. */
  readonly recordedKeys: readonly TurnKeys[]
  /** Headers of messages that the party had encrypted at a snapshot and sent later. */
  readonly unsent: MessageEncryptKey[]
  /** Every state that the party was in. */
  readonly passed: Set<string>
}

/** What a turn made: the X448 pair, and with a KEM its keys and what it agreed on. */
interface TurnKeys {
  readonly dhSelf: RatchetState['dhSelf']
  readonly agreement: KemAgreement | undefined
}

/** The header of a message that was sent while its sender's state was known; undefined when that state makes another one. */
type Sent = { readonly header: MessageEncryptKey | undefined }

/** What the replay met. */
interface Seen {
  decrypted: number
  encrypted: number
  /** Messages that the trace records after later ones of their chain. */
  late: number
  readonly notRecorded: string[]
}

/**
 * Replays the ratchets of a recorded conversation of two reference agents: its messages decrypted, and encrypted to the same bytes, as far
 * as the snapshots have the keys.
 */
export const replayRatchets = (name: string): void => {
  const trace = loadVectors(name)
  const snapshots: Vector[] = trace['snapshots']

  it(`${name}: ratchet messages decrypted, and encrypted to the same bytes`, async () => {
    const parties: Record<Name, Party> = { alice: newParty(snapshots, 'alice'), bob: newParty(snapshots, 'bob') }
    const sent = new Map<string, Sent>()
    const received = new Set<string>()
    const seen: Seen = { decrypted: 0, encrypted: 0, late: 0, notRecorded: [] }

    for (const event of events(trace)) {
      if (event.kind === 'snapshot') {
        for (const name of NAMES) resume(parties[name], recordedState(event.snapshot, name))
        continue
      }
      const { tag, params, rest } = openSend(snapshots, event.queue, event.body)
      const body = toHex(event.body)
      if (event.kind === 'receive') {
        received.add(body)
        await receive(parties, event.to, tag, rest, sent.get(body), seen)
      } else if (!received.has(body)) {
        if (params !== undefined && tag === 'C') await startRatchets(parties, aliceX3dhKeys(snapshots), params)
        const made = tag === 'R' ? undefined : advance(parties[event.from], headerOf(rest))
        if (made !== undefined) sent.set(body, made)
      }
    }

    // Not recorded: a key between two snapshots around the rotation, and the X3DH keys of the re-synchronised ratchet.
    const total = seen.decrypted + seen.notRecorded.length
    expect(seen.notRecorded.length, seen.notRecorded.join(', ')).toBeLessThanOrEqual(total / 4)
    expect(seen.encrypted).toBeGreaterThanOrEqual(total / 2)
    // Where a message was recorded late, a snapshot may show a state that has it already.
    const states = snapshots.flatMap(snapshot =>
      NAMES.flatMap(name => ({ recorded: recordedState(snapshot, name), passed: parties[name].passed })),
    )
    const missed = states.filter(({ recorded, passed }) => recorded !== undefined && !passed.has(textOf(recorded)))
    expect(missed.length).toBeLessThanOrEqual(seen.late)
  })
}

const newParty = (snapshots: Vector[], name: Name): Party => {
  const states = snapshots.map(snapshot => recordedState(snapshot, name)).filter(state => state !== undefined)
  const keys = new Map(states.map(({ dhSelf, kem }) => [toHex(dhSelf.publicKey), { dhSelf, agreement: kem.agreement }]))
  return { state: undefined, skipped: [], recordedKeys: [...keys.values()], unsent: [], passed: new Set() }
}

/** The joiner's first message starts both ratchets: Bob's is built from Alice's secrets and his recorded keys. */
const startRatchets = async (
  { alice, bob }: Record<Name, Party>,
  own: E2ePrivateKeys,
  bobParams: E2eParams,
): Promise<void> => {
  const secrets = await x3dhInitiator(own, bobParams, inlineKem())
  const { dhSelf, agreement } = bob.recordedKeys[0] as TurnKeys
  enter(alice, initRcvRatchet(VERSIONS, own.key2, secrets, own.kem !== undefined))
  const { kem: _, ...shared } = secrets
  const joined = { ...shared, ...(agreement === undefined ? {} : { kem: agreement }) }
  enter(bob, initSndRatchet(VERSIONS, own.key2.publicKey, dhSelf, joined))
}

/** Advances the sender, if that makes the header of the message that it sent. */
const advance = (from: Party, sentHeader: Bytes): Sent | undefined => {
  const isSent = (header: MessageEncryptKey): boolean => toHex(header.encryptedHeader) === toHex(sentHeader)
  const unsent = from.unsent.find(isSent)
  if (unsent !== undefined) return { header: unsent }
  if (from.state === undefined) return undefined
  const { state, header } = advanceHeader(from.state)
  if (!isSent(header)) return { header: undefined }
  enter(from, state)
  return { header }
}

/** The encrypted header stands behind its length of 2 bytes, before the tag and the padded body. */
const headerOf = (message: Bytes): Bytes => message.subarray(2, 2 + Buffer.from(message).readUInt16BE())

const receive = async (
  parties: Record<Name, Party>,
  to: Name,
  tag: string,
  ciphertext: Bytes,
  sent: Sent | undefined,
  seen: Seen,
): Promise<void> => {
  const from = to === 'alice' ? 'bob' : 'alice'
  const recipient = parties[to]
  if (tag === 'R') {
    recipient.state = undefined
    return
  }
  if (recipient.state === undefined) {
    seen.notRecorded.push(`a message of ${from}`)
    return
  }
  const ports = recordedPorts(nextRecordedKeys(recipient))
  const { result, state, skippedChange } = await decrypt(recipient.state, recipient.skipped, ciphertext, ports)
  if (!result.ok) {
    // Its key was skipped before the snapshot that the recipient goes on from.
    if (result.error.code !== 'CRYPTO_EARLIER' || sent?.header !== undefined) throw result.error
    seen.late++
    seen.notRecorded.push(`a skipped key of ${to}`)
    return
  }
  const late = state === recipient.state
  enter(recipient, state)
  recipient.skipped = applyChange(recipient.skipped, skippedChange)
  seen.decrypted++
  if (ports.missed()) {
    seen.notRecorded.push(`the keys of ${to}`)
    recipient.state = undefined
  }
  if (late) seen.late++
  // A message that comes late is not the next one of its sender.
  if (sent === undefined || (late && sent.header === undefined)) return
  if (sent.header === undefined) {
    seen.notRecorded.push(`the key of ${from}`)
    parties[from].state = undefined
    return
  }
  const paddedLength = ciphertext.length - 2 - headerOf(ciphertext).length - AES_TAG_BYTES
  const { support } = state.kem
  expect([paddedInfoLength(7, support), paddedMessageLength(7, support)]).toContain(paddedLength)
  const again = encryptBody(sent.header, result.plaintext, paddedLength)
  expect(toHex(again)).toBe(toHex(ciphertext))
  seen.encrypted++
}

const enter = (party: Party, state: RatchetState): void => {
  party.state = state
  party.passed.add(textOf(state))
}

/** Goes on from a snapshot, or up to it: with messages that were encrypted before it and will be sent after it. */
const resume = (party: Party, recorded: RatchetState | undefined): void => {
  if (recorded === undefined) return
  if (party.state === undefined) return enter(party, recorded)
  if (toHex(party.state.dhSelf.publicKey) !== toHex(recorded.dhSelf.publicKey)) return
  while (party.state.ns < recorded.ns) {
    const { state, header } = advanceHeader(party.state)
    party.unsent.push(header)
    enter(party, state)
  }
}

/** The keys of the party's next turn; after the last recorded ones any keys, whose messages nobody compares. */
const nextRecordedKeys = ({ state, recordedKeys }: Party): TurnKeys | undefined => {
  const own = toHex(state?.dhSelf.publicKey as Bytes)
  return recordedKeys[recordedKeys.findIndex(({ dhSelf }) => toHex(dhSelf.publicKey) === own) + 1]
}

/** Keys for one turn: the recorded ones, unless the peer's KEM key shows that they are of a later turn, which is then `missed`. */
const recordedPorts = (recorded: TurnKeys | undefined) => {
  const inline = inlineKem()
  const accepted = recorded?.agreement?.accepted
  let missed = false
  const kem: Kem = {
    ...inline,
    encapsulate: publicKey => {
      missed = accepted !== undefined && toHex(accepted.peerKey) !== toHex(publicKey)
      return accepted === undefined || missed ? inline.encapsulate(publicKey) : Promise.resolve(accepted)
    },
    generateKeyPair: () =>
      recorded?.agreement === undefined || missed ? inline.generateKeyPair() : Promise.resolve(recorded.agreement.own),
  }
  const generate = () => (recorded === undefined || missed ? generateX448() : recorded.dhSelf)
  return { kem, generate, missed: () => missed }
}

/** A state as text, the same for the same fields in any order. */
const textOf = (state: RatchetState): string => {
  const plain = readable(state) as Record<string, unknown>
  return JSON.stringify(
    Object.fromEntries(
      Object.keys(plain)
        .sort()
        .map(name => [name, plain[name]]),
    ),
  )
}
