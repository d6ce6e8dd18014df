import { expect, it } from 'vitest'
import { boxSecret, cbDecrypt, decodePrivateKey, decodePublicKey, publicKeyOf, x25519 } from '../../src/crypto/index.js'
import { type Bytes, Reader, fromBase64url } from '../../src/encoding/index.js'
import {
  type E2eParams,
  type E2ePrivateKeys,
  type MessageEncryptKey,
  type RatchetState,
  type SkippedKey,
  advanceHeader,
  decrypt,
  encryptBody,
  generateX448,
  initRcvRatchet,
  initSndRatchet,
  readE2eParams,
  x3dhInitiator,
} from '../../src/ratchet/index.js'
import { type Vector, hex, loadVectors, toHex } from './load.js'
import { applyChange, readable } from './ratchetTranscript.js'

type Name = 'alice' | 'bob'
const NAMES: readonly Name[] = ['alice', 'bob']
const VERSIONS = { current: 3, maxSupported: 3 }
/** 2-byte length, encrypted header and tag stand before the padded body. */
const BEFORE_BODY = 2 + 124 + 16

interface Party {
  state: RatchetState | undefined
  skipped: readonly SkippedKey[]
  /** Key pairs that the snapshots record, in order. */
  readonly recordedKeys: readonly RatchetState['dhSelf'][]
  /** Every state that the party was in. */
  readonly passed: Set<string>
}

/** The sender's key and header of a message that was sent while its state was known. */
interface Sent {
  readonly dhKey: Bytes
  readonly header: MessageEncryptKey
}

const trace = loadVectors('live_trace_invitation_nopq')
const snapshots: Vector[] = trace['snapshots']

it('live_trace_invitation_nopq: ratchet messages decrypted, and encrypted to the same bytes', () => {
  const parties: Record<Name, Party> = { alice: newParty('alice'), bob: newParty('bob') }
  const sent = new Map<string, Sent>()
  const received = new Set<string>()
  const seen = { decrypted: 0, encrypted: 0, notRecorded: [] as string[] }

  for (const event of events()) {
    if (event.kind === 'snapshot') {
      for (const name of NAMES) resume(parties[name], recordedState(event.snapshot, name))
      continue
    }
    const { tag, params, rest } = openSend(event.queue, event.body)
    const body = toHex(event.body)
    if (event.kind === 'receive') {
      received.add(body)
      receive(parties, event.to, tag, rest, sent.get(body), seen)
    } else if (!received.has(body)) {
      if (params !== undefined && tag === 'C') startRatchets(parties, params)
      const header = tag === 'R' ? undefined : advance(parties[event.from])
      if (header !== undefined) sent.set(body, header)
    }
  }

  // Not recorded: a key between two snapshots around the rotation, and the X3DH keys of the re-synchronised ratchet.
  const total = seen.decrypted + seen.notRecorded.length
  expect(seen.notRecorded.length, seen.notRecorded.join(', ')).toBeLessThanOrEqual(total / 4)
  expect(seen.encrypted).toBeGreaterThanOrEqual(total / 2)
  for (const snapshot of snapshots) {
    for (const name of NAMES) {
      const recorded = recordedState(snapshot, name)
      if (recorded !== undefined) expect([...parties[name].passed]).toContain(textOf(recorded))
    }
  }
})

const newParty = (name: Name): Party => {
  const states = snapshots.map(snapshot => recordedState(snapshot, name)).filter(state => state !== undefined)
  const keys = new Map(states.map(({ dhSelf }) => [toHex(dhSelf.publicKey), dhSelf]))
  return { state: undefined, skipped: [], recordedKeys: [...keys.values()], passed: new Set() }
}

/** The joiner's first message starts both ratchets: Bob's is built from Alice's secrets and his recorded key. */
const startRatchets = ({ alice, bob }: Record<Name, Party>, bobParams: E2eParams): void => {
  const own = aliceX3dhKeys()
  const secrets = x3dhInitiator(own, bobParams)
  enter(alice, initRcvRatchet(VERSIONS, own.key2, secrets))
  enter(bob, initSndRatchet(VERSIONS, own.key2.publicKey, bob.recordedKeys[0] as RatchetState['dhSelf'], secrets))
}

