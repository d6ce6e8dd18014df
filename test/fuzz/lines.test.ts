/** Lines of a stream, as stdio and the control socket read them, and JSON-RPC behind them: whatever the chunks, bounded and answered. */
import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { openAgent } from '../../src/index.js'
import { calls } from '../../src/agent/api/calls.js'
import { createRpc } from '../../src/service/rpc.js'
import { readLines } from '../../src/service/lines.js'
import { fuzzRuns } from '../support/fuzzRuns.js'

const limit = 40
const chunks = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes)),
    fc.constantFrom('\n', '\r\n', '{"a":1}\n', '\ud800', '\xff').map(text => Buffer.from(text, 'latin1')),
  ),
  { maxLength: 20 },
)

it('lines come in their order whatever the chunks are; one that is too long or not UTF-8 is told and the next one read', async () => {
  await fc.assert(
    fc.asyncProperty(chunks, async parts => {
      const lines = []
      for await (const line of readLines(Readable.from(parts), limit)) lines.push(line)
      const expected = Buffer.concat(parts)
        .toString('latin1')
        .split('\n')
        .filter((line, index, all) => index < all.length - 1 || line !== '')
      const told = expected.map(line => (line.length > limit ? 'tooLong' : line.replace(/\r$/, '')))
      expect(lines.map(line => ('text' in line ? Buffer.from(line.text).toString('latin1') : line.problem))).toEqual(
        told.filter(line => line !== '').map(line => (line === 'tooLong' || isUtf8(line) ? line : 'notUtf8')),
      )
    }),
    fuzzRuns(100),
  )
})

const isUtf8 = (latin: string): boolean => {
  const bytes = Buffer.from(latin, 'latin1')
  return bytes.toString('utf8') !== '' && Buffer.from(bytes.toString('utf8')).equals(bytes)
}

it('every call of the API refuses parameters of a wrong form with CMD_PARAMS and the field, and touches nothing', async () => {
  const agent = await openAgent({ store: { memory: true }, routers: [] })
  try {
    const rpc = createRpc(agent)
    const before = await agent.listConnections({})
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(-1, '', '\0', 'x'.repeat(70_000), null))
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(calls)),
        value,
        fc.string({ maxLength: 5 }),
        async (method, wrong, name) => {
          // A parameter that no call has makes every set of parameters wrong.
          const params = { ...(typeof wrong === 'object' ? wrong : { connectionId: wrong }), [`?${name}`]: wrong }
          const answer = await rpc.handle(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }))
          const { error } = JSON.parse(answer ?? '{}') as { error?: { data?: { code?: string; field?: string } } }
          expect(error?.data).toMatchObject({ code: 'CMD_PARAMS', field: expect.stringMatching(/\S/) })
        },
      ),
      fuzzRuns(200),
    )
    expect(await agent.listConnections({})).toEqual(before)
  } finally {
    await agent.close()
  }
})
