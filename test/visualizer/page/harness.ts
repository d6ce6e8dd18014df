/** The page in a real browser, for the tests of its views. */
import type { Browser, Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { chromiumPath, launchChromium, openPage, type PageOptions, withoutChromium } from '../../support/browser.js'
import { readPage } from '../../../src/service/visualizerHost.js'
import { withReview } from '../../../src/visualizer/model/embedded.js'
import type { ReviewData } from '../../../src/visualizer/model/review.js'
import { openFixture, type PageFixture } from './fixture.js'

export interface PageHarness {
  readonly fixture: () => PageFixture
  /** Opens the page at `#…` and waits until the view is there. */
  readonly visit: (hash: string, options?: VisitOptions) => Promise<Page>
}

export interface VisitOptions extends PageOptions {
  /** What shows that the view is there. */
  readonly ready?: string
  /** Another address than that of the fixture. */
  readonly url?: string
  /** A review that the page was written with. */
  readonly review?: ReviewData
}

/** Runs tests with one browser; says why when there is none. After each test nothing may be wrong in the console. */
export const describePage = (name: string, tests: (harness: PageHarness) => void): void => {
  if (chromiumPath === undefined) it.skip(`${name}: ${withoutChromium}`, () => {})
  describe.runIf(chromiumPath !== undefined)(name, { timeout: 120_000 }, () => {
    let browser: Browser
    let fixture: PageFixture
    const open: Array<{ page: Page; problems: string[] }> = []
    beforeAll(async () => {
      browser = await launchChromium()
      fixture = await openFixture()
    })
    afterAll(async () => {
      await browser.close()
      await fixture.host.close()
    })
    afterEach(async () => {
      for (const { page, problems } of open.splice(0)) {
        await page.context().close()
        expect(problems).toEqual([])
      }
    })
    tests({
      fixture: () => fixture,
      visit: async (hash, options = {}) => {
        const { ready = '.diagram, .ready, .sequence', url = fixture.host.url } = options
        const opened = await openPage(browser, options)
        open.push(opened)
        const { review } = options
        if (review !== undefined) {
          const body = withReview((await readPage()).html, review)
          await opened.page.route(url, route => route.fulfill({ contentType: 'text/html', body }))
        }
        await opened.page.goto(`${url}${hash}`)
        await opened.page.waitForSelector(ready)
        return opened.page
      },
    })
  })
}

export const button = (page: Page, name: string | RegExp): Locator =>
  page.getByRole('button', typeof name === 'string' ? { name, exact: true } : { name })

/** Goes on with the script of a scenario. */
export const step = async (page: Page, times: number): Promise<void> => {
  for (let n = 0; n < times; n++) await button(page, 'Step').click()
}

export const loadTrace = (page: Page, text: string): Promise<void> =>
  page
    .getByLabel('Trace file')
    .setInputFiles({ name: 'trace.jsonl', mimeType: 'text/plain', buffer: Buffer.from(text) })