const advance = (from: Party): Sent | undefined => {
  if (from.state === undefined) return undefined
  const { state, header } = advanceHeader(from.state)
  const dhKey = from.state.dhSelf.publicKey
  enter(from, state)
  return { dhKey, header }
}

const receive = (
  parties: Record<Name, Party>,
  to: Name,
  tag: string,
  ciphertext: Bytes,
  sent: Sent | undefined,
  seen: { decrypted: number; encrypted: number; notRecorded: string[] },
): void => {
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
  const key = nextRecordedKey(recipient)
  const { result, state, skippedChange } = decrypt(recipient.state, recipient.skipped, ciphertext, {
    generate: () => key,
  })
  if (!result.ok) throw result.error
  enter(recipient, state)
  recipient.skipped = applyChange(recipient.skipped, skippedChange)
  seen.decrypted++
  if (sent === undefined) return
  if (toHex(sent.dhKey) !== toHex(state.snd?.peerKey as Bytes)) {
    seen.notRecorded.push(`the key of ${from}`)
    parties[from].state = undefined
    return
  }
  const again = encryptBody(sent.header, result.plaintext, ciphertext.length - BEFORE_BODY)
  expect(toHex(again)).toBe(toHex(ciphertext))
  seen.encrypted++
}

const enter = (party: Party, state: RatchetState): void => {
  party.state = state
  party.passed.add(textOf(state))
}

const resume = (party: Party, recorded: RatchetState | undefined): void => {
  if (party.state === undefined && recorded !== undefined) enter(party, recorded)
}

/** The key of the party's next turn; after the last recorded one any key, whose messages nobody compares. */
const nextRecordedKey = ({ state, recordedKeys }: Party): RatchetState['dhSelf'] => {
  const current = recordedKeys.findIndex(key => toHex(key.publicKey) === toHex(state?.dhSelf.publicKey as Bytes))
  return recordedKeys[current + 1] ?? generateX448()
}

type TraceEvent =
  | { readonly ts: number; readonly kind: 'snapshot'; readonly snapshot: Vector }
  | { readonly ts: number; readonly kind: 'send'; readonly from: Name; readonly queue: string; readonly body: Bytes }
  | { readonly ts: number; readonly kind: 'receive'; readonly to: Name; readonly queue: string; readonly body: Bytes }

/** Sends and receptions of messages, and snapshots, in the order of the trace; queues by their sender ids. */
const events = (): TraceEvent[] => {
  const happened: TraceEvent[] = snapshots.map(snapshot => ({ ts: snapshot['ts'], kind: 'snapshot', snapshot }))
  for (const { ts, agent, dir, transmissions = [] } of trace['blocks']) {
    for (const { tag, entityId, command } of transmissions) {
      if (tag === 'SEND' && dir === 'sent') {
        happened.push({ ts, kind: 'send', from: agent, queue: entityId, body: afterSpace(hex(command), 'SEND ') })
      } else if (tag === 'MSG') {
        const row = queueOf('rcv_id', entityId)
        happened.push({ ts, kind: 'receive', to: agent, queue: row['snd_id'].hex, body: openMsg(row, hex(command)) })
      }
    }
  }
  return happened.sort((a, b) => a.ts - b.ts)
}

/** What the router encrypted for the recipient: time, flags, a space, then the sender's envelope. */
const openMsg = (row: Vector, command: Bytes): Bytes => {
  const reader = new Reader(command.subarray('MSG '.length), 'MSG')
  const id = reader.short('id')
  const opened = cbDecrypt(boxSecret(hex(row['rcv_dh_secret'].hex)), id, reader.rest())
  return afterSpace(opened, '.time...')
}

