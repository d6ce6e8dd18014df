import { SenderCertificate } from '@signalapp/libsignal-client'
import type { Bytes } from '../encoding/index.js'
import type { Clock } from '../runtime/clock.js'
import { native } from './crypto/bytes.js'
import type { SignalConfig } from './config.js'
import { jsonOf, type SignalRequest, type SignalResponse } from './net/session.js'

export interface CertificatesOptions {
  readonly config: SignalConfig
  readonly clock: Clock
  readonly request: (request: SignalRequest) => Promise<SignalResponse>
  readonly found: (available: boolean) => void
}

const day = 24 * 3_600_000

interface Held {
  readonly bytes: Bytes
  readonly expiresAt: number
  readonly renewAt: number
}

/** The sender certificate: fetched when it is first needed, and again a day (or half its life) before it expires. */
export class Certificates {
  readonly #options: CertificatesOptions
  #held: Held | undefined
  #fetching: Promise<Held | undefined> | undefined

  constructor(options: CertificatesOptions) {
    this.#options = options
  }

  /** A certificate that is valid now, or undefined when none can be had: then messages go identified. */
  async current(): Promise<Bytes | undefined> {
    const now = this.#options.clock.now()
    const held = this.#held
    if (held !== undefined && now < held.renewAt) return held.bytes
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    const fetched = await this.#fetching
    if (fetched !== undefined) return fetched.bytes
    // Due for renewal, but still good.
    return held !== undefined && now < held.expiresAt ? held.bytes : undefined
  }

  async #fetch(): Promise<Held | undefined> {
    const { config, clock, request, found } = this.#options
    const includeE164 = config.certificate === 'e164'
    try {
      const response = await request({ verb: 'GET', path: `/v1/certificate/delivery?includeE164=${includeE164}` })
      const { certificate } = jsonOf(response)
      if (response.status !== 200 || typeof certificate !== 'string') throw new Error('no certificate')
      const bytes = Buffer.from(certificate, 'base64')
      const expiresAt = SenderCertificate.deserialize(native(bytes)).expiration()
      const now = clock.now()
      this.#held = { bytes, expiresAt, renewAt: expiresAt - Math.min(day, (expiresAt - now) / 2) }
      found(true)
    } catch {
      found(false)
      return undefined
    }
    return this.#held
  }
}
