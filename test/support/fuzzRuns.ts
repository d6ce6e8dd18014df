/** How often a property is tried: `FUZZ_RUNS=10000 npx vitest run test/fuzz` is a long run. Fast-check prints the seed of a failure. */
export const fuzzRuns = (usual: number): { readonly numRuns: number } => {
  const asked = Number(process.env['FUZZ_RUNS'] ?? '')
  return { numRuns: Number.isInteger(asked) && asked > 0 ? asked : usual }
}
