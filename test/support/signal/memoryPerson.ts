/** A person at the service in memory: devices with libsignal and stores of their own, which open what the channel sends. */
import * as signal from '@signalapp/libsignal-client'
import { newKyberPreKey, newSignedPreKey } from '../../../src/signal/crypto/preKeys.js'
import { bundlesOf } from '../../../src/signal/envelopes.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import {
  type Content,
  content as contentSchema,
  envelope as envelopeSchema,
  envelopeTypes,
} from '../../../src/signal/wire/messages.js'
import { pad, unpad } from '../../../src/signal/wire/padding.js'
import { serviceIdBytes } from '../../../src/signal/wire/serviceId.js'
import type { MemoryService, Reply, ServiceAccount } from './service.js'
import { emptyStores, Identities, kyberStore, preKeyStore, Sessions, signedStore } from './stores.js'

type Bytes = Uint8Array<ArrayBuffer>

/** A message as it stands in the list that the channel sends. */
export interface Sent {
  readonly timestamp: number
  readonly type: number
  readonly content: string
}

export class MemoryPerson {
  readonly aci: string
  readonly devices: readonly MemoryDevice[]

  constructor(aci: string, deviceIds: readonly number[], identity = signal.PrivateKey.generate()) {
    this.aci = aci
    this.devices = deviceIds.map(deviceId => new MemoryDevice(aci, deviceId, identity))
  }

  device(deviceId: number): MemoryDevice {
    const found = this.devices.find(device => device.deviceId === deviceId)
    if (found === undefined) throw new Error(`no device ${deviceId}`)
    return found
  }

  keysOf(deviceId: number): Reply {
    const device = this.devices.find(device => device.deviceId === deviceId)
    return device === undefined ? { status: 404 } : { status: 200, json: device.keys() }
  }

  /** What the service does with a list of messages: 409 unless it is for every device but the sender’s own. */
  take(json: Record<string, unknown>, sender: ServiceAccount): Reply {
    const { messages, timestamp } = json as unknown as {
      messages: Array<{ destinationDeviceId: number; type: number; content: string }>
      timestamp: number
    }
    const given = new Set(messages.map(message => message.destinationDeviceId))
    const wanted = this.devices.map(({ deviceId }) => deviceId)
    const missingDevices = wanted.filter(deviceId => !given.has(deviceId))
    const extraDevices = [...given].filter(deviceId => !wanted.includes(deviceId))
    if (missingDevices.length + extraDevices.length > 0) return { status: 409, json: { missingDevices, extraDevices } }
    for (const { destinationDeviceId, type, content } of messages)
      this.device(destinationDeviceId).mailbox.push({ timestamp, type, content, sender })
    return { status: 200, json: { needsSync: false } }
  }
}

export class MemoryDevice {
  readonly aci: string
  readonly deviceId: number
  readonly registrationId: number
  /** What the service has taken for this device. */
  readonly mailbox: Array<Sent & { readonly sender: ServiceAccount }> = []
  readonly #identity: signal.PrivateKey
  readonly #stores = emptyStores()
  readonly #own: Identities

  constructor(aci: string, deviceId: number, identity: signal.PrivateKey) {
    this.aci = aci
    this.deviceId = deviceId
    this.registrationId = 1_000 + deviceId
    this.#identity = identity
    this.#own = new Identities(identity, this.registrationId, this.#stores.identities)
  }

