/** Resolves in the next turn of the event loop: whoever else has something to do comes first. */
export const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
