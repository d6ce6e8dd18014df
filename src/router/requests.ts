/** The commands in a block, as a router reads them: pure, and never more than the block holds. */
import type { Bytes } from '../encoding/index.js'
import { authorizationAlgorithm } from '../smp/protocol/authorization.js'
import { type Command, decodeCommand } from '../smp/protocol/commands.js'
import { checkCredentials } from '../smp/protocol/credentials.js'
import { type SmpError, smpErrorOfDecodeError } from '../smp/protocol/routerErrors.js'
import { decodeTransmission, type RawTransmission, readBatch } from '../smp/protocol/transmission.js'
import { partyOf } from './authorize.js'
import type { QueueParty } from './queue.js'

/** A well-formed command that is not authorized yet. */
export interface ReadRequest {
  readonly command: Command
  readonly corrId: Bytes
  readonly entityId: Bytes
  /** By which id it names a queue; undefined when it names none. */
  readonly party: QueueParty | undefined
  readonly raw: RawTransmission
}

/** What is answered at once. */
export interface RejectedRequest {
  readonly corrId: Bytes
  readonly entityId: Bytes
  readonly error: SmpError
}

/**
 * Reads the content of a block: at most 255 transmissions. Bytes that are no transmission are answered BLOCK, without ids; a
 * command that cannot be read CMD SYNTAX or UNKNOWN; one with missing or extra credentials CMD NO_AUTH, HAS_AUTH or NO_ENTITY.
 */
export const readRequests = (version: number, content: Bytes): Array<ReadRequest | RejectedRequest> => {
  const transmissions = decoded(() => readBatch(content))
  if (transmissions === undefined) return [notABlock(noBytes)]
  return transmissions.map(bytes => readRequest(version, bytes))
}

const readRequest = (version: number, bytes: Bytes): ReadRequest | RejectedRequest => {
  const raw = decoded(() => decodeTransmission(version, bytes))
  if (raw === undefined) return notABlock(noBytes)
  const { authorization, corrId, entityId } = raw
  if (authorization.length > 0 && authorizationAlgorithm(authorization) === undefined) return notABlock(corrId)
  try {
    const command = decodeCommand(version, raw.command)
    const error = checkCredentials(command, authorization.length > 0, entityId) ?? serviceError(command, raw)
    if (error !== undefined) return { corrId, entityId, error }
    return { command, corrId, entityId, party: partyOf(command), raw }
  } catch (error) {
    return { corrId, entityId, error: smpErrorOfDecodeError(error) }
  }
}

/** No session of this router is a service's. */
const serviceError = ({ type }: Command, { serviceSignature }: RawTransmission): SmpError | undefined =>
  serviceSignature !== undefined || type === 'SUBS' || type === 'NSUBS' ? { type: 'SERVICE' } : undefined

const noBytes: Bytes = new Uint8Array(0)

const notABlock = (corrId: Bytes): RejectedRequest => ({ corrId, entityId: noBytes, error: { type: 'BLOCK' } })

/** What `read` gives; undefined when the bytes are malformed. */
const decoded = <T>(read: () => T): T | undefined => {
  try {
    return read()
  } catch (error) {
    smpErrorOfDecodeError(error)
    return undefined
  }
}
