/** The commands of `duologue signal` as processes, against a service that runs all the while. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forScreen } from '../../src/cli/signal/link.js'
import { cliPath, type Ran, runCli } from '../support/cli.js'
import { type MockSignal, type Primary, startMock } from '../support/signal/mock.js'
import { RawDevice } from '../support/signal/rawDevice.js'
import { eventually } from '../support/signal/world.js'

let mock: MockSignal
let directory = ''
let bob: { primary: Primary; device: RawDevice }
let botPrimary: Primary
let service: { child: ChildProcess; events: Array<Record<string, unknown>> } | undefined
const database = () => ['--db', join(directory, 'db')]
const server = () => [
  '--server',
  `https://127.0.0.1:${mock.port}`,
  '--ca',
  join(directory, 'ca.pem'),
  '--trust-root',
  mock.trustRoot,
]
const traceFile = () => join(directory, 'trace.jsonl')
const lines = (text: string): Array<Record<string, unknown>> =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Record<string, unknown>)

const startService = async (): Promise<void> => {
  const child = spawn(process.execPath, [
    cliPath,
    'signal',
    'monitor',
    ...database(),
    ...server(),
    '--trace',
    traceFile(),
  ])
  const events: Array<Record<string, unknown>> = []
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) events.push(JSON.parse(part) as Record<string, unknown>)
  })
  service = { child, events }
  await eventually(
    'the service is healthy',
    () => events.some(({ type, state }) => type === 'HEALTH' && state === 'healthy'),
    120_000,
  )
}
const endService = async (signal: NodeJS.Signals): Promise<number | null> => {
  const { child } = service as { child: ChildProcess }
  const ended = new Promise<number | null>(resolve => child.once('close', code => resolve(code)))
  child.kill(signal)
  service = undefined
  return ended
}
const send = (...args: string[]): Promise<Ran> => runCli(['signal', 'send', ...database(), '--json', ...args])

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duologue-signal-'))
  mock = await startMock()
  await writeFile(join(directory, 'ca.pem'), mock.ca)
  botPrimary = await mock.createPrimary('Bot')
  const primary = await mock.createPrimary('Bob')
  bob = { primary, device: await RawDevice.link(mock, primary.aci) }
}, 60_000)
afterAll(async () => {
  service?.child.kill('SIGKILL')
  bob?.device.disconnect()
  await mock?.close()
  await rm(directory, { recursive: true, force: true, maxRetries: 5 })
})

describe('duologue signal', { timeout: 240_000 }, () => {
  it('S17 wrong usage has exit code 2', async () => {
    for (const args of [
      ['signal', 'send', '--db', 'x', '--to', 'y'],
      ['signal', 'monitor'],
      ['signal', 'send-loop', '--db', 'x', '--to', 'y', '--text', 'z', '--count', 'many'],
      ['signal', 'trace', 'x'],
      ['signal', 'send', '--database-url', 'postgres://x', '--to', 'y', '--text', 'z'],
    ]) {
      expect((await runCli(args)).code, args.join(' ')).toBe(2)
    }
  })

  it('S17 a server that is none, or is not trusted, is named with what to do about it', async () => {
    const garbage = join(directory, 'garbage.pem')
    await writeFile(garbage, 'no certificate')
    const at = (url: string) => ['--server', url]
    const here = `https://127.0.0.1:${mock.port}`
    for (const [options, error] of [
      [at('foo'), { code: 'CONFIG_SERVER', field: 'server', hint: expect.stringContaining('https://') }],
      [[...at(here), '--trust-root', 'xx'], { code: 'CONFIG_SERVER', field: 'trustRoots' }],
      [[...at(here), '--ca', garbage], { code: 'CONFIG_SERVER', field: 'ca' }],
      [at(here), { code: 'SIGNAL_UNREACHABLE', hint: expect.stringContaining('ca') }],
      [
        at('https://127.0.0.1:1'),
        { code: 'SIGNAL_UNREACHABLE', facts: { reason: 'ECONNREFUSED', url: 'https://127.0.0.1:1' } },
      ],
    ] as const) {
      const linked = await runCli(['signal', 'link', ...database(), ...options, '--json'])
      expect(linked.code, options.join(' ')).toBe(1)
      expect(lines(linked.stderr), options.join(' ')).toMatchObject([{ error }])
    }
  })

  it('S17 monitor without an account, and send without a service, fail with a code and a hint', async () => {
    const monitor = await runCli(['signal', 'monitor', ...database(), ...server(), '--json'])
    expect(monitor.code).toBe(1)
    expect(lines(monitor.stderr)).toMatchObject([{ error: { code: 'SIGNAL_NOT_LINKED' } }])
    const sent = await send('--to', bob.primary.aci, '--text', 'x')
    expect(sent.code).toBe(1)
    expect(lines(sent.stderr)).toMatchObject([
      { error: { code: 'SIGNAL_NO_SERVICE', hint: 'start it: duologue signal monitor' } },
    ])
  })

  it('S01 S17 link prints the link and a code to scan, and exits with 0 when the device is linked', async () => {
    let scanned = false
    const linked = await runCli(['signal', 'link', ...database(), ...server(), '--name', 'cli'], {
      onStdout: text => {
        const link = /sgnl:\/\/\S+/.exec(text)?.[0]
        if (link === undefined || scanned) return
        scanned = true
        void mock.call('provision', { aci: botPrimary.aci, link })
      },
    })
    expect(linked).toMatchObject({ code: 0 })
    expect(linked.stdout).toMatch(/[▀▄█]{10}/)
    expect(linked.stdout).toContain(`Linked as device 2 of ${botPrimary.e164}.`)
    expect(linked.stdout).toContain('duologue signal monitor')
  })

  it('S17 the code is white on black on a terminal, and plain text elsewhere', () => {
    expect(forScreen('█▀\n▄ ', true)).toBe('\u001B[40;97m█▀\u001B[0m\n\u001B[40;97m▄ \u001B[0m')
    expect(forScreen('█▀\n▄ ', false)).toBe('█▀\n▄ ')
  })

  it('S17 send goes through the running service: exit code 0 when the server has the message, 1 when it fails', async () => {
    await startService()
    const sent = await send('--to', bob.primary.aci, '--text', 'by command')
    expect(sent).toMatchObject({ code: 0, stderr: '' })
    expect(lines(sent.stdout)).toMatchObject([{ outcome: 'sent', sealed: false }])
    expect(await bob.device.nextText()).toBe('by command')
    await mock.setRules({ path: `/v1/messages/${bob.primary.aci}`, times: 1, answer: { status: 413 } })
    const refused = await send('--to', bob.primary.aci, '--text', 'too large')
    expect(refused.code).toBe(1)
    expect(lines(refused.stderr)).toMatchObject([{ error: { code: 'SIGNAL_TOO_LARGE' } }])
    await mock.setRules({
      path: `/v1/messages/${bob.primary.aci}`,
      times: 1,
      answer: { status: 429, headers: { 'retry-after': '3' } },
    })
    const waiting = await send('--to', bob.primary.aci, '--text', 'later', '--wait', '1')
    expect(waiting.code).toBe(1)
    expect(lines(waiting.stdout)).toMatchObject([{ outcome: 'waiting', error: { code: 'SIGNAL_RATE_LIMITED' } }])
    expect(lines(waiting.stderr)).toMatchObject([
      { error: { code: 'SIGNAL_WAITING', facts: { reason: 'SIGNAL_RATE_LIMITED' } } },
    ])
    // It was accepted, and goes out when it can.
    expect(await bob.device.nextText()).toBe('later')
    const unknown = await send('--to', '+15550001111', '--text', 'x')
    expect(unknown.code).toBe(1)
    expect(lines(unknown.stderr)).toMatchObject([{ error: { code: 'SIGNAL_RECIPIENT_UNKNOWN' } }])
  })

  it('S17 send-loop sends one after the other over the same sockets, and says how it went', async () => {
    const ran = await runCli([
      'signal',
      'send-loop',
      ...database(),
      '--json',
      '--to',
      bob.primary.aci,
      '--text',
      'loop',
      '--count',
      '5',
      '--interval',
      '20',
    ])
    expect(ran.code).toBe(0)
    const results = lines(ran.stdout)
    expect(results.slice(0, 5).every(({ outcome }) => outcome === 'sent')).toBe(true)
    expect(results.at(-1)).toMatchObject({ sent: 5, failed: 0 })
    for (let index = 1; index <= 5; index++) expect(await bob.device.nextText()).toBe(`loop ${index}`)
  })

  it('S17 monitor prints what arrives', async () => {
    const account = { serviceId: botPrimary.aci, deviceId: 2 }
    await bob.device.send(account, { dataMessage: { body: 'to the monitor', timestamp: Date.now() } }, { others: [1] })
    await eventually('it is printed', () =>
      (service?.events ?? []).some(
        ({ type, body }) => type === 'MSG' && JSON.stringify(body) === '{"text":"to the monitor"}',
      ),
    )
  })

  it('S16 S17 trace shows the steps of one message, named by its id, correlation id or timestamp', async () => {
    const sent = await send('--to', bob.primary.aci, '--text', 'trace me')
    const [{ recipientId, messageId, correlationId, timestamp } = {}] = lines(sent.stdout)
    for (const name of [`${String(recipientId)}/${String(messageId)}`, String(correlationId), String(timestamp)]) {
      const traced = await runCli(['signal', 'trace', name, '--file', traceFile(), '--json'])
      expect(traced.code).toBe(0)
      const steps = lines(traced.stdout)
      expect(steps.map(({ event }) => event)).toEqual(
        expect.arrayContaining(['queued', 'probed', 'path', 'encrypted', 'request', 'answer', 'settled']),
      )
      expect(new Set(steps.map(({ traceId }) => traceId))).toEqual(new Set([correlationId]))
    }
    const text = await runCli(['signal', 'trace', String(correlationId), '--file', traceFile()])
    expect(text.stdout).toMatch(/path\s+path identified/)
    expect((await runCli(['signal', 'trace', 'nothing', '--file', traceFile()])).code).toBe(1)
  })

  it('S11 S17 the service killed with SIGKILL while it sends: every accepted message arrives, exactly once', async () => {
    const before = bob.device.texts.length
    const loop = runCli([
      'signal',
      'send-loop',
      ...database(),
      '--json',
      '--to',
      bob.primary.aci,
      '--text',
      'kill',
      '--count',
      '200',
      '--interval',
      '0',
    ])
    await eventually('it is under way', () => bob.device.texts.length > before + 5, 30_000)
    await endService('SIGKILL')
    const ran = await loop
    expect(ran.code).toBe(1)
    expect(lines(ran.stderr)).toMatchObject([{ error: { code: 'SIGNAL_NO_SERVICE' } }])
    const accepted = lines(ran.stdout).filter(({ outcome }) => outcome === 'sent').length
    await startService()
    const texts = () => bob.device.texts.filter(text => text.startsWith('kill '))
    await eventually('all have arrived', () => texts().length >= accepted)
    // And it goes on: what stood before this message has arrived before it.
    expect((await send('--to', bob.primary.aci, '--text', 'after the kill')).code).toBe(0)
    expect(await bob.device.next(({ content }) => content?.dataMessage?.body === 'after the kill')).toBeDefined()
    expect(texts()).toEqual(Array.from({ length: texts().length }, (_, index) => `kill ${index + 1}`))
    expect(texts().length - accepted).toBeLessThanOrEqual(1)
  })

  it('S15 S17 monitor ends with 0 on SIGTERM, and with 1 when the device is logged out', async () => {
    expect(await endService('SIGTERM')).toBe(0)
    await startService()
    const { child } = service as { child: ChildProcess }
    const ended = new Promise<number | null>(resolve => child.once('close', code => resolve(code)))
    let code: number | null | undefined
    void ended.then(ends => (code = ends))
    await eventually('it ends', async () => {
      await mock.call('closeOpenSockets', { aci: botPrimary.aci, deviceId: 2, code: 4401 })
      return code !== undefined
    })
    expect(code).toBe(1)
    service = undefined
    // It does not stand there doing nothing when it is started again.
    const again = await runCli(['signal', 'monitor', ...database(), ...server(), '--json'])
    expect(again.code).toBe(1)
    expect(lines(again.stderr)).toMatchObject([
      { error: { code: 'SIGNAL_LOGGED_OUT', hint: 'link it again: duologue signal link' } },
    ])
  })
})
