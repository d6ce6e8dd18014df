import { boxSecret, NONCE_BYTES, type Random } from '../../crypto/index.js'
import { type Bytes, intersect, type VersionRange } from '../../encoding/index.js'
import { RouterError, type TransportError } from '../../errors.js'
import {
  type ForwardedTransmission,
  openForwardedResponse,
  PROXIED_VERSIONS,
  sealForwardedTransmission,
} from '../protocol/proxy.js'
import type { SignedRouterKey } from '../protocol/responses.js'
import type { RouterAddress } from '../protocol/routerAddress.js'
import type { Agreed } from './handshake.js'
import type { RouterSession } from './types.js'

/** A proxy's session with a relay: one for all clients that send through the proxy. It ends once, like every session. */
export interface RelaySession {
  readonly relay: RouterAddress
  /** By which clients name this session in PFWD. */
  readonly sessionId: Bytes
  /** What the relay speaks with clients behind a proxy; undefined when it speaks no version that may be used there. */
  readonly versionRange: VersionRange | undefined
  /** The relay's chain and signed session key for clients, who check them again. */
  readonly routerKey: SignedRouterKey
  readonly closed: boolean
  /** Transmissions that are not answered yet. */
  readonly underWay: number
  /**
   * Forwards what a client boxed for the relay and resolves with the relay's boxed answer (RFWD, RRES).
   *
   * Rejects as `RouterSession.send` does, and with CryptoError CRYPTO_BOX or DecodeError for an answer that does not open or cannot be read.
   */
  forward(transmission: ForwardedTransmission): Promise<Bytes>
  onClose(handler: (reason: TransportError) => void): void
  close(): void
}

const noEntity = new Uint8Array(0)

/** The relay's session over a session with the proxy flag. */
export const createRelaySession = (
  session: RouterSession,
  { secret, offered }: Pick<Agreed, 'secret' | 'offered'>,
  random: Random,
): RelaySession => {
  const key = boxSecret(secret)
  return {
    relay: session.router,
    sessionId: session.tlsSessionId,
    versionRange: intersect(offered.versionRange, PROXIED_VERSIONS),
    routerKey: offered.routerKey,
    get closed() {
      return session.closed
    },
    get underWay() {
      const { inFlight, queued } = session.counts()
      return inFlight + queued
    },
    forward: async transmission => {
      const corrId = random(NONCE_BYTES)
      const command = { type: 'RFWD', transmission: sealForwardedTransmission(key, corrId, transmission) } as const
      const answer = await session.send({ command, entityId: noEntity, corrId })
      if (answer.type === 'RRES') return openForwardedResponse(key, corrId, answer.response).response
      throw new RouterError('SMP_UNEXPECTED', `the relay answered RFWD with ${answer.type}`, {
        field: 'response',
        facts: { type: answer.type },
      })
    },
    onClose: handler => session.onClose(handler),
    close: () => session.close(),
  }
}
