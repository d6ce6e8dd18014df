import type { UnitState } from '../runtime/unit.js'
import { type Change, put, remove, type Row } from '../store/index.js'
import { recipientDevices } from '../store/signal/account.js'
import { peerOf, type SignalContext } from './context.js'

export type DeviceRow = Row<typeof recipientDevices>

/** Every account has its primary device. */
const primaryDevice = 1

/** The devices known of a service id, in order; the primary alone while none is known (S06). */
export const knownDevices = (rows: readonly DeviceRow[]): number[] =>
  rows.length === 0 ? [primaryDevice] : rows.map(row => row.deviceId)

/** Changes that make the list of a peer exactly `devices`. */
export const deviceChanges = (
  { userId }: Pick<SignalContext, 'userId'>,
  { now }: Pick<UnitState, 'now'>,
  peer: string,
  serviceId: string,
  before: readonly DeviceRow[],
  devices: ReadonlyArray<{ readonly deviceId: number; readonly registrationId: number | null }>,
): Change[] => {
  const kept = new Set(devices.map(({ deviceId }) => deviceId))
  return [
    ...before
      .filter(row => !kept.has(row.deviceId))
      .map(({ deviceId }) => remove(recipientDevices, { peer, deviceId })),
    ...devices.map(({ deviceId, registrationId }) =>
      put(recipientDevices, { peer, aci: serviceId, deviceId, userId, registrationId, lastSeen: now }),
    ),
  ]
}

/** The cached devices of a service id, ordered; [1] when none is cached. */
export const getDevices = async (context: SignalContext, serviceId: string): Promise<number[]> => {
  const rows = await context.store.find(recipientDevices, {
    where: { peer: peerOf(context, serviceId) },
    orderBy: ['deviceId'],
  })
  return knownDevices(rows)
}

/** Replaces the cached list of a service id. */
export const setDevices = (context: SignalContext, serviceId: string, deviceIds: readonly number[]): Promise<void> =>
  changeDevices(context, serviceId, () => deviceIds)

/** Adds a device to the cached list. */
export const addDevice = (context: SignalContext, serviceId: string, deviceId: number): Promise<void> =>
  changeDevices(context, serviceId, known => [...new Set([...known, deviceId])])

/** Takes a device out of the cached list. */
export const removeDevice = (context: SignalContext, serviceId: string, deviceId: number): Promise<void> =>
  changeDevices(context, serviceId, known => known.filter(known => known !== deviceId))

const changeDevices = (
  context: SignalContext,
  serviceId: string,
  change: (known: readonly number[]) => readonly number[],
): Promise<void> => {
  const peer = peerOf(context, serviceId)
  return context.runtime.run({
    name: 'signal.devices',
    locks: [peer],
    compute: state => {
      const rows = state.rows(recipientDevices, peer)
      const known = new Map(rows.map(row => [row.deviceId, row.registrationId]))
      const devices = change(knownDevices(rows)).map(deviceId => ({
        deviceId,
        registrationId: known.get(deviceId) ?? null,
      }))
      return { result: undefined, changes: deviceChanges(context, state, peer, serviceId, rows, devices) }
    },
  })
}
