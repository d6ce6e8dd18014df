/** Mutation tests: `npm run test:mutation` (test/mutation/main.mjs) runs this once for each part of test/mutation/plan.mjs. */

/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  testRunner: 'vitest',
  vitest: { configFile: 'test/mutation/vitest.config.ts', related: false },
  plugins: ['@stryker-mutator/vitest-runner', './test/mutation/ignore.mjs', './test/mutation/compiled.mjs'],
  ignorers: ['undecided'],
  checkers: process.env['MUTATION_COMPILED'] === '1' ? ['compiler'] : [],
  mutator: { excludedMutations: (process.env['MUTATION_EXCLUDED'] ?? '').split(',').filter(name => name !== '') },
  coverageAnalysis: 'perTest',
  ignoreStatic: process.env['MUTATION_IGNORE_STATIC'] === '1',
  concurrency: 2,
  // A machine that does other work too must not make slow tests look like killed mutants.
  timeoutMS: 30_000,
  timeoutFactor: 4,
  dryRunTimeoutMinutes: 60,
  incremental: true,
  warnings: { slow: false, preprocessorErrors: true, unknownOptions: true, unserializableOptions: true },
  reporters: [process.stdout.isTTY ? 'progress' : 'progress-append-only'],
  cleanTempDir: 'always',
  ignorePatterns: ['/dist', '/docs', '/test/results', '/test/faults', '/test/bench', '/test/vectors', '/.duologue'],
  // No such file: Stryker 9 cannot read one with TypeScript 7, and the tests need none.
  tsconfigFile: 'none',
}
