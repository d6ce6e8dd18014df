import { readFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import type { CDPSession, Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { chartOf } from '../../../src/visualizer/model/chart.js'
import { scxmlOf } from '../../../src/visualizer/model/exports/scxml.js'
import { machines } from '../../../src/visualizer/model/machines.js'
import { button, describePage } from './harness.js'

/** How long the page's main thread has been at work, in ms of its own. */
const threadMs = async (session: CDPSession): Promise<number> => {
  const { metrics } = await session.send('Performance.getMetrics')
  return 1_000 * (metrics.find(({ name }) => name === 'ThreadTime')?.value ?? Number.NaN)
}

/** An odd number of runs, of which the one in the middle counts. */
const runs = 3
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[(runs - 1) / 2] ?? Number.NaN

/** Boxes of states and labels of edges that cover each other. */
const overlapping = `(() => {
  const boxes = [...document.querySelectorAll('.diagram .state:not(.compound) > .box, .diagram .label > rect')]
    .map(box => ({ text: box.parentElement.textContent.slice(0, 40), ...box.getBoundingClientRect().toJSON() }))
  const meet = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1
  return boxes.flatMap((a, index) => boxes.slice(index + 1).filter(b => meet(a, b)).map(b => a.text + ' × ' + b.text))
})()`
/** Lines of text that are wider than their box. */
const stickingOut = `[...document.querySelectorAll('.diagram .state, .diagram .label')].flatMap(group => {
  const right = group.querySelector('rect').getBoundingClientRect().right
  return [...group.querySelectorAll('text')]
    .filter(text => text.getBoundingClientRect().right > right + 1)
    .map(text => text.textContent)
})`
const inSight = `(() => {
  const { top, left, bottom, right } = document.querySelector('[data-state="waiting.slow"]').getBoundingClientRect()
  return top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth
})()`
/** What is wrong with a text as XML. */
const problemOf = (text: string): string =>
  `new DOMParser().parseFromString(${JSON.stringify(text)}, 'application/xml').querySelector('parsererror')?.textContent`

describePage('Chart', ({ visit, fixture }) => {
  it.each(machines)('draws $name: every state once, nothing covers or sticks out of anything', async named => {
    const { machine, name } = named
    const page = await visit(`#/${name}`)
    const chart = chartOf(machine)
    const drawn = await page
      .locator('.diagram .state')
      .evaluateAll(states => states.map(state => state.getAttribute('data-state') ?? '?'))
    expect(drawn.toSorted()).toEqual(chart.states.map(({ path }) => path).toSorted())
    expect(await page.evaluate(overlapping)).toEqual([])
    expect(await page.evaluate(stickingOut)).toEqual([])
  })

  it('a link names a state: it is chosen, in sight and explained', async () => {
    const page = await visit('#/sndQueueDelivery/waiting.slow')
    await page.waitForSelector('.state.selected[data-state="waiting.slow"]')
    const panel = page.getByRole('complementary', { name: 'What is chosen' })
    await panel.getByText('The queue is full: minutes').waitFor()
    const text = await panel.innerText()
    expect(text).toContain('QCONT from the other party ends the wait for room at once')
    expect(text).toContain('the full queue has room again')
    expect(text).toContain('it stands behind the one that waits')
    await expect.poll(() => page.evaluate(inSight)).toBe(true)
  })

  it('is used by keyboard: states by Tab and Enter, the surface by arrows, plus and 0', async () => {
    const page = await visit('#/subscription')
    await page.locator('[data-state="pending"]').focus()
    await page.keyboard.press('Enter')
    await expect.poll(() => page.url()).toContain('#/subscription/pending')
    await page.locator('.surface').focus()
    await page.keyboard.press('+')
    await button(page, '120%').waitFor()
    const before = await page.locator('[data-state="pending"]').boundingBox()
    await page.keyboard.press('ArrowDown')
    const movedUp = async (): Promise<number> =>
      (before?.y ?? 0) - ((await page.locator('[data-state="pending"]').boundingBox())?.y ?? 0)
    await expect.poll(movedUp).toBeGreaterThan(40)
    await page.keyboard.press('0')
    await button(page, '100%').waitFor()
  })

  it('moves by dragging, and a drag chooses nothing', async () => {
    const page = await visit('#/subscription')
    const state = page.locator('[data-state="pending"]')
    const before = await state.boundingBox()
    if (before === null) throw new Error('no state')
    await page.mouse.move(before.x + 20, before.y + 12)
    await page.mouse.down()
    await page.mouse.move(before.x + 90, before.y + 62, { steps: 5 })
    await page.mouse.up()
    await expect.poll(async () => Math.round(((await state.boundingBox())?.x ?? 0) - before.x)).toBe(70)
    expect(page.url()).toMatch(/#\/subscription$/)
  })

  it('shows a large chart from its first state on, and a small map moves over it', async () => {
    const page = await visit('#/signalSend')
    const first = page.locator('[data-state="choosing"]')
    const [start, surface] = [await first.boundingBox(), await page.locator('.surface').boundingBox()]
    const centre = (box: { x: number; width: number } | null): number => (box?.x ?? 0) + (box?.width ?? 0) / 2
    expect(Math.abs(centre(start) - centre(surface))).toBeLessThan(5)
    expect(start?.y).toBeLessThan(200)
    const map = await page.locator('.minimap').boundingBox()
    await page.mouse.click((map?.x ?? 0) + (map?.width ?? 0) / 2, (map?.y ?? 0) + (map?.height ?? 0) - 10)
    await expect.poll(async () => (await first.boundingBox())?.y).toBeLessThan(-500)
    await page.locator('.surface').focus()
    await page.keyboard.press('f')
    await page.locator('.minimap').waitFor({ state: 'detached' })
  })

  it('a transition to a state that many lead to is words, which lead there', async () => {
    const page = await visit('#/signalSend/probing')
    await page.locator('[data-state="probing"] .jump', { hasText: 'waiting.unreached' }).first().click()
    await page.waitForSelector('.state.selected[data-state="waiting.unreached"]')
    expect(page.url()).toContain('#/signalSend/waiting.unreached')
  })

  it('what Tab leads to comes into sight', async () => {
    const page = await visit('#/signalSend')
    await page.locator('.surface').focus()
    const isInSight = `(() => {
      const { top, left, bottom, right } = document.activeElement.getBoundingClientRect()
      const box = document.querySelector('.canvas').getBoundingClientRect()
      return top >= box.top && left >= box.left && bottom <= box.bottom && right <= box.right
    })()`
    for (let n = 0; n < 30; n++) {
      await page.keyboard.press('Tab')
      if (!(await page.evaluate('document.activeElement.matches(".state:not(.compound)")'))) continue
      await expect.poll(() => page.evaluate(isInSight)).toBe(true)
    }
    expect(await page.evaluate('document.querySelector("main").scrollTop')).toBe(0)
  })

  it('finds states by words of theirs and of their behaviours', async () => {
    const page = await visit('#/subscription')
    await page.keyboard.press('/')
    await page.keyboard.type('waiting.slow room at once')
    await page.getByRole('link', { name: /sndQueueDelivery · waiting\.slow/ }).waitFor()
    await page.keyboard.press('Enter')
    await page.waitForSelector('.state.selected[data-state="waiting.slow"]')
  })

  it('says so when there is no such machine or state', async () => {
    const page = await visit('#/nobody', { ready: '.missing' })
    expect(await page.locator('.missing').innerText()).toBe('There is no machine nobody.')
    await page.goto(`${fixture().host.url}#/subscription/nowhere`)
    await page.getByText('subscription has no state nowhere.').waitFor()
  })

  it('paints the largest machine within a second', async () => {
    const size = (name: string): number => {
      const named = machines.find(machine => machine.name === name)
      return named === undefined ? 0 : chartOf(named.machine).transitions.length
    }
    const largest = machines.map(({ name }) => name).reduce((a, b) => (size(a) >= size(b) ? a : b))
    const paints: number[] = []
    const works: number[] = []
    for (let run = 0; run < runs; run++) {
      const page = await visit('#/live', { ready: '.ready' })
      const metrics = await page.context().newCDPSession(page)
      await metrics.send('Performance.enable', { timeDomain: 'threadTicks' })
      await page.goto('about:blank')
      const before = await threadMs(metrics)
      await page.goto(`${fixture().host.url}#/${largest}`)
      await page.waitForFunction(() => performance.getEntriesByName('chart drawn').length > 0)
      paints.push(await page.evaluate<number>('performance.getEntriesByName("chart drawn")[0].startTime'))
      works.push((await threadMs(metrics)) - before)
      await page.close()
    }
    // What the page itself has worked must always be below a second. A second on the clock says something only where nobody
    // else keeps the processors busy.
    expect(median(works)).toBeGreaterThan(0)
    expect(median(works)).toBeLessThan(1_000)
    const isOverloaded = (loadavg()[0] ?? 0) > availableParallelism()
    if (!isOverloaded) expect(median(paints)).toBeLessThan(1_000)
  })
})

describePage('Export', ({ visit }) => {
  const exported = async (page: Page, format: string): Promise<Buffer> => {
    const download = page.waitForEvent('download')
    await page.getByLabel('Export the chart').selectOption(format)
    const file = await (await download).path()
    return readFileSync(file)
  }

  it('saves SVG that stands alone, PNG, Mermaid, SCXML and JSON', async () => {
    const page = await visit('#/sndQueueDelivery')
    const svg = (await exported(page, 'SVG')).toString()
    expect(svg).not.toContain('var(--')
    expect(svg).toContain('waiting')
    expect(await page.evaluate(problemOf(svg))).toBeUndefined()
    const png = await exported(page, 'PNG')
    expect(png.subarray(1, 4).toString()).toBe('PNG')
    expect(png.readUInt32BE(16)).toBeGreaterThan(800)
    expect((await exported(page, 'Mermaid')).toString()).toMatch(/^stateDiagram-v2/)
    expect((await exported(page, 'SCXML')).toString()).toContain('<scxml')
    expect(JSON.parse((await exported(page, 'JSON')).toString())).toMatchObject({ name: 'sndQueueDelivery' })
  })

  it('every machine is well-formed SCXML', async () => {
    const page = await visit('#/subscription')
    for (const { machine, name } of machines) {
      expect(await page.evaluate(problemOf(scxmlOf(chartOf(machine)))), name).toBeUndefined()
    }
  })
})
