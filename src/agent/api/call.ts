import type { z } from 'zod'

/** A public call: what it does, its parameters and its result. */
export interface Call<Params extends z.ZodType = z.ZodType, Result extends z.ZodType = z.ZodType> {
  readonly summary: string
  readonly params: Params
  readonly result: Result
}

/** An entry of the list of calls. */
export const call = <P extends z.ZodType, R extends z.ZodType>(summary: string, params: P, result: R): Call<P, R> => ({
  summary,
  params,
  result,
})
