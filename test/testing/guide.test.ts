import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const limitMs = 90_000

it('the example of docs/TESTING.md runs as it stands there, on the packages that it names', {
  timeout: limitMs + 10_000,
}, async () => {
  const guide = await readFile(join(root, 'docs/TESTING.md'), 'utf8')
  const [, example] = /```ts\n(.*?)```/s.exec(guide) ?? []
  if (example === undefined) throw new Error('the guide has no example')
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string } | string>
  }
  const places = Object.entries(manifest.exports).flatMap(([name, place]) =>
    typeof place === 'string'
      ? []
      : [[name.replace('.', 'duologue'), pathToFileURL(join(root, place.default)).href] as const],
  )
  const script = [...places, ['fast-check', import.meta.resolve('fast-check')] as const].reduce(
    (text, [name, place]) => text.replace(`from '${name}'`, `from '${place}'`),
    example,
  )
  const directory = await mkdtemp(join(tmpdir(), 'duologue-testing-'))
  try {
    await writeFile(join(directory, 'example.mjs'), script)
    const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], {
      cwd: directory,
      timeout: limitMs,
    })
    expect(stdout).toBe('all is well\n')
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