  /** The answer to `GET /v2/keys/<aci>/<device>`. */
  keys(): object {
    const signed = newSignedPreKey(this.#identity.serialize(), 1, Date.now())
    const kyber = newKyberPreKey(this.#identity.serialize(), 2, Date.now())
    if (this.#stores.signed.size === 0) {
      this.#stores.signed.set(1, signed.record)
      this.#stores.kyber.set(2, kyber.record)
      this.#uploads = { signedPreKey: signed.upload, pqPreKey: kyber.upload }
    }
    const { deviceId, registrationId } = this
    return {
      identityKey: Buffer.from(this.#identity.getPublicKey().serialize()).toString('base64'),
      devices: [{ deviceId, registrationId, preKey: null, ...this.#uploads }],
    }
  }
  #uploads: object = {}

  /** Opens everything in the mailbox, in its order; what does not open, such as a repetition, is its error’s text. */
  async open(): Promise<Array<Content | string>> {
    const opened: Array<Content | string> = []
    for (const sent of this.mailbox.splice(0)) {
      try {
        opened.push(await this.#decrypt(sent))
      } catch (error) {
        opened.push((error as Error).message)
      }
    }
    return opened
  }

  async #decrypt({ type, content, sender }: Sent & { readonly sender: ServiceAccount }): Promise<Content> {
    let ciphertext = Buffer.from(content, 'base64') as Bytes
    let kind = type
    if (type === envelopeTypes.sealed) {
      const inner = await signal.sealedSenderDecryptToUsmc(ciphertext, this.#own)
      kind = inner.msgType() === signal.CiphertextMessageType.PreKey ? envelopeTypes.preKey : envelopeTypes.ratchet
      ciphertext = inner.contents()
    }
    const from = signal.ProtocolAddress.new(sender.aci, sender.deviceId)
    const sessions = new Sessions(this.#stores.sessions)
    const { ec, signed, kyber } = this.#stores
    const plaintext =
      kind === envelopeTypes.preKey
        ? await signal.signalDecryptPreKey(
            signal.PreKeySignalMessage.deserialize(ciphertext),
            from,
            this.#local,
            sessions,
            this.#own,
            preKeyStore(ec),
            signedStore(signed),
            kyberStore(kyber),
          )
        : await signal.signalDecrypt(
            signal.SignalMessage.deserialize(ciphertext),
            from,
            this.#local,
            sessions,
            this.#own,
          )
    return decode(contentSchema, unpad(plaintext))
  }

  /** A content for the account, encrypted, as the envelope that the service would deliver. */
  async envelope(service: MemoryService, to: ServiceAccount, content: Content, timestamp: number): Promise<Uint8Array> {
    const address = signal.ProtocolAddress.new(to.aci, to.deviceId)
    const sessions = new Sessions(this.#stores.sessions)
    if ((await sessions.getSession(address))?.hasCurrentState() !== true) {
      const [bundle] = bundlesOf({ status: 200, headers: {}, body: Buffer.from(JSON.stringify(keysOf(service, to))) })
      if (bundle === undefined) throw new Error('the account has no keys')
      await signal.processPreKeyBundle(bundle, address, this.#local, sessions, this.#own)
    }
    const padded = pad(encode(contentSchema, content))
    const message = await signal.signalEncrypt(padded, address, this.#local, sessions, this.#own)
    return encode(envelopeSchema, {
      type: message.type() === signal.CiphertextMessageType.PreKey ? envelopeTypes.preKey : envelopeTypes.ratchet,
      clientTimestamp: timestamp,
      serverTimestamp: timestamp,
      sourceDeviceId: this.deviceId,
      sourceServiceIdBinary: serviceIdBytes(this.aci),
      destinationServiceIdBinary: serviceIdBytes(to.aci),
      content: message.serialize(),
    })
  }

  /** A retry receipt for a message that this device says it could not open. */
  retryReceipt(to: ServiceAccount, sent: Sent, now: number): Uint8Array {
    const type =
      sent.type === envelopeTypes.preKey ? signal.CiphertextMessageType.PreKey : signal.CiphertextMessageType.Whisper
    const original = Buffer.from(sent.content, 'base64') as Bytes
    const request = signal.DecryptionErrorMessage.forOriginal(original, type, sent.timestamp, to.deviceId)
    return encode(envelopeSchema, {
      type: envelopeTypes.plaintext,
      clientTimestamp: now,
      serverTimestamp: now,
      sourceDeviceId: this.deviceId,
      sourceServiceIdBinary: serviceIdBytes(this.aci),
      destinationServiceIdBinary: serviceIdBytes(to.aci),
      content: signal.PlaintextContent.from(request).serialize(),
    })
  }

  forgetSessions(): void {
    this.#stores.sessions.clear()
  }

  get #local(): signal.ProtocolAddress {
    return signal.ProtocolAddress.new(this.aci, this.deviceId)
  }
}

/** The keys that the channel has uploaded for its ACI, as the service gives them to others. */
const keysOf = (service: MemoryService, to: ServiceAccount): object => {
  const uploaded = service.preKeys.get('aci') as Record<string, unknown> | undefined
  const { preKeys = [] } = (uploaded ?? {}) as { preKeys?: object[] }
  return {
    identityKey: Buffer.from(to.identity.getPublicKey().serialize()).toString('base64'),
    devices: [
      {
        deviceId: to.deviceId,
        registrationId: 1,
        signedPreKey: uploaded?.['signedPreKey'],
        pqPreKey: uploaded?.['pqLastResortPreKey'],
        preKey: preKeys.pop() ?? null,
      },
    ],
  }
}
