import { encodePublicKey, sha256, x25519 } from '../crypto/index.js'
import { type Bytes, list } from '../encoding/index.js'
import { CallError, InternalError } from '../errors.js'
import {
  decodeE2ePrivateKeys,
  decodeRatchetState,
  decrypt,
  encodeRatchetState,
  initRcvRatchet,
  type RatchetState,
  x3dhInitiator,
} from '../ratchet/index.js'
import { type Effects, follow } from '../runtime/follow.js'
import { type AgentEnvelope, versionsAllowKem } from '../smp/protocol/agentEnvelope.js'
import { decodeAgentMessage } from '../smp/protocol/agentMessage.js'
import { encodeQueueInfo } from '../smp/protocol/queueInfo.js'
import { formatRouterAddress } from '../smp/protocol/routerAddress.js'
import { confirmations, handshakes, rcvQueues } from '../store/agent/connections.js'
import { shortLinks } from '../store/agent/links.js'
import { insert, patch, remove } from '../store/index.js'
import { newId } from './queues.js'
import { acknowledged, type Arrival, patchConnection, type Step } from './arrival.js'
import { complete, decideConnection, statusChange } from './decideConnection.js'
import { secureReceiveStep } from './handshakeSteps.js'
import { eventOf, skippedKeysOf } from './rows.js'

type Confirmation = Extract<AgentEnvelope, { type: 'confirmation' }>

/**
 * A confirmation. At the initiator it carries X3DH parameters: ratchet, queue secret and confirmation are stored in this one commit
 * (B13). At the joiner it completes the connection, or gives the key that its router must know first (B12, B14). Either waits for the KEM
 * where its keys are in play (B19), and rejects with KemError when nothing could be decided.
 */
export const receiveConfirmation = async (arrival: Arrival): Promise<Step> => {
  const { envelope } = arrival.opened.content ?? {}
  if (envelope?.type !== 'confirmation') throw new InternalError('no confirmation')
  checkVersion(arrival, envelope)
  return envelope.e2e === undefined ? confirmedAtJoiner(arrival, envelope) : confirmedAtInitiator(arrival, envelope)
}

// Accepted when its version is in range or at most the agreed one, so that a downgraded peer can finish (B17).
const checkVersion = ({ context, connection }: Arrival, { agentVersion }: Confirmation): void => {
  const { min, max } = context.config.agentVersions
  if ((agentVersion >= min && agentVersion <= max) || agentVersion <= connection.agentVersion) return
  throw new CallError('AGENT_VERSION', 'the other party speaks another version of the agent protocol', {
    field: connection.connectionId,
    facts: { version: agentVersion, min, max },
  })
}

const confirmedAtInitiator = async (
  arrival: Arrival,
  { agentVersion, e2e, encryptedInfo }: Confirmation,
): Promise<Step> => {
  const { context, state, connection, queue, opened } = arrival
  const { min, max } = context.config.e2eVersions
  if (e2e === undefined || connection.x3dhKeys === null) return prohibited(arrival, 'confirmation: incorrect state')
  if (e2e.version < min || e2e.version > max) {
    throw new CallError('AGENT_VERSION', 'the other party speaks another version of the ratchet', {
      field: connection.connectionId,
      facts: { version: e2e.version, min, max },
    })
  }
  const own = decodeE2ePrivateKeys(connection.x3dhKeys)
  const versions = { current: e2e.version, maxSupported: max }
  const secrets = await x3dhInitiator(own, e2e, context.ratchetPorts.kem)
  const pqSupport = connection.pqSupport && versionsAllowKem(agentVersion, e2e.version)
  const ratchet = initRcvRatchet(versions, own.key2, secrets, pqSupport)
  const { plaintext, ratchet: nextRatchet } = await decryptInfo(context, ratchet, encryptedInfo)
  const message = decodeAgentMessage(plaintext)
  if (message.type !== 'connInfoReply') return prohibited(arrival, 'confirmation without reply queues')
  const senderKey = opened.content?.senderKey
  const decision = decideConnection(state, connection, {
    type: 'confirmation.received',
    form: 'infoWithReply',
    senderKey: senderKey !== undefined,
  })
  const { connectionId } = connection
  const confirmationId = newId(context.random)
  const routers = message.queues.map(info => formatRouterAddress(info.address.router))
  const { changes, events } = follow(decision, {
    createRatchet: () => ({
      changes: [
        patchConnection(connection, {
          agentVersion: Math.min(agentVersion, context.config.agentVersions.max),
          pqSupport,
          ratchet: encodeRatchetState(nextRatchet),
          x3dhKeys: null,
          lastExternalId: 1,
          lastReceiveHash: sha256(plaintext),
        }),
        patch(rcvQueues, { queueId: queue.queueId }, queueConfirmed(arrival)),
        remove(handshakes, { connectionId }),
        // The router has dropped the data of its short link with this message.
        ...(connection.shortLink === null ? [] : [remove(shortLinks, { connectionId })]),
      ],
    }),
    storeConfirmation: () => ({
      changes: [
        insert(confirmations, {
          confirmationId,
          connectionId,
          senderKey: queueConfirmed(arrival).senderKey,
          replyQueues: list(message.queues, encodeQueueInfo),
          ownInfo: null,
          createdAt: state.now,
        }),
      ],
    }),
    notifyConf: () => ({
      events: [
        eventOf(connection, 'CONF', { confirmationId, routers, pqSupport }, { body: Buffer.from(message.info) }),
      ],
    }),
    refuse: ({ reason }) => prohibited(arrival, String(reason)),
  })
  return acknowledged({ changes: [...statusChange(connectionId, decision), ...changes], events })
}

