import { type PublicKey, SenderCertificate } from '@signalapp/libsignal-client'
import type { Bytes } from '../encoding/index.js'
import { asDuologueError } from '../errors.js'
import type { Clock, TimerHandle } from '../runtime/clock.js'
import { native } from './crypto/bytes.js'
import type { SignalConfig } from './config.js'
import { jsonOf, type SignalRequest, type SignalResponse } from './net/session.js'

export interface CertificatesOptions {
  readonly config: SignalConfig
  readonly clock: Clock
  /** The device that a certificate must name: another one after it was linked anew. */
  readonly device: () => number | null | undefined
  /** Keys that receivers believe in. */
  readonly trustRoots: readonly PublicKey[]
  readonly request: (request: SignalRequest) => Promise<SignalResponse>
  readonly found: (available: boolean) => void
}

const day = 24 * 3_600_000

interface Held {
  readonly bytes: Bytes
  readonly deviceId: number
  readonly expiresAt: number
  readonly renewAt: number
}

/** The sender certificate: fetched when it is first needed, and again a day (or half its life) before it expires. */
export class Certificates {
  readonly #options: CertificatesOptions
  #held: Held | undefined
  #fetching: Promise<void> | undefined
  /** Set from a failure until it is asked for again. */
  #askAgain: TimerHandle | undefined
  #wanting = false

  constructor(options: CertificatesOptions) {
    this.#options = options
  }

  /** A certificate that is valid now, or undefined when none can be had: then messages go identified. */
  async current(): Promise<Bytes | undefined> {
    const now = this.#options.clock.now()
    if (this.#held?.deviceId !== this.#options.device()) this.#held = undefined
    if (this.#held !== undefined && now < this.#held.renewAt) return this.#held.bytes
    if (this.#askAgain === undefined)
      this.#fetching ??= this.#fetch().finally(() => {
        this.#fetching = undefined
      })
    await this.#fetching
    // Due for renewal, but still good.
    return this.#held !== undefined && now < this.#held.expiresAt ? this.#held.bytes : undefined
  }

  async #fetch(): Promise<void> {
    const { config, clock, request, found } = this.#options
    const includeE164 = config.certificate === 'e164'
    try {
      const response = await request({ verb: 'GET', path: `/v1/certificate/delivery?includeE164=${includeE164}` })
      const { certificate } = jsonOf(response)
      if (response.status !== 200 || typeof certificate !== 'string') throw new Error('no certificate')
      this.#held = this.#usable(Buffer.from(certificate, 'base64'), clock.now())
      this.#wanting = false
      found(true)
    } catch (error) {
      // A socket that is not open says nothing of certificates: whoever needs one waits for the socket.
      if (asDuologueError(error).code === 'SIGNAL_CLOSED' && !this.#wanting) return
      this.#wanting = true
      this.#askLater()
      found(false)
    }
  }

  // Meanwhile messages go identified, and not each of them asks. It is asked for again even if there are none: health is wrong till then.
  #askLater(): void {
    this.#askAgain = this.#options.clock.setTimeout(() => {
      this.#askAgain = undefined
      void this.current()
    }, askAgainMs)
  }

  // Receivers drop what comes under a certificate that they do not believe, without a word: better none than such a one.
  #usable(bytes: Bytes, now: number): Held {
    const certificate = SenderCertificate.deserialize(native(bytes))
    if (!certificate.validateWithTrustRoots([...this.#options.trustRoots], now)) throw new Error('not to be believed')
    const [expiresAt, deviceId] = [certificate.expiration(), certificate.senderDeviceId()]
    if (deviceId !== this.#options.device()) throw new Error('of another device')
    return { bytes, deviceId, expiresAt, renewAt: expiresAt - Math.min(day, (expiresAt - now) / 2) }
  }
}

/** Until a certificate that could not be had is asked for again, in ms. */
const askAgainMs = 30_000
