import { ErrorCode, LibSignalErrorBase } from '@signalapp/libsignal-client'
import { CryptoError, DecodeError } from '../errors.js'
import type { NewEvent, Outcome, Read, UnitState } from '../runtime/unit.js'
import { type Change, insert, put, remove, type Row } from '../store/index.js'
import { signalPreKeys } from '../store/signal/account.js'
import { signalMessages, signalOutbox, signalSeen } from '../store/signal/messages.js'
import type { Arrival } from './arrival.js'
import { askAgain } from './askAgain.js'
import { peerOf, requireAccount, type SignalContext, signalEvent } from './context.js'
import { Ratchets } from './crypto/ratchets.js'
import { lastResortHash, PreKeyOverlays } from './crypto/stores.js'
import { type Incoming, incomingContent } from './incoming.js'
import type { OpenReceipt } from './receipts.js'
import { receiveOwnRetryReceipt, receiveRetryReceipt } from './retryReceipts.js'
import { readRecipients, type RecipientRow, resolveRecipient, withRecipient } from './recipients.js'
import { decode } from './wire/codec.js'
import { type Content, content as contentSchema, envelopeTypes, preKeyMessageIds } from './wire/messages.js'
import { unpad } from './wire/padding.js'
import { isPni } from './wire/serviceId.js'

/** What is left to do once a message is stored. */
export type Received =
  | { readonly type: 'done' }
  | { readonly type: 'pniSigned'; readonly pni: Uint8Array; readonly signature: Uint8Array }
  /** A message of the account’s own devices did not open: nothing is stored yet (`askOwnDevice`). */
  | { readonly type: 'ownFailed'; readonly code: string }

type PreKeyRow = Row<typeof signalPreKeys>

/** What a unit looks up beside the rows of its aggregates. */
interface Loaded {
  readonly known: boolean
  /** A message of this device under this timestamp was taken before (S12). */
  readonly repeated: boolean
  readonly recipients: readonly RecipientRow[]
  readonly preKeys: readonly PreKeyRow[]
  readonly usedLastResort: ReadonlySet<string>
  readonly openReceipt: OpenReceipt | undefined
}

/**
 * Takes a message that has arrived: ratchet, text and the hash that knows a redelivery are one commit, after which it may be
 * acknowledged (S11). A message that cannot be opened is a result as well: it is asked for again (S13).
 */
export const receive = (context: SignalContext, arrival: Arrival): Promise<Received> => {
  const account = requireAccount(context)
  const peer = peerOf(context, arrival.source)
  if (arrival.source === account.aci)
    return arrival.type === envelopeTypes.plaintext
      ? receiveOwnRetryReceipt(context, arrival).then(() => done)
      : receiveFrom(context, arrival, peer, undefined)
  const ids = { [isPni(arrival.source) ? 'pni' : 'aci']: arrival.source, e164: arrival.e164 }
  if (arrival.type === envelopeTypes.plaintext) return receiveRetryReceipt(context, arrival, ids).then(() => done)
  return withRecipient(context, ids, (candidates, fresh) =>
    receiveFrom(context, arrival, peer, { ids, candidates, fresh }),
  )
}

interface Sender {
  readonly ids: Parameters<typeof resolveRecipient>[3]
  readonly candidates: readonly string[]
  readonly fresh: string
}

const receiveFrom = (
  context: SignalContext,
  arrival: Arrival,
  peer: string,
  sender: Sender | undefined,
): Promise<Received> =>
  context.runtime.run({
    name: 'signal.receive',
    internal: true,
    locks: [peer, ...(sender?.candidates ?? [])],
    load: read => load(context, read, arrival, peer, sender),
    compute: (state, loaded) => take(context, state, arrival, peer, sender, loaded),
  })

