/** What agents put into messages of a queue, around agent messages (AP:815-882), and how long they make it. */
import {
  asBuffer,
  ascii,
  type Bytes,
  concat,
  decodeAll,
  large,
  maybe,
  type Parts,
  type Reader,
  word16,
} from '../../encoding/index.js'
import { type E2eParams, encodeE2eParams, KEM_E2E_VERSION, readE2eParams } from '../../ratchet/index.js'
import { formatConnectionRequest, type InvitationRequest, parseConnectionRequest } from './connectionRequest.js'

/** `agentVersion` is the highest that the sender and the peer have in common, in a message the sender's highest. */
export type AgentEnvelope =
  /** Secures a queue and starts the ratchet; the info is encrypted with that ratchet. */
  | {
      readonly type: 'confirmation'
      readonly agentVersion: number
      /** None in the initiator's answer: the ratchet stands already. */
      readonly e2e?: E2eParams | undefined
      readonly encryptedInfo: Bytes
    }
  | { readonly type: 'message'; readonly agentVersion: number; readonly encryptedMessage: Bytes }
  /** To a contact address: asks its owner to connect. */
  | {
      readonly type: 'invitation'
      readonly agentVersion: number
      readonly request: InvitationRequest
      readonly info: Bytes
    }
  /** A new ratchet key, when the old ratchet no longer decrypts. A KEM key in it is only ever proposed. */
  | { readonly type: 'ratchetKey'; readonly agentVersion: number; readonly e2e: E2eParams; readonly info: Bytes }

export const encodeAgentEnvelope = (envelope: AgentEnvelope): Bytes => {
  const version = word16(envelope.agentVersion, 'agentVersion')
  switch (envelope.type) {
    case 'confirmation':
      return concat(version, ascii('C'), maybe(envelope.e2e, encodeE2eParams), envelope.encryptedInfo)
    case 'message':
      return concat(version, ascii('M'), envelope.encryptedMessage)
    case 'invitation':
      return concat(version, ascii('I'), large(ascii(formatConnectionRequest(envelope.request))), envelope.info)
    case 'ratchetKey':
      return concat(version, ascii('R'), encodeE2eParams(envelope.e2e), envelope.info)
  }
}

/** The envelope of a ratchet message that is not in one piece. */
export const messageEnvelopeParts = (agentVersion: number, encryptedMessage: Parts): Parts => [
  word16(agentVersion, 'agentVersion'),
  ascii('M'),
  ...encryptedMessage,
]

/**
 * Reads an envelope.
 * @throws DecodeError
 */
export const decodeAgentEnvelope = (bytes: Bytes): AgentEnvelope => decodeAll(bytes, 'agentEnvelope', readAgentEnvelope)

const readAgentEnvelope = (reader: Reader): AgentEnvelope => {
  const agentVersion = reader.word16('agentVersion')
  const tag = String.fromCharCode(reader.byte('type'))
  switch (tag) {
    case 'C': {
      const e2e = reader.maybe(readE2eParams, 'e2e')
      return { type: 'confirmation', agentVersion, ...(e2e === undefined ? {} : { e2e }), encryptedInfo: reader.rest() }
    }
    case 'M':
      return { type: 'message', agentVersion, encryptedMessage: reader.rest() }
    case 'I':
      return { type: 'invitation', agentVersion, request: readInvitation(reader), info: reader.rest() }
    case 'R':
      return { type: 'ratchetKey', agentVersion, e2e: readProposedE2eParams(reader), info: reader.rest() }
    default:
      return reader.fail('type', 'is no agent envelope')
  }
}

const readInvitation = (reader: Reader): InvitationRequest => {
  const request = parseConnectionRequest(asBuffer(reader.large('request')).toString('utf8'))
  return request.mode === 'invitation' ? request : reader.fail('request', 'is no invitation')
}

const readProposedE2eParams = (reader: Reader): E2eParams => {
  const e2e = readE2eParams(reader)
  return e2e.kem?.kind === 'accepted' ? reader.fail('e2e', 'cannot accept a KEM key') : e2e
}

/** The agent version from which connections may have a KEM, which takes room from messages. */
const VERSION_KEM = 5

/**
 * Whether a connection of these versions can have a KEM (B19): one of the conditions that must all hold. The e2e version is not known
 * before the other party's keys are, as with a contact address, and then rules nothing out.
 */
export const versionsAllowKem = (agentVersion: number, e2eVersion?: number): boolean =>
  agentVersion >= VERSION_KEM && (e2eVersion === undefined || e2eVersion >= KEM_E2E_VERSION)

/** Bytes that connection info is padded to before the ratchet encrypts it. */
export const paddedInfoLength = (agentVersion: number, kemSupport: boolean): number =>
  kemSupport && agentVersion >= VERSION_KEM ? 11_106 : 14_832

/** Bytes that a message is padded to before the ratchet encrypts it. */
export const paddedMessageLength = (agentVersion: number, kemSupport: boolean): number =>
  kemSupport && agentVersion >= VERSION_KEM ? 13_618 : 15_840
