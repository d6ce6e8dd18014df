/** What holds for every view: it looks as it did, everybody can use it, it needs nothing but itself. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { expectGolden } from '../../support/golden.js'
import type { ReviewData } from '../../../src/visualizer/model/review.js'
import { records, review, token } from './fixture.js'
import { button, describePage, loadTrace, step } from './harness.js'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** Rules that the page breaks, each with the elements that do. */
const broken = `axe.run().then(({ violations }) =>
  violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 160)).join(' | ')))`

interface View {
  readonly name: string
  readonly hash: string
  readonly review?: ReviewData
  /** Brings it into the state that is looked at. */
  readonly use: (page: Page) => Promise<void>
}

const views: readonly View[] = [
  {
    name: 'chart',
    hash: '#/sndQueueDelivery/waiting.offline',
    use: async page => {
      await page.waitForSelector('.state.selected')
    },
  },
  {
    name: 'step',
    hash: '#/step/subscription/pending',
    use: async page => {
      await button(page, 'subscription.confirmed').click()
      await button(page, 'not current').click()
    },
  },
  { name: 'sides', hash: '#/sides/quota', use: page => step(page, 16) },
  {
    name: 'live',
    hash: `#/live?token=${token}`,
    use: async page => {
      await page.waitForSelector('.counts li')
      await page.locator('.transition-row', { hasText: 'session.closed' }).click()
      await page.waitForSelector('.panel .state.active:not(.machine)')
    },
  },
  { name: 'live-connect', hash: '#/live', use: async () => {} },
  {
    name: 'replay',
    hash: '#/replay',
    use: async page => {
      await loadTrace(page, records.map(record => JSON.stringify(record)).join('\n'))
      await page.locator('.transition-row', { hasText: 'subscription.confirmed' }).click()
      await page.getByLabel('Position in the trace').fill('6')
      await page.waitForSelector('.panel .state.active:not(.machine)')
    },
  },
  {
    name: 'review',
    hash: '#/review/routerSession',
    review,
    use: async page => {
      await button(page, 'Coverage').click()
      await page.waitForSelector('.edge.uncovered')
    },
  },
  {
    name: 'review-changes',
    hash: '#/review/routerSession',
    review,
    use: async page => {
      await page.waitForSelector('.state.added[data-state="offline"]')
      await button(page, 'Fit').click()
    },
  },
]

/** Views whose colours say most. */
const alsoDark = new Set(['chart', 'sides'])

describePage('every view', ({ visit }) => {
  it.each(views)('$name looks as it did and is accessible, light and dark', async ({ name, hash, use, review }) => {
    const page = await visit(hash, review === undefined ? {} : { review })
    await use(page)
    for (const theme of ['light', 'dark']) {
      await page.getByLabel('Colours').selectOption(theme)
      // Nothing has the focus and nothing is under the pointer.
      await page.evaluate('document.activeElement?.blur()')
      await page.mouse.move(0, 0)
      if (theme === 'light' || alsoDark.has(name)) expectGolden(`${name}-${theme}`, await page.screenshot())
      await page.evaluate(axe)
      expect(await page.evaluate(broken)).toEqual([])
    }
  })
})

describePage('the page', ({ visit }) => {
  it('works from disk and without a network', async () => {
    const url = new URL('../../../dist/visualizer/index.html', import.meta.url).href
    const page = await visit('#/subscription', { url, offline: true, ready: '.diagram' })
    await page.getByRole('link', { name: 'Two sides' }).click()
    await page.waitForSelector('.sequence')
  })

  it('light and dark are chosen and kept, or are as the system is', async () => {
    const background = (page: Page): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor')
    const page = await visit('#/subscription')
    const light = await background(page)
    await page.getByLabel('Colours').selectOption('dark')
    const dark = await background(page)
    expect(dark).not.toBe(light)
    await page.reload()
    await page.waitForSelector('.diagram')
    expect(await background(page)).toBe(dark)
    expect(await background(await visit('#/subscription', { dark: true }))).toBe(dark)
  })

  describe('on a narrow screen', () => {
    it('has the chart above and what is known about it below', async () => {
      const page = await visit('#/subscription', { width: 600, height: 900 })
      const chart = await page.locator('.canvas').boundingBox()
      const panel = await page.locator('.panel').boundingBox()
      expect(chart?.width).toBe(600)
      expect(panel?.y).toBeGreaterThanOrEqual((chart?.y ?? 0) + (chart?.height ?? 0))
    })
  })
})
