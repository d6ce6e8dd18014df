/** Pictures that must stay as they were seen and found good. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pixelmatch from 'pixelmatch'
import { PNG } from 'pngjs'
import { expect } from 'vitest'

const directory = fileURLToPath(new URL('../visualizer/golden/', import.meta.url))
const found = fileURLToPath(new URL('../results/golden/', import.meta.url))

/** Another version of a browser draws edges of letters and controls a little differently. */
const perPixel = 0.25
const mostDifferent = 0.012

/**
 * Compares a picture with the golden one of its name. `npm run goldens` writes it anew; a picture that differs is left in
 * test/results/golden beside a picture of the differences.
 */
export const expectGolden = (name: string, picture: Buffer): void => {
  const path = `${directory}${name}.png`
  if (process.env['WRITE_GOLDENS'] === '1') {
    mkdirSync(directory, { recursive: true })
    writeFileSync(path, picture)
    return
  }
  expect(existsSync(path), `${name} has a golden picture: npm run goldens`).toBe(true)
  const [golden, now] = [PNG.sync.read(readFileSync(path)), PNG.sync.read(picture)]
  const { width, height } = golden
  expect([now.width, now.height], name).toEqual([width, height])
  const difference = new PNG({ width, height })
  const different = pixelmatch(golden.data, now.data, difference.data, width, height, { threshold: perPixel })
  const share = different / (width * height)
  if (share > mostDifferent) {
    mkdirSync(found, { recursive: true })
    writeFileSync(`${found}${name}.png`, picture)
    writeFileSync(`${found}${name}.difference.png`, PNG.sync.write(difference))
  }
  expect(share, `${name} looks as it did; if the change is meant: npm run goldens`).toBeLessThanOrEqual(mostDifferent)
}
