/** More turns than work in memory ever takes: then something starts itself anew for ever. */
const mostTurns = 1_000_000

/**
 * Lets the work finish that is ready now: promises, and setImmediate as long as anything has set one. Sockets and threads are not
 * waited for.
 */
export const quiet = async (): Promise<void> => {
  for (let turn = 0; turn < mostTurns; turn++) {
    await new Promise<void>(resolve => setImmediate(resolve))
    if (!process.getActiveResourcesInfo().includes('Immediate')) return
  }
  throw new Error('the world does not come to rest')
}
