/** The cryptography of one message in all three processes, and nothing else: what no implementation of this protocol can save. */
import { boxSecret, generateKeyPair, sha256, sign, systemRandom, verify } from '../../../src/crypto/index.js'
import { BlockCipher } from '../../../src/smp/protocol/block.js'
import { decodeEnvelope, openEnvelope, sealEnvelope } from '../../../src/smp/protocol/clientMessage.js'
import { openRecipientMessage, sealRecipientMessage } from '../../../src/smp/protocol/recipientMessage.js'
import { newPair, receive, send } from '../../ratchet/pair.js'
import { type Effort, type Figure, microseconds } from '../measure.js'
import { must } from '../micro/cases.js'

const messagePadding = 15_840
const envelopePadding = 16_000
/** What of a SEND is in its block and under its signature, and of a MSG in its block. */
const sendLength = 16_200
const ackLength = 140

/**
 * Microseconds of one message, one thread: ratchet, the queue's box, the signed SEND and its OK, the router's box and MSG, the
 * signed ACK and its OK; each of the four in a block of its own. TLS is not in it.
 */
export const messageCryptoUs = (effort: Effort): Figure => {
  const message = messageCrypto()
  return microseconds(message, effort)
}

/** Runs the cryptography of one message; throws when it does not come out at the other end. */
export const messageCrypto = (): (() => void) => {
  const random = systemRandom
  const plaintext = random(1100)
  const queueKey = boxSecret(random(32))
  const routerKey = boxSecret(random(32))
  const [sender, recipient] = [generateKeyPair('ed25519'), generateKeyPair('ed25519')]
  const [toRouter, toRecipient] = [sessionPair(), sessionPair()]
  const transmission = Buffer.alloc(sendLength)
  const short = random(ackLength)
  let { joiner, initiator } = newPair()
  return () => {
    const sent = send(joiner, plaintext, messagePadding)
    joiner = sent.side
    const envelope = sealEnvelope(queueKey, random(24), { version: 4 }, { body: sent.message }, envelopePadding)
    transmission.set(envelope)
    const signature = sign('ed25519', sender.privateKey, transmission)
    const atRouter = toRouter.router.decrypt(toRouter.client.encrypt(transmission))
    must(verify('ed25519', sender.publicKey, atRouter, signature), 'SEND')
    toRouter.client.decrypt(toRouter.router.encrypt(short))

    const messageId = random(24)
    const sealed = sealRecipientMessage(routerKey, messageId, {
      type: 'message',
      timestamp: 1,
      flags: { notification: true },
      body: atRouter.subarray(0, envelope.length),
    })
    const delivered = toRecipient.client.decrypt(toRecipient.router.encrypt(sealed))
    const opened = openRecipientMessage(routerKey, messageId, delivered)
    const { body } = openEnvelope(queueKey, decodeEnvelope(must(opened.type === 'message' && opened.body, 'MSG')))
    const received = receive(initiator, body)
    initiator = received.side
    must(received.result.ok && sha256(received.result.plaintext), 'ratchet')
    const ack = sign('ed25519', recipient.privateKey, short)
    const acked = toRecipient.router.decrypt(toRecipient.client.encrypt(short))
    must(verify('ed25519', recipient.publicKey, acked, ack), 'ACK')
    toRecipient.client.decrypt(toRecipient.router.encrypt(short))
  }
}

const sessionPair = () => {
  const [sessionId, secret] = [systemRandom(32), systemRandom(32)]
  return {
    client: new BlockCipher('client', sessionId, secret),
    router: new BlockCipher('router', sessionId, secret),
  }
}
