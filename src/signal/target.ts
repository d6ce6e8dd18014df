import type { PreKeyBundle } from '@signalapp/libsignal-client'
import type { SignalKeys } from '../../machines/signalSend.js'
import { asDuologueError } from '../errors.js'
import type { UnitState } from '../runtime/unit.js'
import type { Change } from '../store/index.js'
import { recipientDevices } from '../store/signal/account.js'
import { type AccountRow, peerOf, type SignalContext } from './context.js'
import { accessKeyOf } from './crypto/accessKey.js'
import { Ratchets } from './crypto/ratchets.js'
import { type DeviceRow, deviceChanges, knownDevices } from './devices.js'
import { bundlesOf, type DetailedAnswer, retryAfterMs } from './envelopes.js'
import type { SignalResponse } from './net/session.js'
import { type EncryptedMessage, envelopeTypes } from './wire/messages.js'

/** Whom ciphertexts are for: a service id with its devices, but this one. */
export interface Target {
  readonly serviceId: string
  readonly peer: string
  /** Own device, where the target is the own account. */
  readonly except: number | undefined
  /** The right to sealed sender; undefined where it is not known or was refused. */
  readonly accessKey: Uint8Array | undefined
}

export const targetOf = (
  context: SignalContext,
  serviceId: string,
  options: { readonly except?: number; readonly profileKey?: Uint8Array | null },
): Target => ({
  serviceId,
  peer: peerOf(context, serviceId),
  except: options.except,
  accessKey:
    options.profileKey === null || options.profileKey === undefined ? undefined : accessKeyOf(options.profileKey),
})

const devicesOf = (target: Target, rows: readonly DeviceRow[]): number[] =>
  knownDevices(rows).filter(deviceId => deviceId !== target.except)

/** What encrypting came to: every ciphertext with the changes that keep it, or the devices whose keys are needed first. */
export type Encrypted =
  | { readonly missing: readonly number[] }
  | {
      readonly messages: readonly EncryptedMessage[]
      readonly changes: readonly Change[]
      readonly identityChanged: boolean
      /** How many were made now; the others were stored before. */
      readonly made: number
    }

/**
 * A ciphertext for every known device of a target, under its lock (S11). One that was stored before is kept: repeated, it
 * is the same bytes (S12). `content`: padded content, or a plaintext that goes as it is.
 */
export const encryptFor = async (
  account: AccountRow & { readonly deviceId: number },
  state: UnitState,
  target: Target,
  stored: readonly EncryptedMessage[],
  bundles: ReadonlyMap<number, PreKeyBundle>,
  content: { readonly padded: Uint8Array } | { readonly plaintext: Uint8Array },
): Promise<Encrypted> => {
  const rows = state.rows(recipientDevices, target.peer)
  const devices = devicesOf(target, rows)
  const ratchets = new Ratchets(account, 'aci', { ...target, state })
  const known = new Map(stored.map(message => [message.deviceId, message]))
  if ('plaintext' in content) {
    const ids = registrationIds(rows, bundles)
    const missing = devices.filter(deviceId => !ids.has(deviceId))
    if (missing.length > 0) return { missing }
    const messages = devices.map(deviceId => plaintextFor(deviceId, ids.get(deviceId) as number, content.plaintext))
    return { messages, changes: [], identityChanged: false, made: messages.length }
  }
  const toMake = devices.filter(deviceId => !known.has(deviceId))
  const missing = toMake.filter(deviceId => !bundles.has(deviceId) && !ratchets.canEncrypt(deviceId))
  if (missing.length > 0) return { missing }
  for (const deviceId of toMake) {
    const bundle = bundles.get(deviceId)
    if (bundle !== undefined && !ratchets.canEncrypt(deviceId)) await ratchets.begin(bundle)
    known.set(deviceId, { deviceId, ...(await ratchets.encrypt(deviceId, content.padded)) })
  }
  return {
    messages: devices.map(deviceId => known.get(deviceId) as EncryptedMessage),
    changes: ratchets.changes,
    identityChanged: ratchets.identityChanged,
    made: toMake.length,
  }
}

const registrationIds = (
  rows: readonly DeviceRow[],
  bundles: ReadonlyMap<number, PreKeyBundle>,
): Map<number, number> => {
  const ids = new Map<number, number>()
  for (const row of rows) if (row.registrationId !== null) ids.set(row.deviceId, row.registrationId)
  for (const [deviceId, bundle] of bundles) ids.set(deviceId, bundle.registrationId())
  return ids
}

