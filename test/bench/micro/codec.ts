import { connectionMachine } from '../../../machines/connection.js'
import { rcvQueueMachine } from '../../../machines/rcvQueue.js'
import { generateKeyPair, systemRandom } from '../../../src/crypto/index.js'
import { advanceHeader, decodeRatchetState, encodeRatchetState, encryptBody } from '../../../src/ratchet/index.js'
import { decide } from '../../../src/runtime/decide.js'
import { authorize } from '../../../src/smp/protocol/authorization.js'
import { commandParts, encodeCommand } from '../../../src/smp/protocol/commands.js'
import {
  authorizedBytes,
  authorizedTransmission,
  batchTransmissions,
  decodeTransmission,
  encodeTransmission,
  readBatch,
} from '../../../src/smp/protocol/transmission.js'
import { connections } from '../../../src/store/agent/connections.js'
import { deliveries, sndMessages } from '../../../src/store/agent/messages.js'
import { coalesce } from '../../../src/store/coalesce.js'
import { insert, patch } from '../../../src/store/index.js'
import { writeStatements } from '../../../src/store/sql.js'
import { newPair, receive, send } from '../../ratchet/pair.js'
import { type Case, must } from './cases.js'

const version = 18
const messagePadding = 15_840

/** What carries messages: transmissions, the ratchet, decisions, and the SQL of a commit. */
export const codecCases = (): Case[] => [...transmissionCases(), ...ratchetCases(), ...decisionCases(), ...sqlCases()]

const transmissionCases = (): Case[] => {
  const random = systemRandom
  const key = generateKeyPair('ed25519')
  const [sessionId, corrId, entityId] = [random(32), random(24), random(24)]
  const sendBody = random(16_048)
  const encodeSend = (): void => {
    const command = commandParts(version, { type: 'SEND', flags: { notification: true }, body: sendBody })
    const authorized = authorizedBytes(sessionId, { corrId, entityId, command })
    const authorization = authorize('ed25519', key.privateKey, authorized, { corrId })
    authorizedTransmission(version, sessionId, authorized, authorization)
  }
  const small = (): Uint8Array =>
    encodeTransmission(version, {
      corrId,
      entityId,
      authorization: random(64),
      command: encodeCommand(version, { type: 'ACK', messageId: corrId }),
    })
  const smalls = Array.from({ length: 100 }, small)
  const [batch] = batchTransmissions(smalls)
  const block = must(batch !== undefined && 'block' in batch && batch.block, 'batch')
  return [
    { name: 'SEND 16 KB: encode, sign, transmission', run: encodeSend },
    { name: 'ACK: encode, transmission', run: () => void small() },
    { name: 'batch 100 transmissions', run: () => void batchTransmissions(smalls) },
    {
      name: 'decode a block of 100 transmissions',
      run: () => {
        for (const bytes of readBatch(block)) decodeTransmission(version, bytes)
      },
    },
  ]
}

const ratchetCases = (): Case[] => {
  const plaintext = systemRandom(1100)
  let { joiner, initiator } = newPair()
  const oneWay = (): void => {
    const sent = send(joiner, plaintext, messagePadding)
    const received = receive(initiator, sent.message)
    must(received.result.ok, 'ratchet')
    ;[joiner, initiator] = [sent.side, received.side]
  }
  let turning = newPair()
  const turn = (): void => {
    const sent = send(turning.joiner, plaintext, messagePadding)
    const received = receive(turning.initiator, sent.message)
    must(received.result.ok, 'ratchet')
    // The other side sends next, with a new key.
    turning = { joiner: received.side, initiator: sent.side }
  }
  oneWay()
  turn()
  const { state } = joiner
  const row = encodeRatchetState(state)
  const { header } = advanceHeader(state)
  return [
    { name: 'ratchet: advance the header', run: () => void advanceHeader(state) },
    { name: 'ratchet: encrypt the body', run: () => void encryptBody(header, plaintext, messagePadding) },
    { name: 'ratchet: advance, encrypt, decrypt', run: oneWay },
    { name: 'ratchet: the same with a DH turn', run: turn },
    { name: 'ratchet: row to state and back', run: () => void encodeRatchetState(decodeRatchetState(row)) },
  ]
}

const decisionCases = (): Case[] => [
  {
    name: 'decide: connection, message.send',
    run: () =>
      void decide(connectionMachine, 'connected', {}, { type: 'message.send', early: false, synchronized: true }),
  },
  {
    name: 'decide: rcvQueue, message.arrived',
    run: () =>
      void decide(
        rcvQueueMachine,
        'active',
        { secret: true },
        { type: 'message.arrived', key: false, senderKey: false, envelope: 'message' },
      ),
  },
]

const sqlCases = (): Case[] => {
  const random = systemRandom
  const changesOf = (index: number) => {
    const connectionId = `connection-${index}`
    return [
      patch(
        connections,
        { connectionId },
        { lastMessageId: index, lastSendId: index, lastSendHash: random(32), ratchet: random(400) },
      ),
      insert(sndMessages, {
        connectionId,
        messageId: index,
        sendId: index,
        type: 'A_MSG',
        body: random(1024),
        bodyId: null,
        header: random(300),
        paddedLength: messagePadding,
        pqEncryption: false,
        encrypted: null,
        previousHash: random(32),
        hash: random(32),
        notify: true,
        idempotencyKey: null,
        receipt: null,
        createdAt: 0,
      }),
      insert(deliveries, {
        queueId: connectionId,
        messageId: index,
        connectionId,
        warned: null,
        sent: false,
        createdAt: 0,
      }),
    ]
  }
  const single = changesOf(1)
  const many = Array.from({ length: 100 }, (_, index) => changesOf(index)).flat()
  return [
    { name: 'sql of one sent message', run: () => void coalesce(single).flatMap(writeStatements) },
    { name: 'sql of 100 sent messages', run: () => void coalesce(many).flatMap(writeStatements) },
  ]
}
