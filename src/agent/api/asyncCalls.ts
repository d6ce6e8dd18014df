import { z } from 'zod'
import { type Call, call } from './call.js'
import { correlationIdSchema } from './schemas.js'

type AsyncNames<Cs> = {
  [N in keyof Cs & string]: Cs[N] extends Call<z.ZodType, z.ZodType, true> ? N : never
}[keyof Cs & string]

type WithCorrelation<P> =
  P extends z.ZodObject<infer Shape, infer Config>
    ? z.ZodObject<Shape & { readonly correlationId: typeof correlationIdSchema }, Config>
    : never

const stored = z.strictObject({})

/** The asynchronous variants of a list of calls: `<name>Async` for each that is marked so, with a correlationId more. */
export type AsyncVariants<Cs extends Record<string, Call>> = {
  readonly [N in AsyncNames<Cs> as `${N}Async`]: Call<WithCorrelation<Cs[N]['params']>, typeof stored, false>
}

const suffix = 'Async'

/**
 * The asynchronous variants of a list of calls (B21). Each is answered when it is stored and run by a command worker, also after a
 * restart; an OK event has its result, or an ERR event its error, under the caller’s correlationId.
 */
export const asyncVariants = <Cs extends Record<string, Call>>(direct: Cs): AsyncVariants<Cs> =>
  Object.fromEntries(
    Object.entries(direct).flatMap(([name, { async, params }]) =>
      async && params instanceof z.ZodObject
        ? [[name + suffix, call(summaryOf(name), params.extend({ correlationId: correlationIdSchema }), stored)]]
        : [],
    ),
  ) as unknown as AsyncVariants<Cs>

const summaryOf = (name: string): string =>
  `${name} as a stored command: it is answered when it is stored; an OK event with the result or an ERR event follows, under the correlationId.`

/** The call that an asynchronous variant runs, or undefined for any other name. */
export const directNameOf = (name: string): string | undefined =>
  name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined
