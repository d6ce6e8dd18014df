/** Tests that draw their cases, run by vitest in a process of its own with a seed. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export type Suite = 'properties' | 'faults'

/** What vitest is told to run: parts of the paths of test files. */
const files: Readonly<Record<Suite, readonly string[]>> = {
  properties: ['.property.test.ts', 'test/fuzz/'],
  faults: ['test/faults/'],
}

export const suites = Object.keys(files) as readonly Suite[]

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** Longer than any suite takes on a busy machine: then something hangs. */
const limitMs = 3_600_000

/** Whether all tests passed. What vitest prints goes to the terminal, for a failure with the seed and the shrunk case. */
export const runSuite = (suite: Suite, seed: number): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const vitest = `${root}node_modules/vitest/vitest.mjs`
    const child = spawn(process.execPath, [vitest, 'run', '--reporter=dot', ...files[suite]], {
      cwd: root,
      stdio: ['ignore', process.stderr, process.stderr],
      timeout: limitMs,
      env: { ...process.env, PROPERTY_SEED: String(seed), KILL_SEED: String(seed) },
    })
    child.on('error', reject)
    child.on('exit', code => resolve(code === 0))
  })