const confirmedAtJoiner = async (arrival: Arrival, { encryptedInfo }: Confirmation): Promise<Step> => {
  const { context, state, connection, queue, opened } = arrival
  if (connection.ratchet === null) return prohibited(arrival, 'confirmation: incorrect state')
  const skipped = skippedKeysOf(state, connection.connectionId)
  const before = decodeRatchetState(connection.ratchet)
  const { plaintext, ratchet, pqEncryption } = await decryptInfo(context, before, encryptedInfo, skipped)
  const message = decodeAgentMessage(plaintext)
  if (message.type !== 'connInfo') return prohibited(arrival, 'confirmation with reply queues at the joining party')
  const decision = decideConnection(state, connection, {
    type: 'confirmation.received',
    form: 'info',
    senderKey: opened.content?.senderKey !== undefined,
  })
  const { connectionId } = connection
  const confirmed = (status: string): Effects => ({
    changes: [
      patchConnection(connection, {
        ratchet: encodeRatchetState(ratchet),
        lastExternalId: 1,
        lastReceiveHash: sha256(plaintext),
      }),
      patch(rcvQueues, { queueId: queue.queueId }, { ...queueConfirmed(arrival), status }),
    ],
  })
  const effects = follow(decision, {
    secureReceiving: () => confirmed('active'),
    storeSenderKey: () => confirmed('confirmed'),
    notifyInfo: () => ({
      events: [eventOf(connection, 'INFO', { pqSupport: connection.pqSupport }, { body: Buffer.from(message.info) })],
    }),
    notifyCon: () => complete(connection, pqEncryption),
    commandSecureReceive: () => secureReceiveStep(context, state, connectionId),
    refuse: ({ reason }) => prohibited(arrival, String(reason)),
  })
  return acknowledged({ ...effects, changes: [...statusChange(connectionId, decision), ...effects.changes] })
}

const queueConfirmed = ({ queue, opened }: Arrival) => {
  if (opened.senderDhKey === undefined) throw new InternalError('confirmation without a key')
  const { senderKey } = opened.content ?? {}
  return {
    status: 'confirmed',
    e2eSecret: x25519(queue.e2ePrivateKey, opened.senderDhKey),
    senderKey: senderKey === undefined ? null : encodePublicKey(senderKey.algorithm, senderKey.raw),
    clientVersion: Math.min(queue.clientVersion, opened.clientVersion),
  }
}

const decryptInfo = async (
  { ratchetPorts }: Arrival['context'],
  ratchet: RatchetState,
  encryptedInfo: Bytes,
  skipped: Parameters<typeof decrypt>[1] = [],
): Promise<{ plaintext: Bytes; ratchet: RatchetState; pqEncryption: boolean }> => {
  const { result, state, pqEncrypted } = await decrypt(ratchet, skipped, encryptedInfo, ratchetPorts)
  if (!result.ok) throw result.error
  return { plaintext: result.plaintext, ratchet: state, pqEncryption: pqEncrypted }
}

const prohibited = ({ connection }: Arrival, reason: string): never => {
  throw new CallError('AGENT_PROHIBITED', reason, { field: connection.connectionId })
}
