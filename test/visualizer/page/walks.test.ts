import { expect, it } from 'vitest'
import { button, describePage, step } from './harness.js'

describePage('Step', ({ visit }) => {
  it('walks by events, says why a guard blocks, undoes, and the walk is a link', async () => {
    const page = await visit('#/step/subscription')
    await button(page, 'subscription.requested').click()
    await page.waitForSelector('.state.active[data-state="pending"]')
    await button(page, 'subscription.confirmed').click()
    await button(page, 'not current').click()
    await page.getByText('does not hold: it read event.current = false. It would with current = true').waitFor()
    await button(page, 'current').click()
    await button(page, 'Send subscription.confirmed').click()
    await page.waitForSelector('.state.active[data-state="active"]')
    await expect.poll(() => page.locator('.history > li').count()).toBe(2)

    const again = await visit(new URL(page.url()).hash)
    await again.waitForSelector('.state.active[data-state="active"]')

    await button(page, 'Undo').click()
    await page.waitForSelector('.state.active[data-state="pending"]')
    await page.keyboard.press('Control+z')
    await page.waitForSelector('.state.active[data-state="removed"]')
  })

  it('takes an edited payload, and refuses what is no JSON', async () => {
    const page = await visit('#/step/subscription/pending')
    await button(page, 'subscription.failed').click()
    const payload = page.getByLabel('Payload of subscription.failed')
    await payload.fill('{"current": true,')
    await page.getByText('This is not JSON.').waitFor()
    await payload.fill('{"current": true, "temporary": false}')
    await button(page, 'Send subscription.failed').click()
    await page.waitForSelector('.state.active[data-state="removed"]')
  })

  it('greys what is ignored, with the reason', async () => {
    const page = await visit('#/step/subscription')
    expect(await button(page, 'session.closed').isDisabled()).toBe(true)
    await page.getByText('ignored: nothing was subscribed').first().waitFor()
  })

  it('lets the reader answer for the runtime', async () => {
    const page = await visit('#/step/routerSession/connecting')
    await button(page, 'connect failed').click()
    await page.waitForSelector('.state.active[data-state="closed"]')
    await button(page, 'Undo').click()
    await page.getByLabel('hasSubscriptions').check()
    await button(page, 'connect failed').click()
    await page.waitForSelector('.state.active[data-state="reconnecting"]')
  })
})

describePage('Two sides', ({ visit }) => {
  it('steps forward and back, and ends with both connected', async () => {
    const page = await visit('#/sides/fast-handshake')
    await step(page, 2)
    await page.getByText('NEW').first().waitFor()
    await button(page, 'Back').click()
    await button(page, 'Play to the end').click()
    await page.getByText('Nothing is left to happen.').waitFor()
    for (const side of ['Alice', 'Bob']) {
      const party = page.getByRole('complementary', { name: side })
      await party.locator('.state.active[data-state="connected"]').waitFor()
    }
  })

  it('a dropped answer to SKEY: time passes, the command is repeated, and the handshake completes', async () => {
    const page = await visit('#/sides/fast-handshake')
    for (let n = 0; n < 40 && (await button(page, /^Drop OK/).count()) === 0; n++) await step(page, 1)
    await button(page, /^Drop OK/).click()
    await page.locator('.arrow-row.lost').first().waitFor({ state: 'attached' })
    await step(page, 1)
    await page.getByText('SKEY got no answer').waitFor()
    for (let n = 0; n < 120 && (await button(page, 'Step').isEnabled()); n++) await step(page, 1)
    await page.getByRole('complementary', { name: 'Bob' }).locator('.state.active[data-state="connected"]').waitFor()
  })

  it('duplicates and delays, and the link shows the same to others', async () => {
    const page = await visit('#/sides/fast-handshake')
    await step(page, 1)
    await button(page, /^Delay NEW/).click()
    await page.getByText('held back', { exact: true }).waitFor()
    await button(page, /^Duplicate NEW/).click()
    await expect.poll(() => page.locator('.on-the-way li').count()).toBe(2)
    const again = await visit(new URL(page.url()).hash)
    await expect.poll(() => again.locator('.on-the-way li').count()).toBe(2)
  })
})
