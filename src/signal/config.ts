/** How the channel waits, repeats and bounds: every time in ms. */
export interface SignalConfig {
  /** Between keepalives of a quiet socket; the reference clients take 55 s. */
  readonly keepaliveMs: number
  /** How long a keepalive may stay unanswered. */
  readonly probeDeadlineMs: number
  /** Before a send a socket is probed when nothing was received on it for so long. */
  readonly probeQuietMs: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  /** Requests of one socket that may be unanswered at once; others wait for their turn. */
  readonly requestsInFlight: number
  /** How long a send waits for a socket that is coming back, before it takes the other one or waits. */
  readonly sendConnectMs: number
  readonly backoff: { readonly initial: number; readonly max: number }
  /** Between attempts to send a message that the server did not answer. */
  readonly sendRetry: { readonly initial: number; readonly max: number }
  /** How long a message may wait before it is reported failed. */
  readonly messageTimeoutMs: number
  /** Answers 409 and 410 to one message before it is reported failed. */
  readonly maxRounds: number
  /** The wait after 428 and 429 when the server names none. */
  readonly challengeWaitMs: number
  readonly limitedWaitMs: number
  /** What the sender certificate tells: with the number, or the service id alone. */
  readonly certificate: 'e164' | 'uuidOnly'
  /** Below `preKeysLow` one-time keys at the server, `preKeysBatch` new ones are uploaded. */
  readonly preKeysLow: number
  readonly preKeysBatch: number
  /** Between looks at the number of keys, and the age at which signed and last-resort keys are replaced. */
  readonly preKeysCheckMs: number
  readonly preKeysRotateMs: number
  /** How long replaced keys can still be used. */
  readonly preKeysKeepMs: number
  /** How long a sent message can be asked for by a retry receipt, and an arrived one is known again. */
  readonly logRetentionMs: number
  readonly seenRetentionMs: number
  /** Whether messages are answered with delivery receipts by themselves. */
  readonly deliveryReceipts: boolean
  /** Messages that were received and not yet stored; past this the socket is dropped. */
  readonly maxUnstored: number
}

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

export const defaultSignalConfig: SignalConfig = {
  keepaliveMs: 30 * second,
  probeDeadlineMs: 12 * second,
  probeQuietMs: 5 * second,
  connectTimeoutMs: 15 * second,
  requestTimeoutMs: 15 * second,
  requestsInFlight: 64,
  sendConnectMs: 5 * second,
  backoff: { initial: second, max: 30 * second },
  sendRetry: { initial: 2 * second, max: 2 * minute },
  messageTimeoutMs: 2 * day,
  maxRounds: 5,
  challengeWaitMs: hour,
  limitedWaitMs: minute,
  certificate: 'e164',
  preKeysLow: 50,
  preKeysBatch: 100,
  preKeysCheckMs: 12 * hour,
  preKeysRotateMs: 2 * day,
  preKeysKeepMs: 30 * day,
  logRetentionMs: 14 * day,
  seenRetentionMs: 60 * day,
  deliveryReceipts: true,
  maxUnstored: 1024,
}
