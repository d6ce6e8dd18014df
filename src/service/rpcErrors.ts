/**
 * Errors as JSON-RPC shows them: a number that says which kind of thing failed, and in `data` the stable code, field,
 * hint and facts of the typed error (docs/RPC.md lists them).
 */
import type { z } from 'zod'
import {
  asDuologueError,
  CallError,
  ConfigError,
  CryptoError,
  DecodeError,
  DuologueError,
  EncodeError,
  InternalError,
  KemError,
  RouterError,
  StoreError,
  TransportError,
} from '../errors.js'

export interface RpcError {
  readonly code: number
  readonly message: string
  readonly data: {
    readonly code: string
    readonly field?: string
    readonly hint?: string
    readonly facts?: Readonly<Record<string, string | number | boolean>>
  }
}

/** Numbers of the protocol itself (JSON-RPC 2.0, section 5.1). */
export const rpcCodes = {
  parse: -32_700,
  invalidRequest: -32_600,
  methodNotFound: -32_601,
  invalidParams: -32_602,
  internal: -32_603,
} as const

/** Numbers of duologue's errors, one for each class; -32000 is for a class that a later version adds. */
const classCodes = [
  [CallError, -32_001],
  [ConfigError, -32_002],
  [DecodeError, -32_003],
  [EncodeError, -32_004],
  [CryptoError, -32_005],
  [TransportError, -32_006],
  [RouterError, -32_007],
  [StoreError, -32_008],
  [KemError, -32_009],
  [InternalError, rpcCodes.internal],
] as const
const otherCode = -32_000

/** Parameters that do not have the form of their schema. */
export class ParamsError extends CallError {}

/** The first thing that is wrong with parameters, as an error that names the field. */
export const paramsError = (error: z.ZodError): ParamsError => {
  const issue = error.issues[0]
  const field = issue?.path.map(String).join('.') || 'params'
  // Names of unknown keys stand in the message and may be of any length.
  const message = (issue?.message ?? 'Invalid input').slice(0, 200)
  return new ParamsError('CMD_PARAMS', `${field.slice(0, 100)}: ${message}`, {
    field: field.slice(0, 100),
    hint: field.startsWith('body') || field.startsWith('info') ? bodyHint : 'see docs/RPC.md for the parameters',
  })
}
const bodyHint = 'a body is text, {"text": …} or {"base64": …}'

/** Any thrown value as a JSON-RPC error. What is no DuologueError shows nothing of itself: its text may hold anything. */
export const rpcError = (thrown: unknown): RpcError => {
  const known = thrown instanceof DuologueError
  const error = asDuologueError(thrown)
  return {
    code: numberOf(error),
    message: known ? error.message : 'an unexpected error; the log has more',
    data: {
      code: error.code,
      ...(error.field === undefined ? {} : { field: error.field }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(Object.keys(error.facts).length === 0 ? {} : { facts: error.facts }),
    },
  }
}

const numberOf = (error: DuologueError): number => {
  if (error instanceof ParamsError || error.code === 'CMD_PARAMS') return rpcCodes.invalidParams
  return classCodes.find(([type]) => error instanceof type)?.[1] ?? otherCode
}
