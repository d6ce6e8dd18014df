import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const limitMs = 90_000

it('the embedding example of the README runs as it stands there', { timeout: limitMs + 10_000 }, async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const [, example] = /```ts\n(.*?)```/s.exec(readme) ?? []
  if (example === undefined) throw new Error('the README has no example')
  const directory = await mkdtemp(join(tmpdir(), 'duologue-readme-'))
  try {
    const built = pathToFileURL(join(root, 'dist/src/index.js')).href
    const script = join(directory, 'example.mjs')
    await writeFile(script, example.replace("from 'duologue'", `from '${built}'`))
    const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: directory, timeout: limitMs })
    expect(stdout).toBe('hello\n')
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
