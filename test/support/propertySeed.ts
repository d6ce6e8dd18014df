/** PROPERTY_SEED is where all properties begin to draw; without it fast-check takes new seeds, and prints that of a failure. */
const seed = process.env['PROPERTY_SEED']
if (seed !== undefined) {
  const { configureGlobal, readConfigureGlobal } = await import('fast-check')
  configureGlobal({ ...readConfigureGlobal(), seed: Number(seed) })
}
