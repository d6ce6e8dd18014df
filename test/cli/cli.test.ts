import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../support/cli.js'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duologue-cli-'))
})
afterEach(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }))

const address = /^smp:\/\/[\w-]{43}=@127\.0\.0\.1:\d+$/
/** A router with a name, an identity and a port, but nobody who listens. */
const nobody = `smp://${'A'.repeat(43)}=@127.0.0.1:1`

describe('the command line', () => {
  it('prints its version', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(await runCli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([
    ['no command', []],
    ['an unknown command', ['chat']],
    ['an unknown option', ['demo', '--colour']],
    ['a number that is none', ['demo', '--messages', 'many']],
    ['an agent that nobody can talk to', ['agent', '--db', 'x', '--router', nobody]],
    ['an agent without a database', ['agent', '--stdio', '--router', nobody]],
    ['two databases', ['agent', '--stdio', '--db', 'x', '--database-url', 'postgres://x', '--router', nobody]],
    ['a schema without its database', ['agent', '--stdio', '--db', 'x', '--schema', 'y', '--router', nobody]],
    ['an agent without a router', ['agent', '--stdio', '--db', 'x']],
    [
      'a bound on events that is none',
      ['agent', '--stdio', '--db', 'x', '--router', nobody, '--max-unread-events', '0'],
    ],
    ['a port that is none', ['router', 'init', '--port', '70000']],
    ['a router with two stores', ['router', 'start', '--memory', '--database-url', 'postgres://x']],
  ])('has exit code 2 and a message on stderr for %s', async (_what, args) => {
    const { code, stdout, stderr } = await runCli(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).not.toBe('')
    expect(stderr).not.toMatch(/^\s+at /m)
  })
})

describe('duologue router', () => {
  it('init makes a router, address shows it, and init does not overwrite it', async () => {
    const args = ['--dir', join(directory, 'router')]
    const made = await runCli(['router', 'init', ...args, '--host', '127.0.0.1', '--port', '7001'])
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(made.stdout.trim()).toMatch(address)
    const shown = await runCli(['router', 'address', ...args, '--json'])
    expect(JSON.parse(shown.stdout)).toEqual({ address: made.stdout.trim() })
    const again = await runCli(['router', 'init', ...args, '--json'])
    expect({ code: again.code, stdout: again.stdout }).toEqual({ code: 1, stdout: '' })
    expect(JSON.parse(again.stderr)).toMatchObject({ error: { code: 'CONFIG_EXISTS', hint: expect.any(String) } })
  })

  it('address of a directory without a router is a typed error', async () => {
    const { code, stderr } = await runCli(['router', 'address', '--dir', directory])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error CONFIG_FILE: .*\n {2}hint: .*router init/)
  })

  it('start makes a router that is not there, prints its address, keeps it, and stops in order', async () => {
    const args = [
      'router',
      'start',
      '--dir',
      join(directory, 'router'),
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--memory',
    ]
    const addresses: string[] = []
    for (let n = 0; n < 2; n++) {
      const { code, stdout, stderr } = await runCli([...args, '--json'], {
        onStdout: (_text, signal) => signal('SIGTERM'),
      })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      addresses.push(JSON.parse(stdout).address)
    }
    expect(addresses[0]).toMatch(address)
    expect(addresses[0]?.split('@')[0]).toBe(addresses[1]?.split('@')[0])
  })

  it('start refuses another host than the router was made with', async () => {
    const args = ['--dir', join(directory, 'router')]
    await runCli(['router', 'init', ...args, '--host', '127.0.0.1'])
    const { code, stderr } = await runCli(['router', 'start', ...args, '--host', 'example.org', '--memory', '--json'])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIG_CONFLICT', field: 'host' } })
  })
})

describe('duologue agent --stdio', () => {
  it('answers, traces, and stops in order at the end of the input', async () => {
    const trace = join(directory, 'trace.jsonl')
    const args = [
      '--stdio',
      '--db',
      join(directory, 'db'),
      '--router',
      nobody,
      '--trace',
      trace,
      '--max-unread-events',
      '5',
    ]
    const input = '{"jsonrpc":"2.0","id":1,"method":"listConnections"}\n'
    const { code, stdout, stderr } = await runCli(['agent', ...args], { input })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({ jsonrpc: '2.0', id: 1, result: { connections: [] } })
    expect(await readdir(directory)).toContain('trace.jsonl')
  })

  it('tells why it cannot start', async () => {
    const args = ['--stdio', '--database-url', 'postgres://nobody@127.0.0.1:1/none', '--router', nobody, '--json']
    const { code, stdout, stderr } = await runCli(['agent', ...args])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(JSON.parse(stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      error: { code: expect.stringMatching(/^STORE_/) },
    })
  })

  it('names the router address that is none', async () => {
    const { code, stderr } = await runCli([
      'agent',
      '--stdio',
      '--db',
      join(directory, 'db'),
      '--router',
      'smp://x',
      '--json',
    ])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIG_ROUTER', field: 'routers' } })
  })
})

describe('duologue demo', () => {
  it('exchanges messages exactly once and in order, prints one JSON object, and leaves nothing behind', {
    timeout: 120_000,
  }, async () => {
    const { code, stdout, stderr } = await runCli(['demo', '--messages', '30', '--json'], {
      env: { TMPDIR: directory },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      connectMs: expect.any(Number),
      messages: 60,
      lost: 0,
      duplicated: 0,
      reordered: 0,
      perSecond: expect.any(Number),
      p50Ms: expect.any(Number),
      p99Ms: expect.any(Number),
    })
    expect(await readdir(directory)).toEqual([])
  })
})
