/** What callers without types can pass: a wrong option is named before anything is opened. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ConfigError, openAgent, openRouter } from '../../src/index.js'

const memory = { memory: true }
const agentOptions: ReadonlyArray<readonly [field: string, options: unknown]> = [
  ['options', undefined],
  ['options', 'x'],
  ['store', { routers: [] }],
  ['store', { store: { memory: true, directory: 'x' }, routers: [] }],
  ['store', { store: { directory: 5 }, routers: [] }],
  ['store', { store: { open: {} }, routers: [] }],
  ['routers', { store: memory }],
  ['routers', { store: memory, routers: 'smp://x' }],
  ['routers.0', { store: memory, routers: [5] }],
  ['dialer', { store: memory, routers: [], dialer: {} }],
  ['clock', { store: memory, routers: [], clock: { now: Date.now } }],
  ['random', { store: memory, routers: [], random: 4 }],
  ['logger', { store: memory, routers: [], logger: { warn: () => {} } }],
  ['trace', { store: memory, routers: [], trace: 'file' }],
  ['config.maxUnreadEvents', { store: memory, routers: [], config: { maxUnreadEvents: 'x' } }],
  ['config.maxUnreadEvents', { store: memory, routers: [], config: { maxUnreadEvents: 0 } }],
  ['config.fastRetry', { store: memory, routers: [], config: { fastRetry: 5 } }],
  ['config.fastRetry.max', { store: memory, routers: [], config: { fastRetry: { initial: 1, growAfter: 1 } } }],
  ['config.agentVersions', { store: memory, routers: [], config: { agentVersions: { min: 7, max: 6 } } }],
  ['config.colour', { store: memory, routers: [], config: { colour: 'red' } }],
  ['colour', { store: memory, routers: [], colour: 'red' }],
]

it.each(agentOptions)('openAgent names %s: %j', async (field, options) => {
  const error = await openAgent(options as never).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConfigError)
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', field, hint: expect.any(String) })
})

it('a setting that is there without a value leaves the default', async () => {
  const agent = await openAgent({ store: memory, routers: [], config: { maxUnreadEvents: undefined } } as never)
  expect(await agent.listConnections({})).toEqual({ connections: [] })
  await agent.close()
})

const routerOptions: ReadonlyArray<readonly [field: string, options: (directory: string) => unknown]> = [
  ['options', () => undefined],
  ['directory', () => ({})],
  ['directory', () => ({ directory: 5 })],
  ['host', directory => ({ directory, host: 5 })],
  ['port', directory => ({ directory, port: '5223' })],
  ['port', directory => ({ directory, port: 70_000 })],
  ['webSocketPort', directory => ({ directory, webSocketPort: -1 })],
  ['password', directory => ({ directory, password: 'a@b' })],
  ['memory', directory => ({ directory, memory: 'yes' })],
  ['logger', directory => ({ directory, logger: 5 })],
  ['colour', directory => ({ directory, colour: 'red' })],
]

it.each(routerOptions)('openRouter names %s, and makes nothing', async (field, options) => {
  const directory = await mkdtemp(join(tmpdir(), 'router-options-'))
  try {
    const error = await openRouter(options(directory) as never).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', field, hint: expect.any(String) })
    expect(await readdir(directory)).toEqual([])
  } finally {
    await rm(directory, { recursive: true })
  }
})
