/** Wrong parameters, links and bytes: typed errors that name the field, and an agent that goes on. */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { maxInfoLength } from '../../src/agent/index.js'
import { DuologueError } from '../../src/errors.js'
import { type AgentEvent, openAgent } from '../../src/index.js'
import { connections } from '../../src/store/agent/connections.js'
import { formatConnectionRequest, parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import { type TestAgent, textOf } from '../support/agentWorld.js'
import { type ScriptedWorld, scriptedWorld } from '../support/scriptedWorld.js'

let world: ScriptedWorld
let alice: TestAgent
beforeEach(async () => {
  world = await scriptedWorld()
  alice = await world.start('alice')
})
afterEach(() => world.close())

type Params = Record<string, unknown>
const call = (name: string, params: unknown): Promise<unknown> =>
  (alice.agent as unknown as Record<string, (params: unknown) => Promise<unknown>>)[name]?.(params) ?? Promise.resolve()

describe('parameters', () => {
  const id = { connectionId: 'c' }
  it.each<[string, unknown, string]>([
    ['createConnection', { userId: 0 }, 'userId'],
    ['createConnection', { userId: 1.5 }, 'userId'],
    ['createConnection', { idempotencyKey: '' }, 'idempotencyKey'],
    ['createConnection', { idempotencyKey: 'k'.repeat(129) }, 'idempotencyKey'],
    ['createConnection', undefined, 'params'],
    ['createConnection', { other: 1 }, 'params'],
    ['joinConnection', {}, 'link'],
    ['joinConnection', { link: 7 }, 'link'],
    ['joinConnection', { link: 'x'.repeat(16_385) }, 'link'],
    ['joinConnection', { link: 'x', info: 5 }, 'info'],
    ['allowConnection', id, 'confirmationId'],
    ['allowConnection', { ...id, confirmationId: '' }, 'confirmationId'],
    ['sendMessage', id, 'body'],
    ['sendMessage', { ...id, body: '\ud800' }, 'body'],
    ['sendMessage', { ...id, body: { base64: 'no base64!' } }, 'body'],
    ['sendMessage', { ...id, body: { text: 'a', base64: 'YQ==' } }, 'body'],
    ['sendMessage', { connectionId: '', body: 'x' }, 'connectionId'],
    ['sendMessage', { connectionId: 'c'.repeat(65), body: 'x' }, 'connectionId'],
    ['ackMessage', { ...id, messageId: 0 }, 'messageId'],
    ['ackMessage', { ...id, messageId: 1, consumer: 'no spaces' }, 'consumer'],
    ['subscribe', { connectionIds: 'c' }, 'connectionIds'],
    ['listConnections', { limit: 0 }, 'limit'],
    ['registerConsumer', { consumer: 'c', from: 'never' }, 'from'],
    ['readEvents', { waitMs: -1 }, 'waitMs'],
    ['readEvents', { limit: 1001 }, 'limit'],
    ['ackEvents', { cursor: -1 }, 'cursor'],
  ])('%s %o is refused and names %s', async (name, params, field) => {
    await expect(call(name, params)).rejects.toMatchObject({
      code: 'CMD_PARAMS',
      field: expect.stringContaining(field),
    })
    expect(await alice.store.count(connections)).toBe(0)
    expect(world.router.seen).toEqual([])
  })

  it.each<[string, Params, string]>([
    ['sendMessage', { body: 'x' }, 'CONN_NOT_FOUND'],
    ['allowConnection', { confirmationId: 'x' }, 'CONN_NOT_FOUND'],
    ['ackMessage', { messageId: 1 }, 'MESSAGE_NOT_FOUND'],
  ])('%s for a connection that does not exist', async (name, params, code) => {
    await expect(call(name, { connectionId: 'nobody', ...params })).rejects.toMatchObject({
      code,
      field: expect.any(String),
    })
  })

  it('calls in a state that does not allow them say why', async () => {
    const { connectionId } = await alice.agent.createConnection({})
    for (const wrong of [
      alice.agent.sendMessage({ connectionId, body: 'x' }),
      alice.agent.allowConnection({ connectionId, confirmationId: 'x' }),
    ]) {
      await expect(wrong).rejects.toMatchObject({ code: 'CMD_PROHIBITED', field: connectionId })
    }
    const friend = await world.invite(alice)
    const ofFriend = { connectionId: friend.connectionId }
    await expect(alice.agent.allowConnection({ ...ofFriend, confirmationId: 'wrong' })).rejects.toMatchObject({
      code: 'CONFIRMATION_NOT_FOUND',
      field: 'confirmationId',
    })
    await expect(
      alice.agent.allowConnection({
        ...ofFriend,
        confirmationId: friend.confirmationId,
        info: Buffer.alloc(maxInfoLength + 1),
      }),
    ).rejects.toMatchObject({ code: 'LARGE_MSG', field: 'info', facts: { limit: 11_106 - 832 } })
    // Neither has spoiled anything.
    await alice.agent.allowConnection({ ...ofFriend, confirmationId: friend.confirmationId })
    await alice.next('CON', friend.connectionId)
  })

  it('the largest info fits a confirmation, in both directions', async () => {
    const bob = await world.start('bob')
    const { connectionId, link } = await alice.agent.createConnection({ pq: false })
    await bob.agent.joinConnection({ link, info: Buffer.alloc(maxInfoLength, 'b'), pq: false })
    const { confirmationId, info } = await alice.next('CONF')
    expect(info).toHaveLength(maxInfoLength)
    await alice.agent.allowConnection({ connectionId, confirmationId, info: Buffer.alloc(maxInfoLength, 'a') })
    expect((await bob.next('INFO')).info).toHaveLength(maxInfoLength)
    await bob.next('CON')
  })

  it('routers that cannot be read, or none', async () => {
    await expect(openAgent({ store: { memory: true }, routers: ['smp://nonsense'] })).rejects.toMatchObject({
      code: 'CONFIG_ROUTER',
      field: 'routers',
    })
    const lonely = await world.startAgent('lonely', [])
    await expect(lonely.agent.createConnection({})).rejects.toMatchObject({
      code: 'CONFIG_NO_ROUTERS',
      field: 'routers',
    })
    expect(await lonely.store.count(connections)).toBe(0)
  })
})

describe('links', () => {
  const validLink = async (): Promise<string> => {
    const bob = await world.start('bob')
    return (await bob.agent.createConnection({})).link
  }
  const expectRefused = async (link: string): Promise<void> => {
    const error: unknown = await alice.agent.joinConnection({ link }).then(
      () => undefined,
      (refusal: unknown) => refusal,
    )
    expect(error).toBeInstanceOf(DuologueError)
    const { code, field, message } = error as DuologueError
    expect(code).toMatch(/^(DECODE_|LINK_|AGENT_VERSION|CRYPTO_)/)
    expect(field).toEqual(expect.any(String))
    // Links are secrets: not even a part of one is in the error.
    if (link.length > 60) expect(message).not.toContain(link.slice(30, 60))
    expect(await alice.store.count(connections)).toBe(0)
  }

  it.each([
    ['nothing', ''],
    ['a word', 'hello'],
    ['another web page', 'https://example.com/#/?v=2-7'],
    ['a link without queues', 'simplex:/invitation#/?v=2-7&e2e=v%3D2-3'],
    ['a router address', 'smp://abc@example.com'],
  ])('%s is refused', async (_, link) => {
    await expectRefused(link)
  })

  it('other versions of each protocol, also of contact addresses, and cut links are refused', async () => {
    const link = await validLink()
    const request = parseConnectionRequest(link)
    if (request.mode !== 'invitation') throw new Error('no invitation')
    const { e2e: _, ...named } = request
    const contact = { ...named, mode: 'contact' } as const
    await expectRefused(formatConnectionRequest({ ...request, agentVersions: { min: 90, max: 99 } }))
    await expectRefused(formatConnectionRequest({ ...contact, agentVersions: { min: 90, max: 99 } }))
    await expectRefused(
      formatConnectionRequest({ ...request, e2e: { ...request.e2e, versionRange: { min: 90, max: 99 } } }),
    )
    const queues = request.queues.map(queue => ({ ...queue, clientVersions: { min: 90, max: 99 } }))
    await expectRefused(formatConnectionRequest({ ...request, queues }))
    await expectRefused(formatConnectionRequest({ ...contact, queues }))
    for (const length of [10, 40, 100, link.length - 30]) await expectRefused(link.slice(0, length))
  })

  it('changed anywhere, a link is refused with a typed error or leads to a connection that never completes', async () => {
    const link = await validLink()
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: link.length - 1 }),
        fc.constantFrom('A', '%', '&', '=', '\u0000', 'é', ''),
        async (at, by) => {
          const changed = link.slice(0, at) + by + link.slice(at + 1)
          try {
            await alice.agent.joinConnection({ link: changed })
          } catch (error) {
            expect(error).toBeInstanceOf(DuologueError)
          }
        },
      ),
      { numRuns: 100 },
    )
    await world.clock.advance(10_000)
  })
})

