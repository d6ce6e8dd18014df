import { describe, expect, it } from 'vitest'
import { boxSecret, generateKeyPair, systemRandom, x25519 } from '../../../src/crypto/index.js'
import { generateCertificates, identityOf } from '../../../src/router/certificates.js'
import { memoryLog } from '../../../src/router/memoryLog.js'
import { startRouter } from '../../../src/router/router.js'
import { systemClock } from '../../../src/runtime/clock.js'
import { connectRouter, type RouterEvent, type RouterSession } from '../../../src/smp/client.js'
import type { Command } from '../../../src/smp/protocol/commands.js'
import { openRecipientMessage } from '../../../src/smp/protocol/recipientMessage.js'
import type { QueueIds } from '../../../src/smp/protocol/responses.js'
import { parseRouterAddress } from '../../../src/smp/protocol/routerAddress.js'
import { memoryNetwork } from '../../../src/smp/transport/memory.js'
import type { Dialer, Listen } from '../../../src/smp/transport/port.js'
import { listenTls, tlsDialer } from '../../../src/smp/transport/tls.js'
import { listenWebSocket, webSocketDialer } from '../../../src/smp/transport/webSocket.js'
import { openMemoryStore } from '../../../src/store/memory.js'
import { none } from './world.js'

const network = memoryNetwork({ clock: systemClock })

const transports: [name: string, listen: Listen, dialer: Dialer][] = [
  ['TLS', listenTls, tlsDialer()],
  ['WebSocket', listenWebSocket, webSocketDialer()],
  ['memory', network.listen, network.dialer()],
]

const connect = (address: string, dialer: Dialer): Promise<RouterSession> =>
  connectRouter({ dialer, router: parseRouterAddress(address), clock: systemClock, random: systemRandom })

const textCommand = (text: string): Command => ({
  type: 'SEND',
  flags: { notification: false },
  body: Buffer.from(text.padEnd(200)),
})

describe.each(transports)('the bundled router over %s', (_name, listen, dialer) => {
  const start = async () =>
    startRouter({
      identity: identityOf(await generateCertificates({ host: '127.0.0.1', now: Date.now() })),
      listeners: [{ listen, host: '127.0.0.1', port: 0 }],
      queues: openMemoryStore(),
      messages: memoryLog(),
    })

  it('carries 200 messages through a secured queue in order, acknowledged one by one', async () => {
    const router = await start()
    const [recipient, sender] = [await connect(router.address, dialer), await connect(router.address, dialer)]
    const [rcvKeys, sndKeys, dh] = [generateKeyPair('ed25519'), generateKeyPair('ed25519'), generateKeyPair('x25519')]
    const rcvKey = { algorithm: 'ed25519', privateKey: rcvKeys.privateKey } as const
    const sndKey = { algorithm: 'ed25519', privateKey: sndKeys.privateKey } as const

    const ids = (await recipient.send({
      command: {
        type: 'NEW',
        authKey: { algorithm: 'ed25519', raw: rcvKeys.publicKey },
        dhKey: dh.publicKey,
        subscribe: true,
        request: { mode: 'messaging' },
      },
      entityId: none,
      key: rcvKey,
    })) as QueueIds
    expect(ids.type).toBe('IDS')
    const secret = boxSecret(x25519(dh.privateKey, ids.dhKey))

    const count = 200
    const texts: string[] = []
    const done = new Promise<void>(resolve => {
      const take = ({ response }: RouterEvent): void => {
        if (response.type !== 'MSG') throw new Error(`unexpected ${response.type}`)
        const message = openRecipientMessage(secret, response.messageId, response.body)
        if (!('body' in message)) throw new Error('the queue is over its quota')
        texts.push(Buffer.from(message.body).toString().trim())
        const ack: Command = { type: 'ACK', messageId: response.messageId }
        void recipient.send({ command: ack, entityId: ids.recipientId, key: rcvKey }).then(answer => {
          // The next message comes as the answer to ACK, or later as an event.
          if (texts.length === count) resolve()
          if (answer.type === 'MSG') take({ sessionId: recipient.id, entityId: ids.recipientId, response: answer })
        })
      }
      recipient.onEvent(take)
    })

    const secured = await sender.send({
      command: { type: 'SKEY', key: { algorithm: 'ed25519', raw: sndKeys.publicKey } },
      entityId: ids.senderId,
      key: sndKey,
    })
    expect(secured).toEqual({ type: 'OK' })
    const unsigned = sender.send({ command: textCommand('unsigned'), entityId: ids.senderId })
    await expect(unsigned).rejects.toMatchObject({ name: 'RouterError', code: 'AUTH' })
    // At most 110 unacknowledged: a queue holds 128.
    for (let from = 0; from < count; from += 100) {
      const requests = Array.from({ length: 100 }, (_, n) => ({
        command: textCommand(`message ${from + n}`),
        entityId: ids.senderId,
        key: sndKey,
      }))
      const results = await sender.sendMany(requests)
      expect(results.every(({ status }) => status === 'fulfilled')).toBe(true)
      while (texts.length < from + 90) await sender.send({ command: { type: 'PING' }, entityId: none })
    }
    await done
    expect(texts).toEqual(Array.from({ length: count }, (_, n) => `message ${n}`))

    const ends = [recipient, sender].map(session => new Promise(resolve => session.onClose(resolve)))
    await router.close()
    expect(await Promise.all(ends)).toMatchObject([{ code: 'TRANSPORT_CLOSED' }, { code: 'TRANSPORT_CLOSED' }])
  })
})
