import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { bodySchema } from '../../src/agent/api/schemas.js'
import {
  CallError,
  ConfigError,
  CryptoError,
  DecodeError,
  DuologueError,
  EncodeError,
  KemError,
  RouterError,
  StoreError,
  TransportError,
} from '../../src/errors.js'
import { bytesToJson, toJson } from '../../src/service/json.js'
import { createRpc, eventNotification, maxBatch } from '../../src/service/rpc.js'
import { FakeAgent, fakeNetwork } from '../support/fakeAgent.js'

const setUp = (onUnexpected: (error: unknown) => void = () => {}) => {
  const network = fakeNetwork()
  const [alice, bob] = [new FakeAgent('alice', network), new FakeAgent('bob', network)]
  const rpc = createRpc(alice, { onUnexpected })
  const ask = async (request: unknown) => {
    const answer = await rpc.handle(typeof request === 'string' ? request : JSON.stringify(request))
    return answer === undefined ? undefined : JSON.parse(answer)
  }
  const call = (method: string, params?: unknown) => ask({ jsonrpc: '2.0', id: 7, method, params })
  return { alice, bob, rpc, ask, call }
}

describe('calls over JSON-RPC', () => {
  it('answers a call with its id and result', async () => {
    const { call } = setUp()
    expect(await call('createConnection', {})).toEqual({
      jsonrpc: '2.0',
      id: 7,
      result: { connectionId: 'alice-1', link: 'simplex:/invitation#/?fake=alice-1' },
    })
  })

  it('takes absent params as an empty object', async () => {
    expect(await setUp().call('listConnections')).toMatchObject({ result: { connections: [] } })
  })

  it.each([
    ['text', 'grüße\n', 'grüße\n'],
    ['{"text"}', { text: 'hi' }, 'hi'],
    ['{"base64"}', { base64: 'AP8=' }, Uint8Array.of(0, 255)],
  ])('reads a body given as %s', async (_form, body, bytes) => {
    const { alice, bob, call } = setUp()
    const { link } = await bob.createConnection()
    const { connectionId } = await alice.joinConnection({ link })
    expect(await call('sendMessage', { connectionId, body })).toMatchObject({ result: { messageId: 1 } })
    const received = bob.log.find(event => event.type === 'MSG')
    expect(Buffer.from(received?.body ?? [])).toEqual(Buffer.from(bytes as Uint8Array))
  })

  it('writes the bodies of read events as text or base64', async () => {
    const { alice, call } = setUp()
    alice.emit('c', { type: 'INFO', pqSupport: false, info: Buffer.from('text ✓') })
    alice.emit('c', { type: 'INFO', pqSupport: false, info: Uint8Array.of(0xff) })
    const answer = await call('readEvents', {})
    expect(answer.result.events.map((event: { info: unknown }) => event.info)).toEqual([
      { text: 'text ✓' },
      { base64: '/w==' },
    ])
  })

  it('hands calls to the agent in the order of the requests', async () => {
    const { alice, rpc } = setUp()
    const methods = ['subscribe', 'listConnections', 'readEvents', 'subscribe']
    await Promise.all(methods.map(method => rpc.handle(JSON.stringify({ jsonrpc: '2.0', id: 1, method }))))
    expect(alice.called).toEqual(methods)
  })
})

describe('errors over JSON-RPC', () => {
  it('shows code, field, hint and facts of a typed error', async () => {
    const answer = await setUp().call('allowConnection', { connectionId: 'nope', confirmationId: 'c1' })
    expect(answer).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: {
        code: -32_001,
        message: 'there is no such connection',
        data: {
          code: 'CONN_NOT_FOUND',
          field: 'nope',
          hint: 'listConnections names those there are',
          facts: { known: 0 },
        },
      },
    })
  })

  it.each([
    [ConfigError, -32_002],
    [DecodeError, -32_003],
    [EncodeError, -32_004],
    [CryptoError, -32_005],
    [TransportError, -32_006],
    [RouterError, -32_007],
    [StoreError, -32_008],
    [KemError, -32_009],
    [DuologueError, -32_000],
  ] as const)('gives each class a number of its own: %o', async (type, code) => {
    const { alice, call } = setUp()
    vi.spyOn(alice, 'subscribe').mockRejectedValue(new type('SOME_CODE', 'what happened'))
    expect(await call('subscribe')).toMatchObject({
      error: { code, message: 'what happened', data: { code: 'SOME_CODE' } },
    })
  })

  it('keeps the text of an unknown error out of the answer and reports it', async () => {
    const unexpected = vi.fn()
    const { alice, call } = setUp(unexpected)
    const error = new Error('row (secret)')
    vi.spyOn(alice, 'subscribe').mockRejectedValue(error)
    const answer = await call('subscribe')
    expect(answer.error).toEqual({
      code: -32_603,
      message: 'an unexpected error; the log has more',
      data: { code: 'INTERNAL' },
    })
    expect(unexpected).toHaveBeenCalledWith(error, expect.stringContaining('subscribe'))
  })

  it.each([
    ['a missing field', 'sendMessage', { connectionId: 'c' }, 'body'],
    ['a wrong type', 'readEvents', { limit: 'ten' }, 'limit'],
    ['an unknown field', 'createConnection', { linkage: 1 }, 'params'],
    ['a nested field', 'subscribe', { connectionIds: ['a', 5] }, 'connectionIds.1'],
    ['a body that is no body', 'sendMessage', { connectionId: 'c', body: { base64: '!' } }, 'body.base64'],
    ['params by position', 'sendMessage', ['c', 'text'], 'params'],
    ['params that are no object', 'sendMessage', 'c', 'params'],
  ])('names the field of wrong params: %s', async (_what, method, params, field) => {
    const { alice, call } = setUp()
    expect(await call(method, params)).toMatchObject({
      error: { code: -32_602, data: { code: 'CMD_PARAMS', field, hint: expect.any(String) } },
    })
    expect(alice.called).toEqual([])
  })

  it('answers an unknown method, also one that every object has', async () => {
    const { call } = setUp()
    for (const method of ['sendMesage', 'toString', '__proto__', 'close', 'events', 'rpc.discover']) {
      expect(await call(method)).toMatchObject({ error: { code: -32_601, data: { code: 'RPC_METHOD' } } })
    }
  })

  it('answers text that is not JSON with a null id', async () => {
    expect(await setUp().ask('{"jsonrpc":')).toMatchObject({ id: null, error: { code: -32_700 } })
  })

  it.each(['null', '1', '""', 'false', '{}', '[]', '{"jsonrpc":"1.0","id":1,"method":"subscribe"}'])(
    'answers JSON that is no request: %s',
    async json => {
      expect(await setUp().ask(json)).toMatchObject({ error: { code: -32_600, data: { code: 'RPC_REQUEST' } } })
    },
  )

  it('gives back the id of a request that is invalid otherwise', async () => {
    expect(await setUp().ask({ id: 'x', method: 'subscribe' })).toMatchObject({ id: 'x', error: { code: -32_600 } })
    expect(await setUp().ask({ jsonrpc: '2.0', id: { a: 1 }, method: 'subscribe' })).toMatchObject({ id: null })
  })
})