const load = async (
  context: SignalContext,
  read: Read,
  arrival: Arrival,
  peer: string,
  sender: Sender | undefined,
): Promise<Loaded> => {
  const { hash, deviceId, timestamp } = arrival
  const [known, repeated, recipients, keys] = await Promise.all([
    read(signalSeen, { where: { hash } }),
    read(signalSeen, { where: { peer, deviceId, timestamp }, limit: 1 }),
    sender === undefined ? [] : readRecipients(read, context.userId, sender.ids),
    arrival.type === envelopeTypes.preKey ? loadPreKeys(context, read, arrival) : noKeys,
  ])
  const openReceipt = recipients.length === 1 ? await loadReceipt(read, recipients[0] as RecipientRow) : undefined
  return { known: known.length > 0, repeated: repeated.length > 0, recipients, ...keys, openReceipt }
}

const noKeys: Pick<Loaded, 'preKeys' | 'usedLastResort'> = { preKeys: [], usedLastResort: new Set() }

const loadPreKeys = async (
  { accountId }: SignalContext,
  read: Read,
  { ciphertext, own }: Arrival,
): Promise<Pick<Loaded, 'preKeys' | 'usedLastResort'>> => {
  let named: {
    preKeyId?: number | undefined
    signedPreKeyId?: number | undefined
    kyberPreKeyId?: number | undefined
    baseKey?: Uint8Array | undefined
  }
  try {
    named = decode(preKeyMessageIds, ciphertext.subarray(1))
  } catch {
    // It does not open, which is told when it is tried.
    return noKeys
  }
  const { preKeyId, signedPreKeyId, kyberPreKeyId, baseKey } = named
  const keyIds = [preKeyId, signedPreKeyId, kyberPreKeyId].filter(id => id !== undefined)
  const preKeys = await read(signalPreKeys, { where: { accountId, own, keyId: { in: keyIds } } })
  const lastResort = preKeys.find(row => row.kind === 'lastResort' && row.keyId === kyberPreKeyId)
  if (lastResort === undefined || baseKey === undefined) return { preKeys, usedLastResort: new Set() }
  const hash = lastResortHash(own, lastResort.keyId, baseKey)
  const used = await read(signalSeen, { where: { hash } })
  return { preKeys, usedLastResort: new Set(used.length > 0 ? [hash.toString('hex')] : []) }
}

const loadReceipt = async (read: Read, { recipientId }: RecipientRow): Promise<OpenReceipt | undefined> => {
  const newest = { orderBy: ['messageId'], descending: true, limit: 1 } as const
  const [outbox] = await read(signalOutbox, { where: { recipientId }, ...newest })
  if (outbox === undefined || outbox.encrypted !== null) return undefined
  const [message] = await read(signalMessages, { where: { recipientId, messageId: outbox.messageId } })
  return message === undefined ? undefined : { outbox, message }
}

const take = async (
  context: SignalContext,
  state: UnitState,
  arrival: Arrival,
  peer: string,
  sender: Sender | undefined,
  loaded: Loaded,
): Promise<Outcome<Received>> => {
  if (loaded.known) return { result: done }
  const resolved =
    sender === undefined
      ? undefined
      : resolveRecipient(context, state, loaded.recipients, sender.ids, sender.candidates, sender.fresh)
  const before = { changes: resolved?.changes ?? [], events: resolved?.events ?? [] }
  const opened = await open(context, state, arrival, peer, loaded)
  const seen = (timestamp: number | null): Change =>
    put(signalSeen, {
      hash: arrival.hash,
      userId: context.userId,
      peer,
      deviceId: arrival.deviceId,
      timestamp,
      createdAt: state.now,
    })
  if (opened.type === 'duplicate')
    return { result: done, changes: [...before.changes, seen(null)], events: before.events }
  const recipient = resolved?.recipient
  if (opened.type === 'failed' && sender === undefined) return { result: { type: 'ownFailed', code: opened.code } }
  if (opened.type === 'failed') {
    const asked = askAgain(context, state, arrival, recipient, opened.code)
    return {
      result: done,
      changes: [...before.changes, seen(null), ...asked.changes],
      events: [...before.events, ...asked.events],
      wakes: asked.wakes,
    }
  }
  const { content } = opened
  const dated =
    content.dataMessage !== undefined || content.editMessage !== undefined || content.syncMessage?.sent !== undefined
  const repeated = dated && loaded.repeated
  const effects = repeated
    ? nothing
    : effectsOf(context, state, { arrival, recipient, content, openReceipt: loaded.openReceipt })
  const identity: NewEvent[] = opened.identityChanged
    ? [signalEvent(context, recipient?.recipientId ?? '', 'IDENTITY_CHANGED', { serviceId: arrival.source })]
    : []
  return {
    result: resultOf(content),
    changes: [
      ...before.changes,
      ...opened.changes,
      seen(dated && !repeated ? arrival.timestamp : null),
      ...effects.changes,
    ],
    events: [...before.events, ...identity, ...effects.events],
    wakes: effects.wakes,
  }
}

