/** A headless Chromium for tests of the page. Nothing is installed here: it is used if it is there. */
import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'

const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/google-chrome',
]

/** Where the browser is; undefined on a machine without one. */
export const chromiumPath = [process.env['CHROMIUM_PATH'] ?? '', ...places].find(
  path => path !== '' && existsSync(path),
)

/** What a test says that is left out for want of a browser. */
export const withoutChromium = 'needs Chromium: apt-get install chromium, or set CHROMIUM_PATH'

// The same picture on every machine: no hinting, no subpixels, one colour profile.
const drawing = ['--font-render-hinting=none', '--disable-lcd-text', '--force-color-profile=srgb', '--hide-scrollbars']
const isRoot = process.getuid?.() === 0

export const launchChromium = (): Promise<Browser> =>
  chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: [...drawing, ...(isRoot ? ['--no-sandbox'] : [])],
  })

export interface OpenedPage {
  readonly page: Page
  /** Errors of the console and of scripts so far. */
  readonly problems: string[]
}

export interface PageOptions {
  readonly dark?: boolean
  readonly offline?: boolean
  readonly width?: number
  readonly height?: number
}

/** A new page with a size and without motion, which notes what goes wrong in it. */
export const openPage = async (browser: Browser, options: PageOptions = {}): Promise<OpenedPage> => {
  const { dark = false, offline = false, width = 1280, height = 800 } = options
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
    timezoneId: 'UTC',
    locale: 'en',
    acceptDownloads: true,
    offline,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const problems: string[] = []
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text())
  })
  page.on('pageerror', error => problems.push(error.message))
  return { page, problems }
}
