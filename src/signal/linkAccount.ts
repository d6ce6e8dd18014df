import { CallError } from '../errors.js'
import { patch, put, removeWhere } from '../store/index.js'
import { signalAccounts, signalPreKeys, signalSessions } from '../store/signal/account.js'
import { signalOutbox, signalSyncItems } from '../store/signal/messages.js'
import { accountAttributes, refreshAccount } from './account.js'
import type { AccountRow, SignalContext } from './context.js'
import { jsonOf, type SignalSession } from './net/session.js'
import { type MadeKeys, makeKeys } from './preKeys.js'
import type { Provision } from './provision.js'
import { isPni } from './wire/serviceId.js'

/** The keys that a device is registered with. */
export interface LinkKeys {
  readonly aci: MadeKeys
  readonly pni: MadeKeys | undefined
}

/** Keys and password are stored before the server hears of them: whatever it has, this side has too (S11). */
export const storeAccount = async (
  context: SignalContext,
  provision: Provision,
  deviceName: string,
): Promise<LinkKeys> => {
  const { runtime, accountId, userId, random, clock } = context
  const { aciIdentityKey, pniIdentityKey, profileKey, pni: ownPni, aci: ownAci, e164 } = provision
  // What waits here would go out in the name of somebody else.
  if (wasLinked(context.account) && context.account.aci !== ownAci)
    throw new CallError('SIGNAL_OTHER_ACCOUNT', 'this user was linked to another Signal account', {
      field: 'userId',
      hint: 'link it to that account again, or take another user or database',
    })
  const now = clock.now()
  const batch = { oneTime: 0, rotate: true }
  const aci = await makeKeys(context, 'aci', aciIdentityKey, { firstKeyId: 1, now }, batch)
  const pni =
    pniIdentityKey === null
      ? undefined
      : await makeKeys(context, 'pni', pniIdentityKey, { firstKeyId: aci.nextKeyId, now }, batch)
  const registrationId = (): number => (Buffer.from(random(4)).readUInt32BE() % 16_380) + 1
  const row: AccountRow = {
    accountId,
    userId,
    status: 'linking',
    aci: ownAci,
    pni: ownPni,
    e164,
    deviceId: null,
    deviceName,
    password: Buffer.from(random(18)).toString('base64url'),
    registrationId: registrationId(),
    pniRegistrationId: registrationId(),
    aciIdentityKey,
    pniIdentityKey,
    profileKey,
    nextKeyId: (pni ?? aci).nextKeyId,
    keysRotatedAt: now,
    createdAt: now,
  }
  await forgetSessions(context)
  context.uploads.clear()
  await runtime.run({
    name: 'signal.link',
    locks: [accountId],
    compute: () => ({
      result: undefined,
      changes: [
        removeWhere(signalPreKeys, { accountId }),
        put(signalAccounts, row),
        ...aci.changes,
        ...(pni === undefined ? [] : pni.changes),
      ],
    }),
  })
  await refreshAccount(context)
  return { aci, pni }
}

/** Tells the server of the device, and stores its answer. Throws CallError SIGNAL_LINK_FAILED for a refusal, TransportError. */
export const registerDevice = async (
  context: SignalContext,
  session: SignalSession,
  { aci, pni }: LinkKeys,
  code: string,
): Promise<void> => {
  const { config, accountId, runtime, health } = context
  const account = context.account as AccountRow
  const response = await session.request(
    {
      verb: 'PUT',
      path: '/v1/devices/link',
      headers: { authorization: `Basic ${Buffer.from(`${account.aci}:${account.password}`).toString('base64')}` },
      json: {
        verificationCode: code,
        accountAttributes: accountAttributes(account),
        aciSignedPreKey: aci.signed?.upload,
        aciPqLastResortPreKey: aci.lastResort?.upload,
        ...(pni === undefined
          ? {}
          : { pniSignedPreKey: pni.signed?.upload, pniPqLastResortPreKey: pni.lastResort?.upload }),
      },
    },
    config.requestTimeoutMs,
  )
  const { deviceId, pni: named } = jsonOf(response)
  if (response.status !== 200 || typeof deviceId !== 'number' || !Number.isInteger(deviceId) || deviceId < 1)
    throw refused(response.status)
  const pniText = typeof named === 'string' ? `PNI:${named.replace('PNI:', '')}` : ''
  await runtime.run({
    name: 'signal.linked',
    internal: true,
    locks: [accountId],
    compute: () => ({
      result: undefined,
      changes: [
        put(signalAccounts, { ...account, status: 'linked', deviceId, pni: isPni(pniText) ? pniText : account.pni }),
      ],
    }),
  })
  await refreshAccount(context)
  health.linked(true)
}

const refused = (status: number): CallError =>
  new CallError('SIGNAL_LINK_FAILED', 'the server does not link the device', {
    field: 'link',
    facts: { status },
    hint: status === 411 ? 'the account has too many linked devices' : 'ask for a new link and scan it again',
  })

const wasLinked = (account: AccountRow | undefined): account is AccountRow =>
  account !== undefined && account.deviceId !== null

/** Nothing is kept of a link that failed: the account is what it was before. */
export const forgetAccount = async (context: SignalContext, before: AccountRow | undefined): Promise<void> => {
  const { runtime, accountId } = context
  await runtime
    .run({
      name: 'signal.notLinked',
      internal: true,
      locks: [accountId],
      compute: () => ({
        result: undefined,
        changes: [
          removeWhere(signalPreKeys, { accountId }),
          wasLinked(before) ? put(signalAccounts, before) : removeWhere(signalAccounts, { accountId }),
        ],
      }),
    })
    .catch(() => {})
  await refreshAccount(context)
}

/** Sessions of an earlier link, and what was encrypted under them: the other side knows them under another device. */
const forgetSessions = async ({ store, runtime, userId }: SignalContext): Promise<void> => {
  const stored = { userId, encrypted: { not: null } }
  const [outbox, transcripts] = await Promise.all([
    store.find(signalOutbox, { where: stored }),
    store.find(signalSyncItems, { where: stored }),
  ])
  await runtime.run({
    name: 'signal.forgetCiphertexts',
    internal: true,
    locks: [],
    compute: () => ({
      result: undefined,
      changes: [
        ...outbox.map(({ recipientId, messageId }) =>
          patch(signalOutbox, { recipientId, messageId }, { encrypted: null }),
        ),
        ...transcripts.map(({ accountId, itemId }) =>
          patch(signalSyncItems, { accountId, itemId }, { encrypted: null }),
        ),
      ],
    }),
  })
  const rows = await store.find(signalSessions, { where: { userId } })
  for (const peer of new Set(rows.map(row => row.peer))) {
    await runtime.run({
      name: 'signal.forgetSessions',
      internal: true,
      locks: [peer],
      compute: () => ({ result: undefined, changes: [removeWhere(signalSessions, { peer })] }),
    })
  }
}