/** What stands after the first space that comes after a beginning of the same length as `beginning`. */
const afterSpace = (bytes: Bytes, beginning: string): Bytes => bytes.subarray(bytes.indexOf(0x20, beginning.length) + 1)

/** Opens the sender's envelope and the agent's: what is left is a ratchet message, or the info beside a ratchet key. */
const openSend = (queue: string, body: Bytes): { tag: string; params: E2eParams | undefined; rest: Bytes } => {
  const reader = new Reader(body, 'client message')
  reader.word16('client version')
  const sender = reader.maybe(key => decodePublicKey(key.short('key'), ['x25519']).raw)
  const nonce = reader.take(24, 'nonce')
  const row = queueOf('snd_id', queue)
  const secret =
    sender === undefined
      ? hex(row['e2e_dh_secret'].hex)
      : x25519(decodePrivateKey(hex(row['e2e_priv_key'].hex), ['x25519']).raw, sender)
  const inner = new Reader(cbDecrypt(boxSecret(secret), nonce, reader.rest()), 'agent envelope')
  if (String.fromCharCode(inner.byte('header')) === 'K') inner.short('sender key')
  inner.word16('agent version')
  const tag = String.fromCharCode(inner.byte('tag'))
  const params = tag === 'C' ? inner.maybe(readE2eParams) : tag === 'R' ? readE2eParams(inner) : undefined
  return { tag, params, rest: inner.rest() }
}

/** The row of a receiving queue, with its secret if any snapshot has it. */
const queueOf = (id: 'rcv_id' | 'snd_id', value: string): Vector => {
  const rows: Vector[] = snapshots
    .flatMap(snapshot => NAMES.flatMap(name => snapshot[name].rcv_queues as Vector[]))
    .filter(row => row[id].hex === value)
  return Object.assign({}, ...rows) as Vector
}

const aliceX3dhKeys = (): E2ePrivateKeys => {
  const row = (snapshots[0] as Vector)['alice'].ratchets[0] as Vector
  const pair = (pkcs8: Bytes) => keyPairOf(decodePrivateKey(pkcs8, ['x448']).raw)
  return { key1: pair(hex(row['x3dh_priv_key_1'].hex)), key2: pair(hex(row['x3dh_priv_key_2'].hex)) }
}

const keyPairOf = (privateKey: Bytes) => ({ publicKey: publicKeyOf('x448', privateKey), privateKey })

/** The ratchet of a snapshot, from the reference's JSON. */
const recordedState = (snapshot: Vector, name: Name): RatchetState | undefined => {
  const json: Vector | undefined = snapshot[name].ratchets[0]?.ratchet_state
  if (json === undefined) return undefined
  const { rcSnd: snd, rcRcv: rcv } = json
  const bytes = (text: string) => fromBase64url(text, 'snapshot')
  const [current, maxSupported] = json['rcVersion']
  const pkcs8 = bytes(Buffer.from(bytes(json['rcDHRs'])).toString('latin1'))
  return {
    versions: { current, maxSupported },
    associatedData: bytes(json['rcAD']),
    dhSelf: keyPairOf(decodePrivateKey(pkcs8, ['x448']).raw),
    kem: {
      support: json['rcSupportKEM'],
      enabled: json['rcEnableKEM'],
      sending: json['rcSndKEM'],
      receiving: json['rcRcvKEM'],
    },
    rootKey: bytes(json['rcRK']),
    ...(snd === undefined
      ? {}
      : {
          snd: {
            peerKey: decodePublicKey(bytes(snd.rcDHRr), ['x448']).raw,
            chainKey: bytes(snd.rcCKs),
            headerKey: bytes(snd.rcHKs),
          },
        }),
    ...(rcv === undefined ? {} : { rcv: { chainKey: bytes(rcv.rcCKr), headerKey: bytes(rcv.rcHKr) } }),
    ns: json['rcNs'],
    nr: json['rcNr'],
    pn: json['rcPN'],
    nextHeaderKeySnd: bytes(json['rcNHKs']),
    nextHeaderKeyRcv: bytes(json['rcNHKr']),
  }
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
