import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { protocolMachines, workerMachines } from '../../machines/index.js'
import { cliPath, runCli } from '../support/cli.js'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duologue-visualize-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const machines = Object.keys({ ...protocolMachines, ...workerMachines })

describe('duologue visualize', { timeout: 120_000 }, () => {
  it('--out writes the page, and every machine as Mermaid, SCXML and JSON', async () => {
    const out = join(directory, 'charts')
    const { code, stdout } = await runCli(['visualize', '--out', out, '--json'])
    expect(code).toBe(0)
    const names = ['index.html', ...machines.flatMap(name => [`${name}.json`, `${name}.mmd`, `${name}.scxml`])].sort()
    expect((await readdir(out)).sort()).toEqual(names)
    expect(JSON.parse(stdout).files.sort()).toEqual(names)
    const page = await readFile(join(out, 'index.html'), 'utf8')
    // One file that loads nothing.
    expect(page).not.toMatch(/<(?:script|link)[^>]+(?:src|href)="(?!data:)/)
    for (const name of machines) expect(page).toContain(name)
    expect(JSON.parse(await readFile(join(out, 'connection.json'), 'utf8'))).toMatchObject({ name: 'connection' })
  })

  it('serves the page until it is stopped', async () => {
    let url = ''
    let status = 0
    const ran = await runCli(['visualize', '--port', '0'], {
      onStdout: (text, signal) => {
        if (url !== '' || !text.includes('\n')) return
        url = text.trim()
        void fetch(url).then(response => {
          status = response.status
          signal('SIGTERM')
        })
      },
    })
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/visualizer\/$/)
    expect(status).toBe(200)
  })

  it('says what is wrong with a place that cannot be written, and with a port that is none', async () => {
    await writeFile(join(directory, 'file'), '')
    const { code, stderr } = await runCli(['visualize', '--out', join(directory, 'file', 'x'), '--json'])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIG_FILE' } })
    expect((await runCli(['visualize', '--port', 'http'])).code).toBe(2)
  })
})

describe('duologue agent --visualizer', { timeout: 120_000 }, () => {
  const router = `smp://${'A'.repeat(43)}=@127.0.0.1:1`

  /** An agent as a process, from its first line on stderr to the end of its input. */
  const withAgent = async (env: Record<string, string>, use: (link: string) => Promise<void>): Promise<void> => {
    const args = ['agent', '--stdio', '--db', join(directory, 'db'), '--router', router, '--visualizer', '0']
    const child = spawn(process.execPath, [cliPath, ...args], { env: { ...process.env, ...env } })
    const ended = once(child, 'close')
    try {
      let told = ''
      for await (const chunk of child.stderr) {
        told += String(chunk)
        if (told.includes('\n')) break
      }
      await use(/^visualizer: (\S+)\n/.exec(told)?.[1] ?? told)
    } finally {
      child.stdin.end()
    }
    expect(await ended).toEqual([0, null])
  }

  const welcome = async (url: string, token: string): Promise<unknown> => {
    const socket = new WebSocket(new URL('live', url.replace('http', 'ws')))
    await once(socket, 'open')
    socket.send(JSON.stringify({ type: 'hello', token }))
    const [data] = await once(socket, 'message')
    socket.close()
    return JSON.parse(String(data))
  }

  it('prints a link with a token, serves the page and the live view, and ends with its agent', async () => {
    await withAgent({}, async link => {
      const [url = '', token = ''] = link.split('#/live?token=')
      expect(token).toMatch(/^[\w-]{32}$/)
      expect((await fetch(url)).status).toBe(200)
      expect(await welcome(url, token)).toMatchObject({ type: 'welcome' })
    })
  })

  it('does not print a token that was chosen', async () => {
    await withAgent({ DUOLOGUE_VISUALIZER_TOKEN: 'chosen' }, async link => {
      expect(link).toMatch(/\/visualizer\/$/)
      expect(await welcome(link, 'chosen')).toMatchObject({ type: 'welcome' })
    })
  })
})

describe('duologue review', { timeout: 120_000 }, () => {
  it('prints every machine with what is open, and paints coverage when there is a test run', async () => {
    const coverage = join(directory, 'transitions.json')
    const taken = { connection: { 'new | queue.created | 0': 4 } }
    await writeFile(coverage, JSON.stringify({ at: 1, files: 3, taken }))
    const { code, stdout } = await runCli(['review', '--coverage', coverage])
    expect(code).toBe(0)
    for (const name of machines) expect(stdout).toMatch(new RegExp(`^${name} `, 'm'))
    expect(stdout).toContain('connection: no test takes')
    expect(stdout).not.toContain('no test takes new × queue.created × 0')
  })

  it('compares the machines with those of a revision, in words and as a page', async () => {
    const out = join(directory, 'review')
    const { code, stdout } = await runCli(['review', '--from', 'HEAD', '--out', out, '--json'])
    expect(code).toBe(0)
    const { changes, machines: reviews } = JSON.parse(stdout)
    expect(reviews.map(({ name }: { name: string }) => name)).toEqual(machines)
    expect(changes.map(({ name }: { name: string }) => name).sort()).toEqual([...machines].sort())
    const page = await readFile(join(out, 'index.html'), 'utf8')
    const [, data = ''] = /<script type="application\/json" id="review-data">(.*?)<\/script>/.exec(page) ?? []
    expect(JSON.parse(data)).toMatchObject({ diff: { from: 'HEAD', to: 'this build' } })
  })

  it('says what is wrong with a revision, a file of coverage and options that do not go together', async () => {
    const failed = async (...args: string[]): Promise<unknown> => {
      const { code, stderr } = await runCli(['review', '--json', ...args])
      expect(code).toBe(1)
      return JSON.parse(stderr).error.code
    }
    expect(await failed('--from', 'no-such-revision')).toBe('CONFIG_REVISION')
    expect(await failed('--from', '--output=x')).toBe('CONFIG_REVISION')
    expect(await failed('--coverage', join(directory, 'none.json'))).toBe('CONFIG_FILE')
    await writeFile(join(directory, 'bad.json'), '[]')
    expect(await failed('--coverage', join(directory, 'bad.json'))).toBe('CONFIG_FILE')
    expect((await runCli(['review', '--to', 'HEAD'])).code).toBe(2)
  })

  it('says where a comparison works: in a checkout of duologue, and in no other repository', async () => {
    const told = async (): Promise<unknown> => {
      const { code, stderr } = await runCli(['review', '--json', '--from', 'HEAD'], { cwd: directory })
      expect(code).toBe(1)
      return JSON.parse(stderr)
    }
    const outside = { error: { code: 'CONFIG_REVISION', message: expect.stringContaining('only a git checkout') } }
    expect(await told()).toMatchObject(outside)
    execFileSync('git', ['init', '-q', directory])
    await writeFile(join(directory, 'package.json'), '{"name":"other"}')
    expect(await told()).toMatchObject(outside)
  })
})
