import { describe, expect, it } from 'vitest'
import { messageCrypto } from './floor/message.js'
import { figureOf, median, microseconds, quantile } from './measure.js'
import { ThreadKem } from '../../src/crypto/index.js'
import { kemCases, pqTurn } from './micro/kem.js'
import { microCases } from './micro/micro.js'
import { asJson, asText, ratiosOf } from './report.js'
import type { Results } from './suites.js'

const results: Results = {
  micro: [{ name: 'X448 DH', us: figureOf([150, 160, 155]), perSecond: 6450 }],
  floor: { tlsBlocks: figureOf([18_000]), messageCryptoUs: figureOf([500]) },
  endToEnd: [
    {
      scenario: 'one-way',
      store: 'memory',
      connections: 10,
      messages: 3000,
      perSecond: figureOf([900]),
      cpuUs: { sender: 400 },
      lost: 0,
      duplicated: 0,
      reordered: 0,
    },
    {
      scenario: 'private',
      store: 'pglite',
      connections: 10,
      messages: 3000,
      directPerSecond: figureOf([900]),
      proxiedPerSecond: figureOf([450]),
      ratio: 0.5,
    },
    {
      scenario: 'fan-out',
      store: 'postgres',
      connections: 300,
      together: { ms: figureOf([150]), blockedMs: figureOf([6]) },
      singly: { ms: figureOf([600]), blockedMs: figureOf([20]) },
      ratio: 0.25,
    },
  ],
  subscribe: [
    {
      store: 'pglite',
      connections: 1000,
      ms: figureOf([200]),
      perSecond: 5000,
      cpuUs: 120,
      blockedMs: figureOf([12]),
      heldBytes: figureOf([900]),
      peakRssMb: figureOf([90]),
    },
  ],
  skipped: ['postgres: no database answers'],
}

describe('the benchmark', () => {
  it.each(microCases())('does what it measures: $name', ({ run }) => {
    run()
    run()
  })

  it('does what it measures in the thread of the KEM', async () => {
    const kem = new ThreadKem()
    try {
      for (const { run } of await kemCases(kem)) await run()
      const turn = await pqTurn(kem)
      for (let index = 0; index < 4; index++) await turn()
    } finally {
      await kem.close()
    }
  })

  it('brings messages through the cryptography of all three processes', () => {
    const message = messageCrypto()
    for (let index = 0; index < 3; index++) message()
  })

  it('takes the middle value, of an even number the mean of the middle two', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([4, 1, 2, 9])).toBe(3)
    expect(median([])).toBe(0)
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(3)
    expect(quantile([4, 1, 3, 2], 0.99)).toBe(4)
  })

  it('measures as many samples as it was asked for', () => {
    let runs = 0
    const figure = microseconds(() => void runs++, { samples: 3, sampleMs: 1, repeats: 1, floorMs: 1 })
    expect(figure.samples).toBe(3)
    expect(figure.min).toBeLessThanOrEqual(figure.median)
    expect(figure.median).toBeLessThanOrEqual(figure.max)
    expect(runs).toBeGreaterThan(3)
  })

  it('gives rates as shares of the floors', () => {
    expect(ratiosOf(results.floor, results.endToEnd)).toEqual([
      { store: 'memory', connections: 10, tls: 0.05, crypto: 0.45 },
    ])
  })

  it('reports the same as text and as JSON, and says what was skipped', () => {
    expect(asText(results)).toContain('memory, 10 connections')
    expect(asText(results)).toContain('pglite, 1,000 connections')
    expect(asText(results)).toMatch(/pglite, 10 connections +450 +450 +450 +900 +900 +900 +0\.5/)
    expect(asText(results)).toMatch(/postgres, 300 connections +150 +150 +150 +6 +600 +600 +600 +20 +0\.25/)
    expect(asText(results)).toContain('Skipped: postgres')
    expect(JSON.parse(JSON.stringify(asJson(results, true)))).toMatchObject({ quick: true, endToEnd: results.endToEnd })
  })
})
