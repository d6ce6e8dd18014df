import type { z } from 'zod'

/** A public call: what it does, its parameters and its result. */
export interface Call<
  Params extends z.ZodType = z.ZodType,
  Result extends z.ZodType = z.ZodType,
  Async extends boolean = boolean,
> {
  readonly summary: string
  readonly params: Params
  readonly result: Result
  /** Whether it has a variant `<name>Async` (asyncCalls.ts). */
  readonly async: Async
}

/** An entry of the list of calls. */
export const call = <P extends z.ZodType, R extends z.ZodType>(
  summary: string,
  params: P,
  result: R,
): Call<P, R, false> => ({ summary, params, result, async: false })

/** An entry of a call that needs the network or changes a connection: it has an asynchronous variant (B21). */
export const asyncCall = <P extends z.ZodObject, R extends z.ZodType>(
  summary: string,
  params: P,
  result: R,
): Call<P, R, true> => ({ summary, params, result, async: true })
