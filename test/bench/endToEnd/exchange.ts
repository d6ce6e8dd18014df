/** What every scenario end to end needs: its number, a deadline, and proof that everything arrived. */
import type { ReceivedAll } from './protocol.js'

let lastRun = 0

/** Tells the messages of one run from those of another. */
export const nextRun = (): number => ++lastRun

/** Throws unless exactly `expected` messages came, in order. */
export const checkArrived = ({ arrived, duplicated, reordered }: ReceivedAll, expected: number): void => {
  if (arrived === expected && duplicated === 0 && reordered === 0) return
  throw new Error(`of ${expected} messages ${arrived} arrived, ${duplicated} twice, ${reordered} out of order`)
}

const deadlineMs = 180_000

/** `work`, unless it takes too long. */
export const deadline = async <T>(work: Promise<T>, what: string): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${deadlineMs / 1000} s`)), deadlineMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
