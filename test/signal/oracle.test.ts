/**
 * libsignal’s own network client as an oracle: the same requests in the same frames, and the same meaning of every answer.
 */
import { X509Certificate } from 'node:crypto'
import {
  Aci,
  CiphertextMessageType,
  DecryptionErrorMessage,
  ErrorCode,
  LibSignalErrorBase,
  Net,
  PlaintextContent,
  PrivateKey,
  SignalMessage,
} from '@signalapp/libsignal-client'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { accessKeyOf } from '../../src/signal/crypto/accessKey.js'
import { defaultSignalConfig } from '../../src/signal/config.js'
import { answerOf, messageList } from '../../src/signal/envelopes.js'
import { SignalLink } from '../../src/signal/net/link.js'
import { signalDialer } from '../../src/signal/net/webSocket.js'
import { systemClock } from '../../src/runtime/clock.js'
import { type MockSignal, type Primary, startMock } from '../support/signal/mock.js'
import { RawDevice } from '../support/signal/rawDevice.js'

let mock: MockSignal
let bob: Primary
let net: Net.Net
let oracle: Net.UnauthenticatedChatConnection & Net.UnauthMessagesService
let ours: SignalLink
beforeAll(async () => {
  mock = await startMock()
  bob = await mock.createPrimary('Bob')
  net = new Net.Net({
    localTestServer: true,
    userAgent: 'duologue-test',
    TESTING_localServer_chatPort: mock.port,
    TESTING_localServer_cdsiPort: mock.port,
    TESTING_localServer_svr2Port: mock.port,
    TESTING_localServer_svrBPort: mock.port,
    TESTING_localServer_rootCertificateDer: new Uint8Array(new X509Certificate(mock.ca).raw),
    TESTING_localServer_httpVersion: 1,
  })
  // HTTP/1.1 leaves libsignal no gRPC: it speaks the same WebSocket as the channel.
  oracle = (await net.connectUnauthenticatedChat({ onConnectionInterrupted: () => {} })) as typeof oracle
  const dialer = signalDialer({ url: `https://127.0.0.1:${mock.port}`, ca: mock.ca })
  ours = new SignalLink({
    socket: 'unidentified',
    clock: systemClock,
    ...defaultSignalConfig,
    dial: signal => dialer.dial({ socket: 'unidentified', path: '/v1/websocket/' }, signal),
    onRequest: request => request.respond(400),
    onState: () => {},
  })
  ours.start()
  await ours.ensureAlive(0, 30_000)
})
afterEach(() => mock.setRules())
afterAll(async () => {
  ours?.stop()
  await oracle?.disconnect()
  await mock?.close()
})

const contents = [
  { deviceId: 1, registrationId: 4711, contents: new Uint8Array([1, 2, 3]) },
  { deviceId: 3, registrationId: 99, contents: new Uint8Array([4, 5]) },
]
const timestamp = 1_760_000_000_000
const accessKey = (): Uint8Array<ArrayBuffer> => new Uint8Array(accessKeyOf(bob.profileKey))
const byOracle = () =>
  oracle.sendMessage({
    destination: Aci.parseFromServiceIdString(bob.aci),
    timestamp,
    contents,
    auth: { accessKey: accessKey() },
    onlineOnly: false,
    urgent: true,
  })
const byUs = async () => {
  const messages = contents.map(({ deviceId, registrationId, contents: content }) => ({
    deviceId,
    registrationId,
    content,
    type: 6,
  }))
  const response = await ours.request({
    verb: 'PUT',
    path: `/v1/messages/${bob.aci}`,
    json: messageList(messages, { timestamp, urgent: true }),
    headers: { 'unidentified-access-key': Buffer.from(accessKey()).toString('base64') },
  })
  return answerOf(response, defaultSignalConfig)
}
const errorOf = async (work: Promise<unknown>): Promise<LibSignalErrorBase> => {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof LibSignalErrorBase) return error
  throw new Error(`no error of libsignal: ${String(error)}`)
}

