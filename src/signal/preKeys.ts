import type { Bytes } from '../encoding/index.js'
import { asDuologueError, TransportError } from '../errors.js'
import { nextTurn } from '../runtime/nextTurn.js'
import type { Read } from '../runtime/unit.js'
import { type Change, insert, patch, removeWhere, type Row } from '../store/index.js'
import { signalAccounts, signalPreKeys } from '../store/signal/account.js'
import { refreshAccount } from './account.js'
import { type AccountRow, requireAccount, type SignalContext } from './context.js'
import { type NewPreKey, newKyberPreKey, newOneTimePreKey, newSignedPreKey } from './crypto/preKeys.js'
import { jsonOf, type SignalResponse } from './net/session.js'

export const identities = ['aci', 'pni'] as const
export type OwnIdentity = (typeof identities)[number]

/** Ids have 24 bits. */
const lastKeyId = 0xff_ff_fe

/** The private identity key for messages to the ACI or the PNI; null when the account has no PNI. */
export const identityKeyOf = (account: AccountRow, own: OwnIdentity): Bytes | null =>
  own === 'aci' ? account.aciIdentityKey : account.pniIdentityKey

/** How many keys of each kind one upload has. */
interface Batch {
  readonly oneTime: number
  /** Also new signed and last-resort keys. */
  readonly rotate: boolean
}

export interface MadeKeys {
  readonly changes: readonly Change[]
  readonly nextKeyId: number
  readonly signed?: NewPreKey
  readonly lastResort?: NewPreKey
  readonly ec: readonly NewPreKey[]
  readonly kyber: readonly NewPreKey[]
}

/** Makes keys and the rows that keep them; yields now and then, since key pairs take their time. */
export const makeKeys = async (
  { accountId }: Pick<SignalContext, 'accountId'>,
  own: OwnIdentity,
  identity: Bytes,
  { firstKeyId, now }: { readonly firstKeyId: number; readonly now: number },
  { oneTime, rotate }: Batch,
): Promise<MadeKeys> => {
  let keyId = firstKeyId
  const next = (): number => {
    const id = keyId
    keyId = keyId >= lastKeyId ? 1 : keyId + 1
    return id
  }
  const signed = rotate ? newSignedPreKey(identity, next(), now) : undefined
  const lastResort = rotate ? newKyberPreKey(identity, next(), now) : undefined
  const ec: NewPreKey[] = []
  const kyber: NewPreKey[] = []
  for (let made = 0; made < oneTime; made++) {
    ec.push(newOneTimePreKey(next()))
    kyber.push(newKyberPreKey(identity, next(), now))
    if (made % 10 === 9) await nextTurn()
  }
  const rows = (kind: string, keys: readonly NewPreKey[]): Change[] =>
    keys.map(key =>
      insert(signalPreKeys, { accountId, own, kind, keyId: key.keyId, record: key.record, createdAt: now }),
    )
  return {
    changes: [
      ...rows('signed', signed === undefined ? [] : [signed]),
      ...rows('lastResort', lastResort === undefined ? [] : [lastResort]),
      ...rows('ec', ec),
      ...rows('kyber', kyber),
    ],
    nextKeyId: keyId,
    ...(signed === undefined ? {} : { signed }),
    ...(lastResort === undefined ? {} : { lastResort }),
    ec,
    kyber,
  }
}

/**
 * Keeps enough one-time keys at the server, and replaces signed and last-resort keys in time (S01). New keys are stored
 * before they are uploaded. A failure is a reason of health, and the answer tells it: `unreached`, or `refused` by the server.
 */
export const upkeepPreKeys = async (context: SignalContext): Promise<'done' | 'unreached' | 'refused'> => {
  const { health, log, clock, config } = context
  try {
    const { keysRotatedAt } = requireAccount(context)
    const rotate = keysRotatedAt === null || clock.now() - keysRotatedAt >= config.preKeysRotateMs
    for (const own of identities) await upkeepOne(context, own, rotate)
    if (rotate) await noteRotation(context)
    health.degraded('PRE_KEYS', false)
    return 'done'
  } catch (error) {
    const { code, facts } = asDuologueError(error)
    log.warn({ ...facts, code }, 'prekeys could not be uploaded')
    health.degraded('PRE_KEYS', true)
    return code === 'SIGNAL_STATUS' ? 'refused' : 'unreached'
  }
}

