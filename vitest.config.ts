import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/transitions/record.ts', 'test/support/propertySeed.ts'],
    globalSetup: ['test/transitions/collect.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // One second, the default, is short where others keep the processors busy.
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 2,
  },
})
