/** Plans that once went wrong, as small as they became (plans/): what they found must not come back. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { Plan } from './plan.js'
import { run } from './run.js'

const folder = new URL('plans/', import.meta.url)

it.each(readdirSync(folder))('%s', { timeout: 120_000 }, async name => {
  const plan = JSON.parse(readFileSync(new URL(encodeURIComponent(name), folder), 'utf8')) as Plan
  const { wrong, delivered } = await run(plan)
  expect(wrong).toEqual([])
  expect(delivered).toBeGreaterThan(0)
})
