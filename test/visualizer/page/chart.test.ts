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
    expect(await page.evaluate(inSight)).toBe(true)
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
    const after = await page.locator('[data-state="pending"]').boundingBox()
    expect((before?.y ?? 0) - (after?.y ?? 0)).toBeGreaterThan(40)
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
    const after = await state.boundingBox()
    expect(Math.round((after?.x ?? 0) - before.x)).toBe(70)
    expect(page.url()).toMatch(/#\/subscription$/)
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
    let [fastest, leastWork] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    // One run below the limit shows that it can be done.
    for (let run = 0; run < 3 && fastest >= 1_000; run++) {
      const page = await visit('#/live', { ready: '.ready' })
      const metrics = await page.context().newCDPSession(page)
      await metrics.send('Performance.enable', { timeDomain: 'threadTicks' })
      await page.goto('about:blank')
      const before = await threadMs(metrics)
      await page.goto(`${fixture().host.url}#/${largest}`)
      await page.waitForFunction(() => performance.getEntriesByName('chart drawn').length > 0)
      fastest = Math.min(
        fastest,
        await page.evaluate<number>('performance.getEntriesByName("chart drawn")[0].startTime'),
      )
      leastWork = Math.min(leastWork, (await threadMs(metrics)) - before)
      await page.close()
    }
    expect(leastWork).toBeGreaterThan(0)
    // Where others keep the processors busy, a second on the clock says nothing: then a second of work is what counts.
    const isOverloaded = (loadavg()[0] ?? 0) > availableParallelism()
    expect(isOverloaded ? Math.min(fastest, leastWork) : fastest).toBeLessThan(1_000)
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
