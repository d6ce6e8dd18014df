import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { protocolMachines, workerMachines } from '../../machines/index.js'
import { runCli } from '../support/cli.js'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duologue-visualize-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const machines = Object.keys({ ...protocolMachines, ...workerMachines })

describe('duologue visualize', () => {
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

describe('duologue review', () => {
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
})
