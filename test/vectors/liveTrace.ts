import { describe, expect, it } from 'vitest'
import { boxSecret, decodePrivateKey, x25519 } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import { decodeAgentEnvelope, encodeAgentEnvelope } from '../../src/smp/protocol/agentEnvelope.js'
import { authorize } from '../../src/smp/protocol/authorization.js'
import {
  CONFIRMATION_PADDING,
  decodeEnvelope,
  MESSAGE_PADDING,
  openEnvelope,
  sealEnvelope,
} from '../../src/smp/protocol/clientMessage.js'
import { type Command, decodeCommand, encodeCommand } from '../../src/smp/protocol/commands.js'
import { checkCredentials, checkResponseEntity } from '../../src/smp/protocol/credentials.js'
import { formatConnectionRequest, parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import {
  decodeClientHello,
  decodeRouterHello,
  encodeClientHello,
  encodeRouterHello,
} from '../../src/smp/protocol/handshake.js'
import { openRecipientMessage, sealRecipientMessage } from '../../src/smp/protocol/recipientMessage.js'
import { decodeResponse, encodeResponse, type Response } from '../../src/smp/protocol/responses.js'
import { parseRouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { authorizedBytes, decodeTransmission, encodeTransmission } from '../../src/smp/protocol/transmission.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

/** One transmission of a trace, with the session that it belongs to. */
interface Traced {
  readonly agent: string
  readonly sent: boolean
  readonly sessionId: Bytes
  readonly authorization: Bytes
  readonly corrId: Bytes
  readonly entityId: Bytes
  readonly command: Bytes
  readonly tag: string
}

/** The keys of a queue, from the rows of the snapshots; they never change once they are there. */
interface QueueKeys {
  readonly recipientPrivateKey: Bytes
  readonly routerSecret: Bytes
  readonly e2ePrivateKey: Bytes
  readonly e2eSecret: Bytes | undefined
  readonly senderPrivateKey: Bytes
}

/**
 * Replays a recorded conversation of two reference agents up to where the double ratchet begins: every hello, command and
 * response both ways, every authorization and encryption made again with the recorded keys.
 */
export const replayProtocol = (name: string): void => {
  const trace = loadVectors(name)
  const traced = transmissionsOf(trace)
  const version = 18
  const commands = traced.filter(({ sent }) => sent)
  const responses = traced.filter(({ sent }) => !sent)
  const keys = queueKeys(trace['snapshots'])
  const keysOf = (queueId: Bytes): QueueKeys => {
    const found = keys.get(toHex(queueId))
    if (found === undefined) throw new Error('the trace has no keys of this queue')
    return found
  }

  describe(name, () => {
    it('hellos are read and written again', () => {
      const hellos: Vector[] = trace['blocks'].filter((block: Vector) => block['handshake'] !== undefined)
      expect(hellos.length).toBeGreaterThan(0)
      for (const block of hellos) checkHello(block, trace['server'], version)
    })

    it('the invitation link is read and written again', () => {
      const link: string = trace['steps'][0]['resp']['link']
      expect(formatConnectionRequest(parseConnectionRequest(link))).toBe(link)
    })

    it('transmissions are read and written again', () => {
      for (const transmission of traced) {
        const { authorization, corrId, entityId, command } = transmission
        const again = decodeTransmission(
          version,
          encodeTransmission(version, { authorization, corrId, entityId, command }),
        )
        const fields = [again.authorization, again.corrId, again.entityId, again.command]
        expect(fields.map(toHex)).toEqual([authorization, corrId, entityId, command].map(toHex))
      }
    })

    it('commands are read and written again, and have the credentials they need', () => {
      for (const { command: bytes, tag, authorization, entityId } of commands) {
        const command = decodeCommand(version, bytes)
        expect(command.type).toBe(tag)
        expect(toHex(encodeCommand(version, command))).toBe(toHex(bytes))
        expect(checkCredentials(command, authorization.length > 0, entityId)).toBeUndefined()
      }
    })

    it('responses are read and written again, and name what they are about', () => {
      for (const { command: bytes, tag, entityId } of responses) {
        const response = decodeResponse(version, bytes)
        expect(response.type).toBe(tag)
        expect(toHex(encodeResponse(version, response))).toBe(toHex(bytes))
        expect(checkResponseEntity(response, entityId)).toBeUndefined()
      }
    })

    it('the recorded keys make the same authorizations', () => {
      for (const transmission of commands) {
        const command = decodeCommand(version, transmission.command)
        const key = privateKeyFor(command, transmission, traced, keysOf)
        const authorized = authorizedBytes(transmission.sessionId, transmission)
        const again = authorize('ed25519', key, authorized, { corrId: transmission.corrId })
        expect(toHex(again)).toBe(toHex(transmission.authorization))
      }
    })

    it('the recorded secrets open every message, and close it to the same bytes', () => {
      const sent = new Map(
        commands.flatMap(({ command: bytes }) => {
          const command = decodeCommand(version, bytes)
          return command.type === 'SEND' ? [[toHex(command.body), command.flags] as const] : []
        }),
      )
      const received = responses.filter(({ tag }) => tag === 'MSG')
      expect(received).toHaveLength(sent.size)
      for (const { command, entityId } of received) {
        const message = decodeResponse(version, command) as Extract<Response, { type: 'MSG' }>
        const key = boxSecret(keysOf(entityId).routerSecret)
        const opened = openRecipientMessage(key, message.messageId, message.body)
        if (opened.type !== 'message') throw new Error('a quota marker was not expected')
        expect(toHex(sealRecipientMessage(key, message.messageId, opened))).toBe(toHex(message.body))
        expect(sent.get(toHex(opened.body))).toEqual(opened.flags)
        checkEnvelope(opened.body, keysOf(entityId))
      }
    })
  })
}

const transmissionsOf = (trace: Vector): Traced[] =>
  trace['blocks'].flatMap((block: Vector) =>
    (block['transmissions'] ?? []).map((t: Vector) => ({
      agent: block['agent'],
      sent: block['dir'] === 'sent',
      sessionId: hex(block['tlsUnique']),
      authorization: hex(t['auth']),
      corrId: hex(t['corrId']),
      entityId: hex(t['entityId']),
      command: hex(t['command']),
      tag: t['tag'],
    })),
  )

/** Keys by the queue's recipient id and by its sender id. */
const queueKeys = (snapshots: Vector[]): ReadonlyMap<string, QueueKeys> => {
  const tables = snapshots.flatMap(snapshot => [snapshot['alice'], snapshot['bob']])
  const rows = (table: string): Vector[] => tables.flatMap(tables => tables[table])
  const senders = new Map(rows('snd_queues').map(row => [row['snd_id']['hex'], privateKey(row['snd_private_key'])]))
  const keys = new Map<string, QueueKeys>()
  for (const row of rows('rcv_queues')) {
    const [recipientId, senderId]: [string, string] = [row['rcv_id']['hex'], row['snd_id']['hex']]
    const senderPrivateKey = senders.get(senderId)
    if (senderPrivateKey === undefined) throw new Error('the trace has no sender of this queue')
    const queue: QueueKeys = {
      recipientPrivateKey: privateKey(row['rcv_private_key']),
      routerSecret: hex(row['rcv_dh_secret']['hex']),
      e2ePrivateKey: privateKey(row['e2e_priv_key']),
      e2eSecret: row['e2e_dh_secret'] ? hex(row['e2e_dh_secret']['hex']) : keys.get(recipientId)?.e2eSecret,
      senderPrivateKey,
    }
    keys.set(recipientId, queue)
    keys.set(senderId, queue)
  }
  return keys
}

const privateKey = (column: Vector): Bytes => decodePrivateKey(hex(column['hex'])).raw

const checkHello = (block: Vector, address: string, version: number): void => {
  const content = hex(block['handshake'])
  if (block['dir'] === 'received') {
    const hello = decodeRouterHello(content)
    expect(toHex(hello.sessionId)).toBe(block['tlsUnique'])
    expect(toHex(encodeRouterHello(hello))).toBe(toHex(content))
    return
  }
  const hello = decodeClientHello(content)
  expect(hello.version).toBe(version)
  expect(toHex(hello.keyHash)).toBe(toHex(parseRouterAddress(address).keyHash))
  expect(toHex(encodeClientHello(hello))).toBe(toHex(content))
}

/** Whose key authorized a command: the recipient of the queue, its sender, or for NEW the recipient of the queue that it made. */
const privateKeyFor = (
  command: Command,
  { corrId, entityId }: Traced,
  traced: readonly Traced[],
  keysOf: (queueId: Bytes) => QueueKeys,
): Bytes => {
  if (command.type === 'SEND' || command.type === 'SKEY') return keysOf(entityId).senderPrivateKey
  if (command.type !== 'NEW') return keysOf(entityId).recipientPrivateKey
  const answer = traced.find(({ sent, corrId: answered }) => !sent && toHex(answered) === toHex(corrId))
  const ids = decodeResponse(18, answer?.command as Bytes)
  if (ids.type !== 'IDS') throw new Error('NEW was not answered with IDS')
  return keysOf(ids.recipientId).recipientPrivateKey
}

/** The envelope of a message: the first one of a queue brings the sender's key, from which the secret follows. */
const checkEnvelope = (bytes: Bytes, { e2ePrivateKey, e2eSecret }: QueueKeys): void => {
  const { header, nonce, box } = decodeEnvelope(bytes)
  const secret = header.dhKey === undefined ? e2eSecret : x25519(e2ePrivateKey, header.dhKey)
  expect(toHex(secret as Bytes)).toBe(toHex(e2eSecret as Bytes))
  const key = boxSecret(secret as Bytes)
  const message = openEnvelope(key, { nonce, box })
  const padding = header.dhKey === undefined ? MESSAGE_PADDING : CONFIRMATION_PADDING
  expect(toHex(sealEnvelope(key, nonce, header, message, padding))).toBe(toHex(bytes))
  const envelope = decodeAgentEnvelope(message.body)
  expect(toHex(encodeAgentEnvelope(envelope))).toBe(toHex(message.body))
  expect(envelope.agentVersion).toBe(7)
}
