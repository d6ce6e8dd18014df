/** The machines of another git revision, loaded beside those that run. Works in a checkout with its development tools. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { ConfigError } from '../../errors.js'
import type { Chart } from '../../visualizer/model/chart.js'

const run = promisify(execFile)
const gitMs = 20_000

/**
 * Charts of the machines at a revision, in the order of their index.
 *
 * @throws ConfigError CONFIG_REVISION outside of a checkout, when git has no such revision or it has no machines; CONFIG_TOOLS without vite.
 */
export const machinesAt = async (revision: string): Promise<Chart[]> => {
  const root = await checkoutRoot(revision)
  const commit = (await git(['rev-parse', '--verify', '--end-of-options', `${revision}^{commit}`], revision)).trim()
  const names = (await git(['-C', root, 'ls-tree', '--name-only', commit, 'machines/'], revision))
    .split('\n')
    .filter(name => name.endsWith('.ts'))
  if (!names.includes('machines/index.ts')) throw unknownRevision(revision)
  // Within the checkout, so that `xstate` is found from there.
  const cache = join(root, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const directory = await mkdtemp(join(cache, 'duologue-review-'))
  try {
    const transform = await typeStripper()
    for (const name of names) {
      const source = await git(['-C', root, 'show', `${commit}:${name}`], revision)
      const file = join(directory, name.replace(/^machines\//, '').replace(/\.ts$/, '.js'))
      await writeFile(file, await transform(source, name))
    }
    await writeFile(join(directory, 'package.json'), '{"type":"module"}')
    const module = (await import(pathToFileURL(join(directory, 'index.js')).href)) as Record<string, unknown>
    const [{ machinesOf }, { chartOf }] = await Promise.all([
      import('../../visualizer/model/machines.js'),
      import('../../visualizer/model/chart.js'),
    ])
    return machinesOf(module).map(({ machine }) => chartOf(machine))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The checkout that the command runs in: history and tools are there, not in an installed package. */
const checkoutRoot = async (revision: string): Promise<string> => {
  let root: string
  try {
    root = (await run('git', ['rev-parse', '--show-toplevel'], { timeout: gitMs })).stdout.trim()
  } catch (cause) {
    throw noCheckout(revision, cause)
  }
  // Somebody else's repository has other revisions.
  if ((await packageName(root)) !== 'duologue') throw noCheckout(revision)
  return root
}

const packageName = async (directory: string): Promise<unknown> => {
  try {
    return (JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as { readonly name?: unknown }).name
  } catch {
    return undefined
  }
}

const noCheckout = (revision: string, cause?: unknown): ConfigError =>
  new ConfigError('CONFIG_REVISION', 'only a git checkout of duologue knows the machines of another revision', {
    field: revision,
    hint: 'git clone, npm ci, npm run build; then run it there',
    ...(cause === undefined ? {} : { cause }),
  })

const git = async (args: readonly string[], revision: string): Promise<string> => {
  try {
    const { stdout } = await run('git', [...args], { timeout: gitMs, maxBuffer: 64 * 1_048_576 })
    return stdout
  } catch (cause) {
    throw unknownRevision(revision, cause)
  }
}

const unknownRevision = (revision: string, cause?: unknown): ConfigError =>
  new ConfigError('CONFIG_REVISION', 'git has no machines at this revision', {
    field: revision,
    hint: 'run it in a checkout, with a branch, tag or commit that has machines/index.ts',
    ...(cause === undefined ? {} : { cause }),
  })

const typeStripper = async (): Promise<(source: string, name: string) => Promise<string>> => {
  try {
    const { transformWithOxc } = await import('vite')
    return async (source, name) => (await transformWithOxc(source, name)).code
  } catch (cause) {
    throw new ConfigError('CONFIG_TOOLS', 'the machines of another revision need the development tools', {
      field: 'vite',
      hint: 'npm ci in a checkout',
      cause,
    })
  }
}
