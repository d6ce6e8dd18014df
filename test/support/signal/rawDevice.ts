/**
 * A linked device of the tests: libsignal with stores in memory, linked through the same wire as any device and otherwise
 * sharing nothing with the channel. It checks sender certificates, remembers everything, and can be told to misbehave.
 */
import * as signal from '@signalapp/libsignal-client'
import { WebSocket } from 'ws'
import { newKyberPreKey, newOneTimePreKey, newSignedPreKey } from '../../../src/signal/crypto/preKeys.js'
import { provisioningKey } from '../../../src/signal/crypto/provisioning.js'
import { bundlesOf } from '../../../src/signal/envelopes.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import {
  type Content,
  content as contentSchema,
  envelope as envelopeSchema,
  envelopeTypes,
  frameTypes,
  provisioningAddress,
  webSocketMessage,
} from '../../../src/signal/wire/messages.js'
import { pad, unpad } from '../../../src/signal/wire/padding.js'
import { pniOf, serviceIdOf } from '../../../src/signal/wire/serviceId.js'
import type { MockSignal } from './mock.js'
import { emptyStores, Identities, kyberStore, preKeyStore, Sessions, signedStore, type Stores } from './stores.js'

type Bytes = Uint8Array<ArrayBuffer>

/** A message as the device received it. */
export interface RawMessage {
  readonly source: string
  readonly sourceDevice: number
  readonly timestamp: number
  readonly sealed: boolean
  /** The certificate’s facts, of sealed messages. */
  readonly certificate?: { readonly e164: string | null; readonly deviceId: number; readonly valid: boolean }
  readonly type: number
  readonly content?: Content
  /** For decryption errors: the request as libsignal reads it. */
  readonly retry?: { readonly timestamp: number; readonly deviceId: number }
  readonly error?: string
  readonly ciphertext: Uint8Array
}

export interface Response {
  readonly status: number
  readonly json: Record<string, unknown>
}