/** A content that decrypts and makes no sense is told as well; it must not come again and again. */
const effectsOf = (
  context: SignalContext,
  state: UnitState,
  incoming: Incoming,
): ReturnType<typeof incomingContent> => {
  try {
    return incomingContent(context, state, incoming)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    const { source: sender, deviceId: device, timestamp } = incoming.arrival
    const payload = { sender, device, timestamp, code: error.code }
    const event = signalEvent(context, incoming.recipient?.recipientId ?? '', 'DECRYPTION_FAILED', payload)
    return { changes: [], events: [event], wakes: [] }
  }
}

const done: Received = { type: 'done' }
const nothing = { changes: [], events: [], wakes: [] }

const resultOf = ({ pniSignatureMessage: { pni, signature } = {} }: Content): Received =>
  pni !== undefined && signature !== undefined ? { type: 'pniSigned', pni, signature } : done

type Opened =
  | {
      readonly type: 'opened'
      readonly content: Content
      readonly changes: readonly Change[]
      readonly identityChanged: boolean
    }
  | { readonly type: 'duplicate' }
  | { readonly type: 'failed'; readonly code: string }

const open = async (
  context: SignalContext,
  state: UnitState,
  { type, ciphertext, own, source, deviceId }: Arrival,
  peer: string,
  { preKeys, usedLastResort }: Loaded,
): Promise<Opened> => {
  try {
    const account = requireAccount(context)
    const keys = new PreKeyOverlays(preKeys, usedLastResort)
    const ratchets = new Ratchets(account, own, { peer, serviceId: source, state })
    const plaintext = unpad(await ratchets.decrypt(deviceId, type, ciphertext, keys))
    return {
      type: 'opened',
      content: decode(contentSchema, plaintext),
      changes: [...ratchets.changes, ...spentKeys(context, state, peer, deviceId, keys)],
      identityChanged: ratchets.identityChanged,
    }
  } catch (error) {
    if (LibSignalErrorBase.is(error, ErrorCode.DuplicatedMessage)) return { type: 'duplicate' }
    if (error instanceof LibSignalErrorBase) return { type: 'failed', code: ErrorCode[error.code] ?? 'Generic' }
    if (error instanceof CryptoError || error instanceof DecodeError) return { type: 'failed', code: error.code }
    throw error
  }
}

/** One-time keys go with the message that used them; the use of a last-resort key is noted. */
const spentKeys = (
  { userId }: SignalContext,
  { now }: UnitState,
  peer: string,
  deviceId: number,
  { spent, lastResortUse }: PreKeyOverlays,
): Change[] => [
  ...spent.map(({ accountId, own, kind, keyId }) => remove(signalPreKeys, { accountId, own, kind, keyId })),
  ...(lastResortUse === undefined
    ? []
    : [insert(signalSeen, { hash: lastResortUse, userId, peer, deviceId, timestamp: null, createdAt: now })]),
]
