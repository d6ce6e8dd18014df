/**
 * What proxies forward (RFWD): opened here, done as any other command, and the answer boxed for the client behind the proxy and once more
 * for the proxy. All of it is pure; the session runs the commands.
 */
import { type BoxKey, boxSecret, x25519 } from '../crypto/index.js'
import { type Bytes, concat, includesVersion, type Parts } from '../encoding/index.js'
import { CryptoError, EncodeError } from '../errors.js'
import type { CommandType } from '../smp/protocol/commands.js'
import {
  type ForwardedTransmission,
  openForwardedTransmission,
  openProxiedTransmission,
  sealForwardedResponse,
  sealProxiedResponse,
} from '../smp/protocol/proxy.js'
import { type Response, responseParts } from '../smp/protocol/responses.js'
import { commandError, type SmpError, smpErrorOfDecodeError } from '../smp/protocol/routerErrors.js'
import { type Batch, batchParts, transmissionParts } from '../smp/protocol/transmission.js'
import { SMP_VERSIONS } from '../smp/protocol/versions.js'
import type { AgreedSession } from './handshake.js'
import { type ReadRequest, type RejectedRequest, readRequests } from './requests.js'

/** A command that came through a proxy. */
export interface Forwarded {
  readonly request: ReadRequest | RejectedRequest
  /** The version that the client behind the proxy chose. */
  readonly version: number
  /** The answer to RFWD that carries this answer to the command. */
  seal(response: Response): Response
}

/** The session with a proxy, as far as the boxes need it. */
export type ProxyKeys = Pick<AgreedSession, 'secret' | 'routerPrivateKey'>

/** What may be forwarded: commands that need no more than a queue's or a link's id. */
const allowed: ReadonlySet<CommandType> = new Set(['SEND', 'SKEY', 'LKEY', 'LGET'] as const)

/**
 * Opens the body of RFWD. An error is the proxy's: boxes that do not open (CRYPTO), a body that cannot be read (CMD SYNTAX), more or less than
 * one transmission in it (BLOCK), a session without keys or a version that is not spoken here. What is wrong with the command itself is
 * answered to the client inside of the boxes.
 */
export const openForwarded = (
  { secret, routerPrivateKey }: ProxyKeys,
  corrId: Bytes,
  body: Bytes,
): Forwarded | { readonly error: SmpError } => {
  if (secret === undefined) return { error: transportError('NO_AUTH') }
  const proxyKey = boxSecret(secret)
  try {
    const forwarded = openForwardedTransmission(proxyKey, corrId, body)
    const { version, key, transmission } = forwarded
    if (!includesVersion(SMP_VERSIONS, version)) return { error: transportError('VERSION') }
    const clientKey = boxSecret(x25519(routerPrivateKey, key))
    const requests = readRequests(version, openProxiedTransmission(clientKey, forwarded.corrId, transmission))
    const [request] = requests
    if (request === undefined || requests.length > 1) return { error: { type: 'BLOCK' } }
    return {
      request: checkAllowed(request),
      version,
      seal: response => seal({ proxyKey, clientKey, corrId, forwarded, request }, response),
    }
  } catch (error) {
    return { error: error instanceof CryptoError ? { type: 'CRYPTO' } : smpErrorOfDecodeError(error) }
  }
}

const transportError = (error: 'NO_AUTH' | 'VERSION'): SmpError => ({
  type: 'PROXY',
  error: { type: 'BROKER', error: { type: 'TRANSPORT', error } },
})

const checkAllowed = (request: ReadRequest | RejectedRequest): ReadRequest | RejectedRequest => {
  if ('error' in request || allowed.has(request.command.type)) return request
  return { corrId: request.corrId, entityId: request.entityId, error: commandError('PROHIBITED') }
}

interface Boxes {
  readonly proxyKey: BoxKey
  readonly clientKey: BoxKey
  /** Of RFWD. */
  readonly corrId: Bytes
  readonly forwarded: ForwardedTransmission
  readonly request: ReadRequest | RejectedRequest
}

const seal = ({ proxyKey, clientKey, corrId, forwarded, request }: Boxes, response: Response): Response => {
  const { version, corrId: clientCorrId } = forwarded
  const { corrId: requestCorrId, entityId } = request
  const command = responseParts(version, response)
  const answer = transmissionParts(version, { authorization: noBytes, corrId: requestCorrId, entityId, command })
  const [batch] = batchParts([answer]) as [Batch<Parts>]
  try {
    if ('error' in batch) throw batch.error
    const boxed = sealProxiedResponse(clientKey, clientCorrId, concat(...batch.block))
    const forwardedResponse = { corrId: clientCorrId, response: boxed }
    return { type: 'RRES', response: sealForwardedResponse(proxyKey, corrId, forwardedResponse) }
  } catch (error) {
    if (error instanceof EncodeError) return { type: 'ERR', error: { type: 'BLOCK' } }
    throw error
  }
}

const noBytes: Bytes = new Uint8Array(0)
