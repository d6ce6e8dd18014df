import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { keptWorkers } from './keptWorker.js'

/** The test files of the part that is being mutated, as main.mjs says, in the order in which they run. */
const files = (process.env['MUTATION_TESTS'] ?? '').split(',').filter(file => file !== '')
if (files.length === 0) throw new Error('MUTATION_TESTS names no test files: use `npm run test:mutation`')

const place = ({ moduleId }: TestSpecification): number => files.findIndex(file => moduleId.endsWith(file))

class InOrder extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    return specifications.sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  plugins: [
    {
      name: 'kept-workers',
      // Stryker asks for threads.
      configureVitest({ project }) {
        project.config.pool = keptWorkers.name
        project.config.poolRunner = keptWorkers
      },
    },
  ],
  test: {
    include: files,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    fileParallelism: false,
    // One thread for all files of a run: what they import is loaded once.
    isolate: false,
    sequence: { sequencer: InOrder },
  },
})
