/** libsignal’s stores in memory, for devices of the tests: as plain as can be, and sharing nothing with the channel’s. */
import * as signal from '@signalapp/libsignal-client'

type Bytes = Uint8Array<ArrayBuffer>

export interface Stores {
  readonly sessions: Map<string, Uint8Array>
  readonly identities: Map<string, Uint8Array>
  readonly ec: Map<number, Uint8Array>
  readonly signed: Map<number, Uint8Array>
  readonly kyber: Map<number, Uint8Array>
}

export class Sessions extends signal.SessionStore {
  readonly map: Map<string, Uint8Array>
  constructor(map: Map<string, Uint8Array>) {
    super()
    this.map = map
  }
  async saveSession(name: signal.ProtocolAddress, record: signal.SessionRecord): Promise<void> {
    this.map.set(name.toString(), record.serialize())
  }
  async getSession(name: signal.ProtocolAddress): Promise<signal.SessionRecord | null> {
    const bytes = this.map.get(name.toString())
    return bytes === undefined ? null : signal.SessionRecord.deserialize(bytes as Bytes)
  }
  async getExistingSessions(): Promise<signal.SessionRecord[]> {
    throw new Error('not used')
  }
}

export class Identities extends signal.IdentityKeyStore {
  readonly own: signal.PrivateKey
  readonly registrationId: number
  readonly map: Map<string, Uint8Array>
  constructor(own: signal.PrivateKey, registrationId: number, map: Map<string, Uint8Array>) {
    super()
    this.own = own
    this.registrationId = registrationId
    this.map = map
  }
  async getIdentityKey(): Promise<signal.PrivateKey> {
    return this.own
  }
  async getLocalRegistrationId(): Promise<number> {
    return this.registrationId
  }
  async saveIdentity(name: signal.ProtocolAddress, key: signal.PublicKey): Promise<signal.IdentityChange> {
    this.map.set(name.name(), key.serialize())
    return signal.IdentityChange.NewOrUnchanged
  }
  async isTrustedIdentity(): Promise<boolean> {
    return true
  }
  async getIdentity(name: signal.ProtocolAddress): Promise<signal.PublicKey | null> {
    const bytes = this.map.get(name.name())
    return bytes === undefined ? null : signal.PublicKey.deserialize(bytes as Bytes)
  }
}

export const preKeyStore = (map: Map<number, Uint8Array>) =>
  new (class extends signal.PreKeyStore {
    async savePreKey(): Promise<void> {}
    async getPreKey(id: number): Promise<signal.PreKeyRecord> {
      const bytes = map.get(id)
      if (bytes === undefined) throw new Error(`no prekey ${id}`)
      return signal.PreKeyRecord.deserialize(bytes as Bytes)
    }
    async removePreKey(id: number): Promise<void> {
      map.delete(id)
    }
  })()
export const signedStore = (map: Map<number, Uint8Array>) =>
  new (class extends signal.SignedPreKeyStore {
    async saveSignedPreKey(): Promise<void> {}
    async getSignedPreKey(id: number): Promise<signal.SignedPreKeyRecord> {
      const bytes = map.get(id)
      if (bytes === undefined) throw new Error(`no signed prekey ${id}`)
      return signal.SignedPreKeyRecord.deserialize(bytes as Bytes)
    }
  })()
export const kyberStore = (map: Map<number, Uint8Array>) =>
  new (class extends signal.KyberPreKeyStore {
    async saveKyberPreKey(): Promise<void> {}
    async getKyberPreKey(id: number): Promise<signal.KyberPreKeyRecord> {
      const bytes = map.get(id)
      if (bytes === undefined) throw new Error(`no kyber prekey ${id}`)
      return signal.KyberPreKeyRecord.deserialize(bytes as Bytes)
    }
    async markKyberPreKeyUsed(): Promise<void> {}
  })()

export const emptyStores = (): Stores => ({
  sessions: new Map(),
  identities: new Map(),
  ec: new Map(),
  signed: new Map(),
  kyber: new Map(),
})