const upkeepOne = async (context: SignalContext, own: OwnIdentity, rotate: boolean): Promise<void> => {
  const { links, config, uploads } = context
  const identity = identityKeyOf(requireAccount(context), own)
  if (identity === null) return
  const counts = jsonOf(expectOk(await links.identified.request({ verb: 'GET', path: `/v2/keys?identity=${own}` })))
  const low = [counts['count'], counts['pqCount']].some(count => Number(count ?? 0) < config.preKeysLow)
  if (!low && !rotate) return
  const made =
    (await unanswered(context, own, rotate)) ??
    (await storeKeys(context, own, identity, { oneTime: config.preKeysBatch, rotate }))
  uploads.set(own, made)
  const json = {
    preKeys: made.ec.map(key => key.upload),
    pqPreKeys: made.kyber.map(key => key.upload),
    ...(made.signed === undefined ? {} : { signedPreKey: made.signed.upload }),
    ...(made.lastResort === undefined ? {} : { pqLastResortPreKey: made.lastResort.upload }),
  }
  expectOk(await links.identified.request({ verb: 'PUT', path: `/v2/keys?identity=${own}`, json }))
  uploads.delete(own)
}

/** Keys of an upload that the server has not answered, while nobody has used one: each attempt with new ones would fill the store. */
const unanswered = async (
  { store, accountId, uploads }: SignalContext,
  own: OwnIdentity,
  rotate: boolean,
): Promise<MadeKeys | undefined> => {
  const made = uploads.get(own)
  if (made === undefined || (rotate && made.signed === undefined)) return undefined
  const keys = [made.signed, made.lastResort, ...made.ec, ...made.kyber].filter(key => key !== undefined)
  const stored = await store.find(signalPreKeys, {
    where: { accountId, own, keyId: { in: keys.map(({ keyId }) => keyId) } },
  })
  return stored.length === keys.length ? made : undefined
}

// Keys go when newer ones have stood at the server for long enough: messages that wait there may still name them.
const noteRotation = async (context: SignalContext): Promise<void> => {
  const { accountId, runtime } = context
  await runtime.run({
    name: 'signal.keysRotated',
    internal: true,
    locks: [accountId],
    load: read => Promise.all(identities.map(own => replacedBy(read, context, own))),
    compute: (state, newest) => ({
      result: undefined,
      changes: [
        patch(signalAccounts, { accountId }, { keysRotatedAt: state.now }),
        ...newest.flatMap(row =>
          row === undefined
            ? []
            : [removeWhere(signalPreKeys, { accountId, own: row.own, createdAt: { lt: row.createdAt } })],
        ),
      ],
    }),
  })
  await refreshAccount(context)
}

/** The newest signed key that has stood for as long as replaced keys are kept: whatever is older than that is not needed. */
const replacedBy = async (
  read: Read,
  { accountId, config, clock }: SignalContext,
  own: OwnIdentity,
): Promise<Row<typeof signalPreKeys> | undefined> => {
  const [row] = await read(signalPreKeys, {
    where: { accountId, own, kind: 'signed', createdAt: { lte: clock.now() - config.preKeysKeepMs } },
    orderBy: ['createdAt'],
    descending: true,
    limit: 1,
  })
  return row
}

const storeKeys = async (
  context: SignalContext,
  own: OwnIdentity,
  identity: Bytes,
  batch: Batch,
): Promise<MadeKeys> => {
  const { accountId, runtime } = context
  return runtime.run({
    name: 'signal.preKeys',
    internal: true,
    locks: [accountId],
    compute: async state => {
      const row = state.rows(signalAccounts, accountId)[0] ?? requireAccount(context)
      const made = await makeKeys(context, own, identity, { firstKeyId: row.nextKeyId, now: state.now }, batch)
      return {
        result: made,
        changes: [...made.changes, patch(signalAccounts, { accountId }, { nextKeyId: made.nextKeyId })],
      }
    },
  })
}

/** The answer, if it is one of success. Throws TransportError SIGNAL_STATUS. */
export const expectOk = (response: SignalResponse): SignalResponse => {
  if (response.status >= 200 && response.status < 300) return response
  throw new TransportError('SIGNAL_STATUS', 'the server has refused a request', { facts: { status: response.status } })
}