const plaintextFor = (deviceId: number, registrationId: number, content: Uint8Array): EncryptedMessage => ({
  deviceId,
  registrationId,
  type: envelopeTypes.plaintext,
  content,
})

/** 409 and 410 as changes under the target’s lock (S07): the list and the sessions as the server’s answer leaves them. */
export const devicesAnswered = (
  context: SignalContext,
  account: AccountRow & { readonly deviceId: number },
  state: UnitState,
  target: Target,
  { missing = [], extra = [], stale = [] }: Pick<DetailedAnswer, 'missing' | 'extra' | 'stale'>,
): { readonly changes: readonly Change[]; readonly gone: ReadonlySet<number> } => {
  const { peer, serviceId } = target
  const rows = state.rows(recipientDevices, peer)
  const ids = new Map(rows.map(row => [row.deviceId, row.registrationId]))
  const ratchets = new Ratchets(account, 'aci', { peer, serviceId, state })
  for (const deviceId of [...extra, ...stale]) ratchets.archive(deviceId)
  if (missing.length === 0 && extra.length === 0) return { changes: ratchets.changes, gone: new Set(stale) }
  const devices = [...new Set([...devicesOf(target, rows), ...missing])]
    .filter(deviceId => !extra.includes(deviceId))
    .sort((a, b) => a - b)
  const list = devices.map(deviceId => ({ deviceId, registrationId: ids.get(deviceId) ?? null }))
  return {
    changes: [...ratchets.changes, ...deviceChanges(context, state, peer, serviceId, rows, list)],
    gone: new Set([...extra, ...stale]),
  }
}

/** 200: the list that worked is the list (S07). */
export const devicesWorked = (
  context: SignalContext,
  state: UnitState,
  { peer, serviceId }: Target,
  messages: readonly EncryptedMessage[],
): readonly Change[] => {
  const rows = state.rows(recipientDevices, peer)
  const list = messages.map(({ deviceId = 0, registrationId = 0 }) => ({ deviceId, registrationId }))
  const same =
    rows.length === list.length &&
    list.every(({ deviceId, registrationId }) =>
      rows.some(
        row => row.deviceId === deviceId && row.registrationId === registrationId && state.now - row.lastSeen < dayMs,
      ),
    )
  return same ? [] : deviceChanges(context, state, peer, serviceId, rows, list)
}

/** `lastSeen` is kept to the day: a send to known devices need not write their rows. */
const dayMs = 24 * 3_600_000

/**
 * Keys of devices without a session: fetched one by one, unidentified where the right to it is known. Devices that the
 * server does not know (404) are put into `gone`.
 */
export const fetchBundles = async (
  context: SignalContext,
  target: Target,
  deviceIds: readonly number[],
  bundles: Map<number, PreKeyBundle>,
  gone: number[],
  note: (deviceId: number, status: number) => void,
): Promise<SignalKeys> => {
  for (const deviceId of deviceIds) {
    let response: SignalResponse
    try {
      response = await requestKeys(context, target, deviceId)
    } catch (error) {
      context.log.debug({ code: asDuologueError(error).code }, 'keys could not be fetched')
      return { type: 'unreached' }
    }
    note(deviceId, response.status)
    if (response.status === 404) {
      gone.push(deviceId)
      continue
    }
    if (response.status === 429)
      return { type: 'limited', waitMs: retryAfterMs(response, context.config) ?? context.config.limitedWaitMs }
    if (response.status >= 500) return { type: 'unreached' }
    const bundle = response.status === 200 ? bundlesOf(response).find(one => one.deviceId() === deviceId) : undefined
    if (bundle === undefined) {
      context.log.warn({ deviceId, status: response.status }, 'keys of a device cannot be used')
      return { type: 'unusable', waitMs: context.config.limitedWaitMs }
    }
    bundles.set(deviceId, bundle)
  }
  return { type: 'ready' }
}

const requestKeys = async ({ links }: SignalContext, target: Target, deviceId: number): Promise<SignalResponse> => {
  const request = { verb: 'GET', path: `/v2/keys/${target.serviceId}/${deviceId}` } as const
  if (target.accessKey !== undefined && links.unidentified.isOpen) {
    const headers = { 'unidentified-access-key': Buffer.from(target.accessKey).toString('base64') }
    try {
      const response = await links.unidentified.request({ ...request, headers })
      if (response.status !== 401) return response
    } catch {
      // The other socket may do.
    }
  }
  return links.identified.request(request)
}