describe('against libsignal’s own client', () => {
  it('S05 the same request for a sealed message: path, right of access, and every field of the list', async () => {
    await mock.setRules({
      path: '/v1/messages',
      answer: { status: 200, json: {}, headers: { 'content-type': 'application/json' } },
    })
    await mock.clearRequests()
    await byOracle()
    await byUs()
    const [theirs, own] = await mock.messageRequests()
    expect(own?.verb).toBe(theirs?.verb)
    expect(own?.path.split('?')[0]).toBe(theirs?.path.split('?')[0])
    const access = (headers: readonly string[] = []) =>
      headers.map(header => header.replace(': ', ':')).filter(header => header.startsWith('unidentified-access-key'))
    expect(access(own?.headers)).toEqual(access(theirs?.headers))
    expect(access(own?.headers)).toHaveLength(1)
    expect(JSON.parse(own?.body ?? '')).toEqual(JSON.parse(theirs?.body ?? ''))
  })

  it.each([
    [401, {}, {}, ErrorCode.RequestUnauthorized, { type: 'unauthorized' }],
    [404, {}, {}, ErrorCode.ServiceIdNotFound, { type: 'unregistered' }],
    [
      409,
      { missingDevices: [2, 4], extraDevices: [3] },
      {},
      ErrorCode.MismatchedDevices,
      { type: 'mismatched', missing: [2, 4], extra: [3] },
    ],
    [410, { staleDevices: [1, 3] }, {}, ErrorCode.MismatchedDevices, { type: 'stale', stale: [1, 3] }],
    [429, {}, { 'retry-after': '7' }, ErrorCode.RateLimitedError, { type: 'limited', waitMs: 7_000 }],
    [500, {}, {}, ErrorCode.IoError, { type: 'serverError' }],
  ] as const)('S07 S08 %d means the same', async (status, json, headers, code, answer) => {
    const withType = { 'content-type': 'application/json', ...headers }
    await mock.setRules({ path: '/v1/messages', answer: { status, json, headers: withType } })
    const error = await errorOf(byOracle())
    expect(ErrorCode[error.code]).toBe(ErrorCode[code])
    expect(await byUs()).toMatchObject({ ...answer, status })
    if (code === ErrorCode.MismatchedDevices) {
      const [entry] = (
        error as unknown as {
          entries: Array<{ missingDevices: number[]; extraDevices: number[]; staleDevices: number[] }>
        }
      ).entries
      const {
        missing = [],
        extra = [],
        stale = [],
      } = answer as { missing?: readonly number[]; extra?: readonly number[]; stale?: readonly number[] }
      expect(entry).toMatchObject({ missingDevices: [...missing], extraDevices: [...extra], staleDevices: [...stale] })
    }
    if (code === ErrorCode.RateLimitedError) expect(error).toMatchObject({ retryAfterSecs: 7 })
  })

  it('S08 428 to an identified message is a challenge to both', async () => {
    const account = await mock.createPrimary('Dan')
    const { authorization } = await RawDevice.link(mock, account.aci)
    const [username = '', password = ''] = Buffer.from(authorization.slice('Basic '.length), 'base64')
      .toString()
      .split(':')
    const listener = { onConnectionInterrupted: () => {}, onIncomingMessage: () => {}, onQueueEmpty: () => {} }
    const connection = (await net.connectAuthenticatedChat(
      username,
      password,
      false,
      listener,
    )) as Net.AuthenticatedChatConnection & Net.AuthMessagesService
    const json = { token: 'a token', options: ['captcha'] }
    const headers = { 'content-type': 'application/json', 'retry-after': '30' }
    await mock.setRules({ path: '/v1/messages', answer: { status: 428, json, headers } })
    const key = PrivateKey.generate().getPublicKey()
    const message = SignalMessage._new(3, new Uint8Array(32), key, 0, 0, new Uint8Array(16), key, key, new Uint8Array())
    const request = DecryptionErrorMessage.forOriginal(message.serialize(), CiphertextMessageType.Whisper, timestamp, 1)
    const content = PlaintextContent.from(request).asCiphertextMessage()
    const error = await errorOf(
      connection.sendMessage({
        destination: Aci.parseFromServiceIdString(bob.aci),
        timestamp,
        contents: [{ deviceId: 1, registrationId: 1, contents: content }],
        onlineOnly: false,
        urgent: true,
      }),
    )
    expect(ErrorCode[error.code]).toBe(ErrorCode[ErrorCode.RateLimitChallengeError])
    expect(await byUs()).toMatchObject({
      type: 'challenge',
      status: 428,
      waitMs: 30_000,
      token: 'a token',
      options: ['captcha'],
    })
    await connection.disconnect()
  })

  it.each([
    [4409, ErrorCode.ConnectedElsewhere, 'closed.replaced'],
    [4401, ErrorCode.ConnectionInvalidated, 'closed.invalidated'],
  ])('S02 close code %d means the same', async (code, expected, state) => {
    const account = await mock.createPrimary('Carol')
    const { deviceId, authorization } = await RawDevice.link(mock, account.aci)
    const [username = '', password = ''] = Buffer.from(authorization.slice('Basic '.length), 'base64')
      .toString()
      .split(':')
    const closed = new Promise<LibSignalErrorBase | null>(resolve => {
      const listener = {
        onConnectionInterrupted: resolve as never,
        onIncomingMessage: () => {},
        onQueueEmpty: () => {},
      }
      void net
        .connectAuthenticatedChat(username, password, false, listener)
        .then(() => mock.call('closeSocket', { aci: account.aci, deviceId, code }))
    })
    expect(ErrorCode[(await closed)?.code ?? 0]).toBe(ErrorCode[expected])
    const dialer = signalDialer({ url: `https://127.0.0.1:${mock.port}`, ca: mock.ca })
    const link = new SignalLink({
      socket: 'identified',
      clock: systemClock,
      ...defaultSignalConfig,
      dial: signal => dialer.dial({ socket: 'identified', path: '/v1/websocket/', authorization }, signal),
      onRequest: request => request.respond(200),
      onState: () => {},
    })
    link.start()
    expect(await link.ensureAlive(0, 30_000)).toBe(true)
    await mock.call('closeSocket', { aci: account.aci, deviceId, code })
    while (link.isOpen) await new Promise(resolve => setTimeout(resolve, 5))
    expect(link.state).toBe(state)
    link.stop()
  })
})
