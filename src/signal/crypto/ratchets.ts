import {
  CiphertextMessageType,
  type PreKeyBundle,
  PreKeySignalMessage,
  processPreKeyBundle,
  ProtocolAddress,
  type PublicKey,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
} from '@signalapp/libsignal-client'
import type { Bytes } from '../../encoding/index.js'
import { CallError } from '../../errors.js'
import type { UnitState } from '../../runtime/unit.js'
import { type Change, put } from '../../store/index.js'
import { signalIdentities, signalSessions } from '../../store/signal/account.js'
import type { AccountRow } from '../context.js'
import { identityKeyOf, type OwnIdentity } from '../preKeys.js'
import { envelopeTypes } from '../wire/messages.js'
import { native } from './bytes.js'
import { IdentityOverlay, type PreKeyOverlays, SessionOverlay } from './stores.js'

/** A ciphertext for one device, as it goes into an envelope. */
export interface DeviceCiphertext {
  readonly type: number
  readonly content: Bytes
  readonly registrationId: number
}

/**
 * The ratchets with one peer, under its lock: whatever a unit does with them changes nothing until the unit’s changes are
 * committed, all in one. libsignal must never run two operations on one session side by side.
 */
export class Ratchets {
  readonly #account: AccountRow & { readonly deviceId: number }
  readonly #own: OwnIdentity
  readonly #peer: string
  readonly #serviceId: string
  readonly #state: UnitState
  readonly #sessions: SessionOverlay
  readonly #identity: IdentityOverlay

  constructor(
    account: AccountRow & { readonly deviceId: number },
    own: OwnIdentity,
    { peer, serviceId, state }: { readonly peer: string; readonly serviceId: string; readonly state: UnitState },
  ) {
    this.#account = account
    this.#own = own
    this.#peer = peer
    this.#serviceId = serviceId
    this.#state = state
    const ownKey = identityKeyOf(account, own)
    if (ownKey === null) throw new CallError('SIGNAL_NO_PNI', 'this account has no PNI', { field: 'own' })
    const registrationId = own === 'aci' ? account.registrationId : account.pniRegistrationId
    this.#sessions = new SessionOverlay(state.rows(signalSessions, peer).filter(row => row.own === own))
    this.#identity = new IdentityOverlay(ownKey, registrationId, state.rows(signalIdentities, peer)[0]?.identityKey)
  }

  /** Whether a message to the device can be encrypted without fetching keys. */
  canEncrypt(deviceId: number): boolean {
    return this.#sessions.get(deviceId)?.hasCurrentState(new Date(this.#state.now)) === true
  }

  archive(deviceId: number): void {
    this.#sessions.archive(deviceId)
  }

  ratchetKeyMatches(deviceId: number, key: PublicKey): boolean {
    return this.#sessions.get(deviceId)?.currentRatchetKeyMatches(key) === true
  }

  /** Begins a session with a device from the keys that it has left at the server. */
  async begin(bundle: PreKeyBundle): Promise<void> {
    const address = this.#address(bundle.deviceId())
    await processPreKeyBundle(bundle, address, this.#local, this.#sessions, this.#identity, new Date(this.#state.now))
  }

  async encrypt(deviceId: number, padded: Bytes): Promise<DeviceCiphertext> {
    const message = await signalEncrypt(
      native(padded),
      this.#address(deviceId),
      this.#local,
      this.#sessions,
      this.#identity,
      new Date(this.#state.now),
    )
    return {
      type: message.type() === CiphertextMessageType.PreKey ? envelopeTypes.preKey : envelopeTypes.ratchet,
      content: message.serialize(),
      registrationId: this.#sessions.get(deviceId)?.remoteRegistrationId() ?? 0,
    }
  }

  /** Opens a message of the device, padded as it was. Throws libsignal’s errors, CryptoError, DecodeError. */
  async decrypt(deviceId: number, type: number, ciphertext: Bytes, keys: PreKeyOverlays): Promise<Bytes> {
    const address = this.#address(deviceId)
    if (type === envelopeTypes.preKey) {
      const message = PreKeySignalMessage.deserialize(native(ciphertext))
      const { preKeys, signed, kyber } = keys
      return signalDecryptPreKey(message, address, this.#local, this.#sessions, this.#identity, preKeys, signed, kyber)
    }
    const message = SignalMessage.deserialize(native(ciphertext))
    return signalDecrypt(message, address, this.#local, this.#sessions, this.#identity)
  }

  /** The peer’s identity key was replaced by what was done here. */
  get identityChanged(): boolean {
    return this.#identity.change?.replaced === true
  }

  get changes(): Change[] {
    const { now } = this.#state
    const { userId } = this.#account
    const [peer, own] = [this.#peer, this.#own]
    const known = this.#state.rows(signalIdentities, peer)[0]
    const { change } = this.#identity
    return [
      ...this.#sessions.changed.map(({ deviceId, record }) =>
        put(signalSessions, { peer, own, deviceId, userId, record, updatedAt: now }),
      ),
      ...(change === undefined
        ? []
        : [
            put(signalIdentities, {
              peer,
              userId,
              identityKey: change.key,
              createdAt: known?.createdAt ?? now,
              changedAt: now,
            }),
          ]),
    ]
  }

  #address(deviceId: number): ProtocolAddress {
    return ProtocolAddress.new(this.#serviceId, deviceId)
  }

  get #local(): ProtocolAddress {
    const { aci, pni, deviceId } = this.#account
    return ProtocolAddress.new(this.#own === 'aci' ? aci : (pni ?? aci), deviceId)
  }
}
