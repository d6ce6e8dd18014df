/** Signal’s service in memory, for measuring the channel alone: it takes everything, and nobody receives it. */
import {
  KEMKeyPair,
  PrivateKey,
  type PublicKey,
  SenderCertificate,
  ServerCertificate,
} from '@signalapp/libsignal-client'
import type { FrameChannel, SignalDialer } from '../../../src/signal/index.js'
import { decode, encode } from '../../../src/signal/wire/codec.js'
import { frameTypes, webSocketMessage } from '../../../src/signal/wire/messages.js'

/** A person with devices that have keys at the server. */
export interface BenchPerson {
  readonly aci: string
  readonly profileKey: Uint8Array
}

export interface BenchService {
  readonly dialer: SignalDialer
  readonly trustRoot: string
  /** Requests so far, by verb and kind of path. */
  readonly requests: Map<string, number>
}

interface Account {
  readonly aci: string
  readonly deviceId: number
  readonly identity: PrivateKey
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

export const benchService = (account: Account, devicesOf: (aci: string) => number): BenchService => {
  const root = PrivateKey.generate()
  const serverKey = PrivateKey.generate()
  const serverCertificate = ServerCertificate.new(1, serverKey.getPublicKey(), root)
  const expires = Date.now() + 7 * 24 * 3_600_000
  const certificate = SenderCertificate.new(
    account.aci,
    '+15550000000',
    account.deviceId,
    account.identity.getPublicKey(),
    expires,
    serverCertificate,
    serverKey,
  )
  const requests = new Map<string, number>()
  const keys = keyShop()
  const answer = (verb: string, path: string, body: Uint8Array): { status: number; json: object } => {
    const kind = `${verb} ${path.split('?')[0]?.split('/').slice(0, 3).join('/') ?? ''}`
    requests.set(kind, (requests.get(kind) ?? 0) + 1)
    if (path.startsWith('/v1/certificate'))
      return { status: 200, json: { certificate: base64(certificate.serialize()) } }
    if (verb === 'GET' && path.startsWith('/v2/keys?')) return { status: 200, json: { count: 100, pqCount: 100 } }
    if (verb === 'GET' && path.startsWith('/v2/keys/'))
      return { status: 200, json: keys(Number(path.split('/').at(-1))) }
    if (path.startsWith('/v1/messages/')) {
      const { messages } = JSON.parse(Buffer.from(body).toString()) as {
        messages: Array<{ destinationDeviceId: number }>
      }
      const aci = path.split('/').at(-1) ?? ''
      const wanted = aci === account.aci ? [1] : Array.from({ length: devicesOf(aci) }, (_, index) => index + 1)
      const have = new Set(messages.map(message => message.destinationDeviceId))
      const missingDevices = wanted.filter(deviceId => !have.has(deviceId))
      return missingDevices.length === 0
        ? { status: 200, json: { needsSync: false } }
        : { status: 409, json: { missingDevices, extraDevices: [] } }
    }
    return { status: 200, json: {} }
  }
  return {
    requests,
    trustRoot: base64(root.getPublicKey().serialize()),
    dialer: {
      dial: async () => memoryChannel(answer),
      http: async () => ({ status: 404, body: Buffer.alloc(0) }),
    },
  }
}

const memoryChannel = (
  answer: (verb: string, path: string, body: Uint8Array) => { status: number; json: object },
): FrameChannel => {
  let onFrame: (frame: Uint8Array) => void = () => {}
  let onClose: (code: number) => void = () => {}
  return {
    send: frame => {
      const { request } = decode(webSocketMessage, frame)
      if (request === undefined) return
      const { status, json } = answer(request.verb ?? '', request.path ?? '', request.body ?? Buffer.alloc(0))
      const response = { id: request.id, status, message: 'OK', headers: [], body: Buffer.from(JSON.stringify(json)) }
      setImmediate(() => onFrame(encode(webSocketMessage, { type: frameTypes.response, response })))
    },
    destroy: () => onClose(1006),
    onFrame: listener => {
      onFrame = listener
    },
    onClose: listener => {
      onClose = listener
    },
  }
}

/** Keys of everybody: the same for all, since only the sender’s work is measured. */
const keyShop = (): ((deviceId: number) => object) => {
  const identity = PrivateKey.generate()
  const signed = PrivateKey.generate()
  const kyber = KEMKeyPair.generate()
  const publicOf = (key: PublicKey): string => base64(key.serialize())
  const signedPreKey = {
    keyId: 1,
    publicKey: publicOf(signed.getPublicKey()),
    signature: base64(identity.sign(signed.getPublicKey().serialize())),
  }
  const kyberPublic = kyber.getPublicKey().serialize()
  const pqPreKey = { keyId: 2, publicKey: base64(kyberPublic), signature: base64(identity.sign(kyberPublic)) }
  return deviceId => ({
    identityKey: publicOf(identity.getPublicKey()),
    devices: [{ deviceId, registrationId: 1000 + deviceId, signedPreKey, preKey: null, pqPreKey }],
  })
}
