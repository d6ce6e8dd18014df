import { describe, expect, it } from 'vitest'
import type { AgentContext } from '../../src/agent/context.js'
import { Inbox } from '../../src/agent/inbox.js'
import type { SessionTarget } from '../../src/agent/sessions.js'
import type { RouterRequest } from '../../src/smp/client.js'

describe('Inbox', () => {
  it('a message that waits for its acknowledgement does not keep its block in memory', () => {
    const requests: RouterRequest[] = []
    const context = {
      eventLog: { isFull: false },
      sessions: {
        request: async (_target: SessionTarget, request: RouterRequest) => {
          requests.push(request)
          return { response: { type: 'OK' } }
        },
      },
    } as unknown as AgentContext
    const inbox = new Inbox(() => context)
    const block = Buffer.from(new Uint8Array(16_384).fill(7).buffer)
    const queue = {
      queueId: 'q',
      connectionId: 'c',
      userId: 1,
      router: 'smp://router',
      rcvId: Buffer.alloc(24, 1),
      rcvPrivateKey: Buffer.alloc(32, 2),
    }
    inbox.keep({ message: { queue, messageId: block.subarray(100, 124), body: block.subarray(124) }, messageId: 5 })
    inbox.acknowledge('c', 5)
    const [{ command } = { command: undefined }] = requests
    if (command?.type !== 'ACK') throw new Error('no ACK was sent')
    expect(command.messageId).toEqual(Buffer.alloc(24, 7))
    expect(command.messageId.buffer).not.toBe(block.buffer)
  })
})
