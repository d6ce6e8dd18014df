import {
  type Direction,
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  PreKeyRecord,
  PreKeyStore,
  PrivateKey,
  type ProtocolAddress,
  PublicKey,
  SessionRecord,
  SessionStore,
  SignedPreKeyRecord,
  SignedPreKeyStore,
} from '@signalapp/libsignal-client'
import { sha256 } from '../../crypto/index.js'
import type { Bytes } from '../../encoding/index.js'
import { CryptoError } from '../../errors.js'
import type { Row } from '../../store/index.js'
import type { signalPreKeys, signalSessions } from '../../store/signal/account.js'
import { native } from './bytes.js'

/**
 * libsignal reads and writes its state through stores. These are overlays: what they start with are loaded rows, what
 * changes stays here until the unit of work turns it into changes of rows, all of them in one transaction.
 */
export class SessionOverlay extends SessionStore {
  readonly #records = new Map<number, SessionRecord>()
  readonly #changed = new Set<number>()

  constructor(rows: ReadonlyArray<Row<typeof signalSessions>>) {
    super()
    for (const row of rows) this.#records.set(row.deviceId, SessionRecord.deserialize(native(row.record)))
  }

  async saveSession(name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.#records.set(name.deviceId(), record)
    this.#changed.add(name.deviceId())
  }

  async getSession(name: ProtocolAddress): Promise<SessionRecord | null> {
    return this.#records.get(name.deviceId()) ?? null
  }

  async getExistingSessions(addresses: ProtocolAddress[]): Promise<SessionRecord[]> {
    return addresses.map(address => {
      const record = this.#records.get(address.deviceId())
      if (record === undefined) throw new CryptoError('CRYPTO_SESSION', 'there is no session', { field: 'session' })
      return record
    })
  }

  get(deviceId: number): SessionRecord | undefined {
    return this.#records.get(deviceId)
  }

  /** The session is not used to send any more; what is on its way can still be opened. */
  archive(deviceId: number): void {
    const record = this.#records.get(deviceId)
    if (record === undefined) return
    record.archiveCurrentState()
    this.#changed.add(deviceId)
  }

  get changed(): ReadonlyArray<{ readonly deviceId: number; readonly record: Bytes }> {
    return [...this.#changed].map(deviceId => ({
      deviceId,
      record: (this.#records.get(deviceId) as SessionRecord).serialize(),
    }))
  }
}

/** Own identity and that of one peer. Every key is trusted when it is new; a change is told, never refused. */
export class IdentityOverlay extends IdentityKeyStore {
  readonly #own: PrivateKey
  readonly #registrationId: number
  #known: PublicKey | undefined
  /** Set when a key was seen for the first time, or another one than before. */
  change: { readonly key: Bytes; readonly replaced: boolean } | undefined

  constructor(ownKey: Bytes, registrationId: number, known: Bytes | undefined) {
    super()
    this.#own = PrivateKey.deserialize(native(ownKey))
    this.#registrationId = registrationId
    this.#known = known === undefined ? undefined : PublicKey.deserialize(native(known))
  }

  async getIdentityKey(): Promise<PrivateKey> {
    return this.#own
  }

  async getLocalRegistrationId(): Promise<number> {
    return this.#registrationId
  }

  async saveIdentity(_name: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    if (this.#known?.equals(key) === true) return IdentityChange.NewOrUnchanged
    const replaced = this.#known !== undefined
    this.#known = key
    this.change = { key: key.serialize(), replaced: replaced || this.change?.replaced === true }
    return replaced ? IdentityChange.ReplacedExisting : IdentityChange.NewOrUnchanged
  }

  async isTrustedIdentity(_name: ProtocolAddress, _key: PublicKey, _direction: Direction): Promise<boolean> {
    return true
  }

  async getIdentity(_name: ProtocolAddress): Promise<PublicKey | null> {
    return this.#known ?? null
  }
}

type PreKeyRow = Row<typeof signalPreKeys>

const missing = (kind: string): CryptoError =>
  new CryptoError('CRYPTO_PRE_KEY', 'the message names a key that is not there', { field: kind })

/** The prekeys that one prekey message names, and which of them it has used up. */
export class PreKeyOverlays {
  readonly #rows: readonly PreKeyRow[]
  /** Hashes of (last-resort key, base key) that were used before: such a message is a replay. */
  readonly #used: ReadonlySet<string>
  readonly spent: PreKeyRow[] = []
  lastResortUse: Bytes | undefined
  readonly preKeys: PreKeyStore
  readonly signed: SignedPreKeyStore
  readonly kyber: KyberPreKeyStore

  constructor(rows: readonly PreKeyRow[], used: ReadonlySet<string>) {
    this.#rows = rows
    this.#used = used
    this.preKeys = new OneTimeOverlay(this)
    this.signed = new SignedOverlay(this)
    this.kyber = new KyberOverlay(this)
  }

  find(kinds: readonly string[], keyId: number): PreKeyRow {
    const row = this.#rows.find(row => kinds.includes(row.kind) && row.keyId === keyId)
    if (row === undefined) throw missing(kinds[0] as string)
    return row
  }

  used(row: PreKeyRow, baseKey: Bytes): void {
    if (row.kind !== 'lastResort') {
      this.spent.push(row)
      return
    }
    const hash = lastResortHash(row.own, row.keyId, baseKey)
    if (this.#used.has(hash.toString('hex')))
      throw new CryptoError('CRYPTO_REPLAY', 'a key agreement is replayed', { field: 'baseKey' })
    this.lastResortUse = hash
  }
}

/** What is kept of a use of a last-resort key. */
export const lastResortHash = (own: string, keyId: number, baseKey: Bytes): Buffer =>
  Buffer.from(sha256(Buffer.concat([Buffer.from(`last resort ${own} ${keyId} `), baseKey])))

class OneTimeOverlay extends PreKeyStore {
  readonly #keys: PreKeyOverlays
  constructor(keys: PreKeyOverlays) {
    super()
    this.#keys = keys
  }
  async savePreKey(): Promise<void> {}
  async getPreKey(id: number): Promise<PreKeyRecord> {
    return PreKeyRecord.deserialize(native(this.#keys.find(['ec'], id).record))
  }
  async removePreKey(id: number): Promise<void> {
    this.#keys.spent.push(this.#keys.find(['ec'], id))
  }
}

class SignedOverlay extends SignedPreKeyStore {
  readonly #keys: PreKeyOverlays
  constructor(keys: PreKeyOverlays) {
    super()
    this.#keys = keys
  }
  async saveSignedPreKey(): Promise<void> {}
  async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return SignedPreKeyRecord.deserialize(native(this.#keys.find(['signed'], id).record))
  }
}

class KyberOverlay extends KyberPreKeyStore {
  readonly #keys: PreKeyOverlays
  constructor(keys: PreKeyOverlays) {
    super()
    this.#keys = keys
  }
  async saveKyberPreKey(): Promise<void> {}
  async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return KyberPreKeyRecord.deserialize(native(this.#keys.find(['kyber', 'lastResort'], id).record))
  }
  async markKyberPreKeyUsed(id: number, _signedPreKeyId: number, baseKey: PublicKey): Promise<void> {
    this.#keys.used(this.#keys.find(['kyber', 'lastResort'], id), baseKey.serialize())
  }
}