describe('bytes from the router', () => {
  it('whatever arrives in a queue is reported or told, acknowledged, and the next message comes', async () => {
    const friend = await world.befriend(alice)
    const good = friend.peer.seal(friend.peer.message('good'))
    type Damage = { random: Uint8Array } | { at: number; bits: number } | { cut: number } | { more: Uint8Array }
    const damage: fc.Arbitrary<Damage> = fc.oneof(
      fc.record({ random: fc.uint8Array({ maxLength: 300 }) }),
      // The version in the first two bytes may be any that was agreed.
      fc.record({ at: fc.integer({ min: 2, max: good.length - 1 }), bits: fc.integer({ min: 1, max: 255 }) }),
      fc.record({ cut: fc.nat({ max: good.length - 1 }) }),
      fc.record({ more: fc.uint8Array({ minLength: 1, maxLength: 16 }) }),
    )
    const damaged = (how: Damage): Uint8Array => {
      if ('random' in how) return how.random
      if ('cut' in how) return good.subarray(0, how.cut)
      if ('more' in how) return Buffer.concat([good, how.more])
      const changed = Buffer.from(good)
      changed[how.at] = (changed[how.at] ?? 0) ^ how.bits
      return changed
    }
    // What does not decrypt is told of as RSYNC (B36).
    const isError = (event: AgentEvent): boolean =>
      event.type === 'ERR' || (event.type === 'RSYNC' && event.error !== undefined)
    await fc.assert(
      fc.asyncProperty(damage, async how => {
        const errors = alice.events.filter(isError).length
        world.router.put(friend.queue, damaged(how))
        await world.until(() => friend.queue.messages.length === 0, 'the ACK')
        expect(alice.events.filter(isError).length).toBe(errors + 1)
      }),
      { numRuns: 100, endOnFailure: true },
    )
    await friend.peer.send(good)
    expect(textOf((await alice.next('MSG')).body)).toBe('good')
  })
})
