/** What a live trace records, in the types of this implementation. */
import { boxSecret, cbDecrypt, decodePrivateKey, decodePublicKey, publicKeyOf, x25519 } from '../../src/crypto/index.js'
import { type Bytes, Reader, fromBase64url } from '../../src/encoding/index.js'
import {
  type E2eParams,
  type E2ePrivateKeys,
  type KemAgreement,
  type RatchetState,
  readE2eParams,
} from '../../src/ratchet/index.js'
import { type Vector, hex } from './load.js'

export type Name = 'alice' | 'bob'
export const NAMES: readonly Name[] = ['alice', 'bob']

export type TraceEvent =
  | { readonly ts: number; readonly kind: 'snapshot'; readonly snapshot: Vector }
  | { readonly ts: number; readonly kind: 'send'; readonly from: Name; readonly queue: string; readonly body: Bytes }
  | { readonly ts: number; readonly kind: 'receive'; readonly to: Name; readonly queue: string; readonly body: Bytes }

/** Sends and receptions of messages, and snapshots, in the order of the trace; queues by their sender ids. */
export const events = ({ snapshots, blocks }: Vector): TraceEvent[] => {
  const happened: TraceEvent[] = snapshots.map((snapshot: Vector) => ({
    ts: snapshot['ts'],
    kind: 'snapshot',
    snapshot,
  }))
  for (const { ts, agent, dir, transmissions = [] } of blocks) {
    for (const { tag, entityId, command } of transmissions) {
      if (tag === 'SEND' && dir === 'sent') {
        happened.push({ ts, kind: 'send', from: agent, queue: entityId, body: afterSpace(hex(command), 'SEND ') })
      } else if (tag === 'MSG') {
        const row = queueOf(snapshots, 'rcv_id', entityId)
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
export const openSend = (
  snapshots: Vector[],
  queue: string,
  body: Bytes,
): { tag: string; params: E2eParams | undefined; rest: Bytes } => {
  const reader = new Reader(body, 'client message')
  reader.word16('client version')
  const sender = reader.maybe(key => decodePublicKey(key.short('key'), ['x25519']).raw)
  const nonce = reader.take(24, 'nonce')
  const row = queueOf(snapshots, 'snd_id', queue)
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
const queueOf = (snapshots: Vector[], id: 'rcv_id' | 'snd_id', value: string): Vector => {
  const rows: Vector[] = snapshots
    .flatMap(snapshot => NAMES.flatMap(name => snapshot[name].rcv_queues as Vector[]))
    .filter(row => row[id].hex === value)
  return Object.assign({}, ...rows) as Vector
}

/** Alice's X3DH keys, as the reference stored them with its offer. */
export const aliceX3dhKeys = (snapshots: Vector[]): E2ePrivateKeys => {
  const row = (snapshots[0] as Vector)['alice'].ratchets[0] as Vector
  const pair = (pkcs8: Bytes) => keyPairOf(decodePrivateKey(pkcs8, ['x448']).raw)
  const kem = row['pq_priv_kem'] ? proposedKem(hex(row['pq_priv_kem'].hex)) : undefined
  return {
    key1: pair(hex(row['x3dh_priv_key_1'].hex)),
    key2: pair(hex(row['x3dh_priv_key_2'].hex)),
    ...(kem === undefined ? {} : { kem }),
  }
}

/** The private half of a proposal, as the reference stores it. */
const proposedKem = (bytes: Bytes): KemAgreement => {
  const reader = new Reader(bytes, 'pq_priv_kem')
  if (reader.byte('kind') !== 0x50) return reader.fail('kind', 'is not P')
  const own = { publicKey: reader.large('publicKey'), privateKey: reader.large('privateKey') }
  reader.end()
  return { own }
}

const keyPairOf = (privateKey: Bytes) => ({ publicKey: publicKeyOf('x448', privateKey), privateKey })

/** The ratchet of a snapshot, from the reference's JSON. */
export const recordedState = (snapshot: Vector, name: Name): RatchetState | undefined => {
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
      ...(json['rcKEM'] ? { agreement: agreementOf(json['rcKEM'], bytes) } : {}),
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

const agreementOf = (
  { rcPQRs: [publicKey, privateKey], rcKEMs }: Vector,
  bytes: (text: string) => Bytes,
): KemAgreement => ({
  own: { publicKey: bytes(publicKey), privateKey: bytes(privateKey) },
  ...(rcKEMs
    ? {
        accepted: {
          peerKey: bytes(rcKEMs.rcPQRr),
          sharedSecret: bytes(rcKEMs.rcPQRss),
          ciphertext: bytes(rcKEMs.rcPQRct),
        },
      }
    : {}),
})