/** A socket with requests, as plain as can be. */
class RawSocket {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, (response: Response) => void>()
  #lastId = 0
  onRequest: (path: string, body: Uint8Array) => Promise<boolean> = async () => true

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => {
      const { request, response } = decode(webSocketMessage, data)
      if (response !== undefined) {
        const text = Buffer.from(response.body ?? []).toString()
        this.#waiting.get(response.id ?? 0)?.({
          status: response.status ?? 0,
          json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {},
        })
      } else if (request !== undefined) {
        void this.onRequest(request.path ?? '', request.body ?? new Uint8Array()).then(acknowledge => {
          if (!acknowledge) return
          const answer = { type: frameTypes.response, response: { id: request.id, status: 200, message: 'OK' } }
          if (socket.readyState === WebSocket.OPEN) socket.send(encode(webSocketMessage, answer))
        })
      }
    })
  }

  static open(mock: MockSignal, path: string, authorization?: string): Promise<RawSocket> {
    const socket = new WebSocket(`wss://127.0.0.1:${mock.port}${path}`, {
      ca: mock.ca,
      headers: authorization === undefined ? {} : { authorization },
    })
    const raw = new RawSocket(socket)
    return new Promise((resolve, reject) => {
      socket.once('open', () => resolve(raw))
      socket.once('error', reject)
    })
  }

  request(verb: string, path: string, json?: object, headers: Record<string, string> = {}): Promise<Response> {
    const id = ++this.#lastId
    const answered = new Promise<Response>(resolve => this.#waiting.set(id, resolve))
    const body = json === undefined ? undefined : Buffer.from(JSON.stringify(json))
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}`)
    this.#socket.send(
      encode(webSocketMessage, { type: frameTypes.request, request: { verb, path, id, body, headers: lines } }),
    )
    return answered
  }

  close(): void {
    this.#socket.terminate()
  }
}

export class RawDevice {
  readonly aci: string
  readonly pni: string
  readonly deviceId: number
  readonly received: RawMessage[] = []
  /** False: messages are not acknowledged. */
  acknowledging = true
  #stores: Stores
  readonly #mock: MockSignal
  readonly #own: Identities
  readonly authorization: string
  readonly #trustRoot: signal.PublicKey
  #socket: RawSocket | undefined
  #taken = 0
  /** A timestamp names a message of this device: none is used twice, unless a test says so. */
  #lastTimestamp = 0
  /** libsignal must not run twice on one session at a time. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(
    mock: MockSignal,
    account: { aci: string; pni: string; deviceId: number; authorization: string },
    own: Identities,
    stores: Stores,
  ) {
    this.aci = account.aci
    this.pni = account.pni
    this.deviceId = account.deviceId
    this.authorization = account.authorization
    this.#mock = mock
    this.#own = own
    this.#stores = stores
    this.#trustRoot = signal.PublicKey.deserialize(Buffer.from(mock.trustRoot, 'base64') as Bytes)
  }

  /** Links a new device of a primary. */
  static async link(mock: MockSignal, aci: string): Promise<RawDevice> {
    const key = provisioningKey()
    const provisioning = await RawSocket.open(mock, '/v1/websocket/provisioning/')
    const linked = new Promise<number>((resolve, reject) => {
      provisioning.onRequest = async (path, body) => {
        if (path === '/v1/address') {
          const link = key.link(decode(provisioningAddress, body).address ?? '')
          mock.call<number>('provision', { aci, link }).then(resolve, reject)
        } else finish(key.open(body)).catch(reject)
        return true
      }
    })
    let device: RawDevice | undefined
    const finish = async (provision: ReturnType<typeof key.open>): Promise<void> => {
      const identity = provision.aciIdentityKeyPrivate as Bytes
      const pniIdentity = provision.pniIdentityKeyPrivate as Bytes
      const registrationId = 1 + Math.floor(Math.random() * 16_000)
      const stores = emptyStores()
      const password = Math.random().toString(36).slice(2)
      const signed = newSignedPreKey(identity, 1, Date.now())
      const lastResort = newKyberPreKey(identity, 2, Date.now())
      const pniSigned = newSignedPreKey(pniIdentity, 3, Date.now())
      const pniLastResort = newKyberPreKey(pniIdentity, 4, Date.now())
      stores.signed.set(1, signed.record)
      stores.kyber.set(2, lastResort.record)
      const basic = (user: string): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
      const aci = serviceIdOf(provision.aciBinary as Bytes)
      const registration = await RawSocket.open(mock, '/v1/websocket/')
      const { json } = await registration.request(
        'PUT',
        '/v1/devices/link',
        {
          verificationCode: provision.provisioningCode,
          accountAttributes: {
            fetchesMessages: true,
            registrationId,
            pniRegistrationId: registrationId,
            name: 'raw',
            capabilities: {},
          },
          aciSignedPreKey: signed.upload,
          aciPqLastResortPreKey: lastResort.upload,
          pniSignedPreKey: pniSigned.upload,
          pniPqLastResortPreKey: pniLastResort.upload,
        },
        { authorization: basic(aci) },
      )
      registration.close()
      const deviceId = json['deviceId'] as number
      const own = new Identities(signal.PrivateKey.deserialize(identity), registrationId, stores.identities)
      const pni = pniOf(provision.pniBinary as Bytes)
      device = new RawDevice(mock, { aci, pni, deviceId, authorization: basic(`${aci}.${deviceId}`) }, own, stores)
      await device.connect()
      for (const kind of ['aci', 'pni']) {
        const oneTime = Array.from({ length: 20 }, (_, index) => newOneTimePreKey(100 + index))
        if (kind === 'aci') for (const one of oneTime) stores.ec.set(one.keyId, one.record)
        void device.request('PUT', `/v2/keys?identity=${kind}`, {
          preKeys: oneTime.map(one => one.upload),
          pqPreKeys: [],
        })
      }
    }
    await linked
    provisioning.close()
    return device as unknown as RawDevice
  }

  async connect(): Promise<void> {
    this.#socket?.close()
    const socket = await RawSocket.open(this.#mock, '/v1/websocket/', this.authorization)
    this.#socket = socket
    socket.onRequest = async (path, body) => {
      if (path === '/api/v1/message') await this.#exclusive(() => this.#receive(body))
      return this.acknowledging
    }
  }

  disconnect(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  request(verb: string, path: string, json?: object): Promise<Response> {
    if (this.#socket === undefined) throw new Error('not connected')
    return this.#socket.request(verb, path, json)
  }

  /** The next message that no earlier call has returned. */
  async next(what: (message: RawMessage) => boolean = () => true, waitMs = 30_000): Promise<RawMessage> {
    const deadline = Date.now() + waitMs
    for (;;) {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken++] as RawMessage
        if (what(message)) return message
      }
      if (Date.now() > deadline) throw new Error(`device ${this.deviceId} got nothing of the kind in ${waitMs} ms`)
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }

  async nextText(waitMs?: number): Promise<string> {
    const message = await this.next(({ content }) => content?.dataMessage?.body !== undefined, waitMs)
    return message.content?.dataMessage?.body ?? ''
  }

  get texts(): string[] {
    return this.received.flatMap(({ content }) => content?.dataMessage?.body ?? [])
  }

  /** Everything that the device keeps, as a backup has it; `restore` goes back to it. */
  snapshot(): () => void {
    const copy = (map: Map<never, Uint8Array>) => new Map(map)
    const { sessions, identities, ec, signed, kyber } = this.#stores
    const saved = [sessions, identities, ec, signed, kyber].map(map => copy(map as never))
    return () => {
      ;[sessions, identities, ec, signed, kyber].forEach((map, index) => {
        map.clear()
        for (const [key, value] of saved[index] ?? []) map.set(key as never, value)
      })
    }
  }

  forgetSessions(): void {
    this.#stores.sessions.clear()
  }

  /** Sends to one device of a service id, identified. */
  async send(
    to: { readonly serviceId: string; readonly deviceId: number },
    content: Content,
    options: { readonly timestamp?: number; readonly others?: readonly number[] } = {},
  ): Promise<Response> {
    return this.#exclusive(async () => {
      const messages = []
      for (const deviceId of [to.deviceId, ...(options.others ?? [])]) {
        const address = signal.ProtocolAddress.new(to.serviceId, deviceId)
        const sessions = new Sessions(this.#stores.sessions)
        if ((await sessions.getSession(address))?.hasCurrentState() !== true) await this.#begin(to.serviceId, deviceId)
        const record = (await sessions.getSession(address)) as signal.SessionRecord
        const padded = pad(encode(contentSchema, content))
        const message = await signal.signalEncrypt(padded, address, this.#local, sessions, this.#own)
        messages.push({
          type: message.type() === signal.CiphertextMessageType.PreKey ? envelopeTypes.preKey : envelopeTypes.ratchet,
          destinationDeviceId: deviceId,
          destinationRegistrationId: record.remoteRegistrationId(),
          content: Buffer.from(message.serialize()).toString('base64'),
        })
      }
      const timestamp = options.timestamp ?? Math.max(Date.now(), this.#lastTimestamp + 1)
      this.#lastTimestamp = Math.max(timestamp, this.#lastTimestamp)
      const response = await this.request('PUT', `/v1/messages/${to.serviceId}`, {
        messages,
        timestamp,
        online: false,
        urgent: true,
      })
      if (response.status !== 200) throw new Error(`not sent: ${response.status} ${JSON.stringify(response.json)}`)
      return response
    })
  }

  /** Asks for a message again, as a client that could not open it. */
  async sendRetryReceipt(
    to: { readonly serviceId: string; readonly deviceId: number; readonly registrationId: number },
    failed: RawMessage,
    others: ReadonlyArray<{ readonly deviceId: number; readonly registrationId: number }> = [],
  ): Promise<Response> {
    const type =
      failed.type === envelopeTypes.preKey ? signal.CiphertextMessageType.PreKey : signal.CiphertextMessageType.Whisper
    const request = signal.DecryptionErrorMessage.forOriginal(
      failed.ciphertext as Bytes,
      type,
      failed.timestamp,
      failed.sourceDevice,
    )
    const content = Buffer.from(signal.PlaintextContent.from(request).serialize()).toString('base64')
    const messages = [to, ...others].map(({ deviceId, registrationId }) => ({
      type: envelopeTypes.plaintext,
      destinationDeviceId: deviceId,
      destinationRegistrationId: registrationId,
      content,
    }))
    return this.request('PUT', `/v1/messages/${to.serviceId}`, {
      messages,
      timestamp: Date.now(),
      online: false,
      urgent: false,
    })
  }

  get #local(): signal.ProtocolAddress {
    return signal.ProtocolAddress.new(this.aci, this.deviceId)
  }

  async #begin(serviceId: string, deviceId: number): Promise<void> {
    const { json } = await this.request('GET', `/v2/keys/${serviceId}/${deviceId}`)
    const [bundle] = bundlesOf({ status: 200, headers: {}, body: Buffer.from(JSON.stringify(json)) })
    if (bundle === undefined) throw new Error('no keys')
    const address = signal.ProtocolAddress.new(serviceId, deviceId)
    await signal.processPreKeyBundle(bundle, address, this.#local, new Sessions(this.#stores.sessions), this.#own)
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #receive(body: Uint8Array): Promise<void> {
    const envelope = decode(envelopeSchema, body)
    const timestamp = envelope.clientTimestamp ?? 0
    let source = envelope.sourceServiceIdBinary === undefined ? '' : serviceIdOf(envelope.sourceServiceIdBinary)
    let sourceDevice = envelope.sourceDeviceId ?? 0
    let type = envelope.type ?? 0
    let ciphertext: Uint8Array = envelope.content ?? new Uint8Array()
    let certificate: RawMessage['certificate']
    if (type === envelopeTypes.sealed) {
      const inner = await signal.sealedSenderDecryptToUsmc(ciphertext as Bytes, this.#own)
      const sender = inner.senderCertificate()
      certificate = {
        e164: sender.senderE164(),
        deviceId: sender.senderDeviceId(),
        valid: sender.validate(this.#trustRoot, Date.now()),
      }
      source = sender.senderUuid()
      sourceDevice = sender.senderDeviceId()
      ciphertext = inner.contents()
      const types: Record<number, number> = {
        2: envelopeTypes.ratchet,
        3: envelopeTypes.preKey,
        8: envelopeTypes.plaintext,
      }
      type = types[inner.msgType()] ?? 0
    }
    const base = {
      source,
      sourceDevice,
      timestamp,
      sealed: certificate !== undefined,
      type,
      ciphertext,
      ...(certificate === undefined ? {} : { certificate }),
    }
    try {
      if (type === envelopeTypes.plaintext) {
        const plaintext = signal.PlaintextContent.deserialize(ciphertext as Bytes)
        const request = signal.DecryptionErrorMessage.extractFromSerializedBody(plaintext.body())
        this.received.push({ ...base, retry: { timestamp: request.timestamp(), deviceId: request.deviceId() } })
        return
      }
      const plaintext = await this.#decrypt(source, sourceDevice, type, ciphertext as Bytes)
      this.received.push({ ...base, content: decode(contentSchema, unpad(plaintext)) })
    } catch (error) {
      this.received.push({ ...base, error: error instanceof Error ? error.message : String(error) })
    }
  }

  #decrypt(source: string, device: number, type: number, ciphertext: Bytes): Promise<Uint8Array> {
    const address = signal.ProtocolAddress.new(source, device)
    const sessions = new Sessions(this.#stores.sessions)
    const { ec, signed, kyber } = this.#stores
    return type === envelopeTypes.preKey
      ? signal.signalDecryptPreKey(
          signal.PreKeySignalMessage.deserialize(ciphertext),
          address,
          this.#local,
          sessions,
          this.#own,
          preKeyStore(ec),
          signedStore(signed),
          kyberStore(kyber),
        )
      : signal.signalDecrypt(signal.SignalMessage.deserialize(ciphertext), address, this.#local, sessions, this.#own)
  }
}
