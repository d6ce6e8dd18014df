import type { Page } from 'playwright-core'
import { beforeAll, expect, it } from 'vitest'
import { createLiveFeed } from '../../../src/service/liveFeed.js'
import { openVisualizerHost } from '../../../src/service/visualizerHost.js'
import { type AgentWorld, agentWorld } from '../../support/agentWorld.js'
import { records, token } from './fixture.js'
import { button, describePage, loadTrace } from './harness.js'

describePage('Live', ({ visit }) => {
  let world: AgentWorld
  beforeAll(() => {
    world = agentWorld()
    return () => world.close()
  })

  it('follows an agent: who is in which state, units of work in their order, one actor and its last events', async () => {
    const feed = createLiveFeed()
    const router = await world.startRouter()
    const alice = await world.startAgent('alice', [router], { trace: feed.trace })
    const bob = await world.startAgent('bob', [router])
    const host = await openVisualizerHost({ live: { agent: alice.agent, feed, token } })
    let page: Page | undefined
    try {
      page = await visit(`#/live?token=${token}`, { url: host.url, ready: '.trace' })
      // The token does not stay in the address.
      expect(page.url()).not.toContain(token)
      const { initiatorId } = await world.connect(alice, bob)
      await page.locator('.unit-head', { hasText: 'allowConnection' }).first().waitFor()
      await page.getByText('release').first().waitFor()
      await page.locator('.transition-row', { hasText: 'rcv → confirmed' }).click()
      const state = page.getByTestId('actor-state')
      await expect.poll(() => state.innerText()).toBe('connected')
      await page.locator('.panel .state.active[data-state="connected"]').waitFor()
      await alice.agent.sendMessage({ connectionId: initiatorId, body: 'hi' })
      await page.locator('.actor-history', { hasText: 'message.send' }).waitFor()
      await button(page, /^connection\s*1$/).waitFor()
      const all = await page.locator('.units > li').count()
      await page.getByLabel('Connection', { exact: true }).fill(initiatorId)
      await expect.poll(() => page?.locator('.units > li').count()).toBeLessThan(all)
      expect(await page.locator('.units > li').count()).toBeGreaterThan(5)
      await page.getByLabel('Connection', { exact: true }).fill('')
      // A kind of actors, all and those in one state.
      await button(page, /^rcvQueueSwitch\s*1$/).click()
      await page.locator('.party .actor', { hasText: 'idle' }).waitFor()
      await button(page, 'connected 1').click()
      await page.getByRole('heading', { name: 'connection in connected' }).waitFor()
      await page.locator('.party .actor .lit', { hasText: 'connected' }).click()
    } finally {
      await host.close()
    }
    await page.getByText('connection lost').waitFor()
  })

  it('asks for the token, and says when it is wrong', async () => {
    const page = await visit('#/live')
    await page.getByLabel('Token').fill('wrong')
    await button(page, 'Connect').click()
    await page.getByText('The agent does not take this token.').waitFor()
    await page.getByLabel('Token').fill(token)
    await button(page, 'Connect').click()
    await page.waitForSelector('.trace')
  })
})

describePage('Replay', ({ visit }) => {
  it('moves through a trace: the states of actors at every moment', async () => {
    const page = await visit('#/replay')
    await loadTrace(page, `${records.map(record => JSON.stringify(record)).join('\n')}\nnot a record\n`)
    await page.getByText('10 / 10').waitFor()
    await page.getByText('1 line is no record').click()
    await page.getByText('line 11: it is no JSON not a record').waitFor()
    await page.getByText('1 line is no record').click()
    await page.locator('.transition-row', { hasText: 'subscription.confirmed' }).click()
    await page.locator('.panel .state.active[data-state="pending"]').waitFor()
    await page.getByLabel('Position in the trace').fill('2')
    await page.locator('.panel .state.active[data-state="active"]').waitFor()
    await button(page, 'One record back').click()
    await page.locator('.panel .state.active[data-state="pending"]').waitFor()
    await button(page, 'Play').click()
    await page.getByText('10 / 10').waitFor()
  })

  it('says so when a file holds no trace', async () => {
    const page = await visit('#/replay')
    await loadTrace(page, 'hello')
    await page.getByText('trace.jsonl holds no trace records: line 1, it is no JSON.').waitFor()
  })

  it('reads a large file bit by bit: the page has its turn all the while, and reading can be called off', async () => {
    const page = await visit('#/replay')
    const line = `${JSON.stringify(records[1])}\n`
    // 20 MB; what is read in one go leaves a timer no turn.
    const choose = `(() => {
      window.turns = 0
      clearInterval(window.turning)
      window.turning = setInterval(() => window.turns++, 1)
      const files = new DataTransfer()
      files.items.add(new File(Array.from({ length: 100 }, () => ${JSON.stringify(line)}.repeat(1000)), 'large.jsonl'))
      const input = document.querySelector('input[type=file]')
      input.files = files.files
      input.dispatchEvent(new Event('change', { bubbles: true }))
    })()`
    // In the page itself: by the time that a click from outside arrives there, a quick machine has read the file.
    const cancelled = await page.evaluate<string>(`new Promise(resolve => {
      new MutationObserver((_changes, watching) => {
        const cancel = [...document.querySelectorAll('button')].find(({ textContent }) => textContent === 'Cancel')
        if (cancel === undefined) return
        watching.disconnect()
        resolve(document.querySelector('main').textContent)
        cancel.click()
      }).observe(document.body, { subtree: true, childList: true, characterData: true })
      ;${choose}
    })`)
    expect(cancelled).toMatch(/Reading large\.jsonl: \d+ %/)
    await page.getByText('Choose a file').waitFor()
    await page.evaluate(choose)
    await page.getByText('100000 / 100000').waitFor()
    expect(await page.evaluate<number>('window.turns')).toBeGreaterThan(10)
  })

  it('goes to the moment of an event, and keeps the moment when one connection is looked at', async () => {
    const page = await visit('#/replay')
    await loadTrace(page, records.map(record => JSON.stringify(record)).join('\n'))
    await page.locator('.transition-row', { hasText: 'subscription.confirmed' }).click()
    await page.locator('.actor-history li', { hasText: 'subscription.requested' }).getByRole('button').click()
    await page.getByText('1 / 10').waitFor()
    await page.getByLabel('Position in the trace').fill('6')
    await page.getByLabel('Connection', { exact: true }).fill('conn-1')
    await page.getByText('6 / 9').waitFor()
    await button(page, 'subscription 1').click()
    await page.locator('.party .actor', { hasText: 'queue-1' }).waitFor()
    await button(page, 'active 1').click()
    await page.getByRole('heading', { name: 'subscription in active' }).waitFor()
  })
})

describePage('Review', ({ visit }) => {
  it('tells what is open, and paints the transitions that the tests take', async () => {
    const page = await visit('#/review/subscription')
    await page.getByText('Every state can be reached').waitFor()
    const taken = { subscription: { 'removed | subscription.requested | 0': 3 } }
    await page.getByLabel('Coverage file').setInputFiles({
      name: 'c.json',
      mimeType: 'application/json',
      buffer: Buffer.from(JSON.stringify({ at: 0, files: 1, taken })),
    })
    await page.getByText('Transitions that no test takes').waitFor()
    expect(await page.locator('.edge.covered').count()).toBe(1)
    expect(await page.locator('.edge.uncovered').count()).toBeGreaterThan(2)
  })
})
