/** Rejects when something is not there in time: a benchmark that waits for nothing says so and ends. */
export const within = async <T>(ms: number, why: string, work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${why}: waited for ${ms / 1_000} s`)), ms)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}