describe('batches and notifications', () => {
  it('answers every request of a batch, in an array even for one', async () => {
    const { ask } = setUp()
    const one = { jsonrpc: '2.0', id: 1, method: 'subscribe' }
    expect(await ask([one])).toEqual([{ jsonrpc: '2.0', id: 1, result: { results: [] } }])
    expect(await ask([one, 5, { ...one, id: 2, method: 'nope' }])).toMatchObject([
      { id: 1, result: {} },
      { id: null, error: { code: -32_600 } },
      { id: 2, error: { code: -32_601 } },
    ])
  })

  it('refuses a batch above the limit as a whole', async () => {
    const { alice, ask } = setUp()
    const requests = Array.from({ length: maxBatch + 1 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'subscribe' }))
    expect(await ask(requests)).toMatchObject({ error: { code: -32_600, data: { facts: { limit: maxBatch } } } })
    expect(alice.called).toEqual([])
  })

  it('runs notifications and answers nothing, whatever comes of them', async () => {
    const { alice, ask } = setUp()
    expect(await ask({ jsonrpc: '2.0', method: 'subscribe' })).toBeUndefined()
    expect(await ask({ jsonrpc: '2.0', method: 'nope' })).toBeUndefined()
    expect(await ask([{ jsonrpc: '2.0', method: 'sendMessage', params: {} }])).toBeUndefined()
    expect(alice.called).toEqual(['subscribe'])
  })
})

describe('bytes and events as JSON', () => {
  it('gives every body back as the same bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.string({ unit: 'binary' }).map(text => new TextEncoder().encode(text)),
    )
    fc.assert(
      fc.property(bytes, body => {
        const there = JSON.parse(JSON.stringify(bytesToJson(body)))
        expect(Buffer.from(bodySchema.parse(there))).toEqual(Buffer.from(body))
      }),
    )
  })

  it.each([
    ['a byte order mark', Uint8Array.of(0xef, 0xbb, 0xbf, 0x41), { text: '\ufeffA' }],
    ['a cut character', Uint8Array.of(0xc3), { base64: 'ww==' }],
    ['a surrogate', Uint8Array.of(0xed, 0xa0, 0x80), { base64: '7aCA' }],
    ['nothing', new Uint8Array(), { text: '' }],
  ])('chooses the exact form for %s', (_what, bytes, json) => {
    expect(bytesToJson(bytes)).toEqual(json)
  })

  it('shows errors inside results by their public facts', () => {
    expect(toJson({ results: [{ error: new CallError('CONN_X', 'no', { cause: new Error('secret') }) }] })).toEqual({
      results: [{ error: { code: 'CONN_X', message: 'no' } }],
    })
  })

  it('writes an event as one line with its cursor', () => {
    const agent = new FakeAgent('a')
    agent.emit('c1', { type: 'INFO', pqSupport: false, info: Buffer.from('two\nlines') })
    const line = eventNotification(agent.log[0] as never)
    expect(line).not.toContain('\n')
    expect(JSON.parse(line)).toMatchObject({
      jsonrpc: '2.0',
      method: 'event',
      params: { cursor: 1, at: 0, type: 'INFO', connectionId: 'c1', info: { text: 'two\nlines' } },
    })
  })

  it('answers anything that comes in without throwing', async () => {
    const { rpc } = setUp()
    const request = fc.record({
      jsonrpc: fc.constant('2.0'),
      id: fc.jsonValue(),
      method: fc.jsonValue(),
      params: fc.jsonValue(),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.json(),
          request.map(one => JSON.stringify(one)),
        ),
        async text => {
          const answer = await rpc.handle(text)
          if (answer !== undefined) expect(JSON.parse(answer)).toBeTypeOf('object')
        },
      ),
    )
  })
})
