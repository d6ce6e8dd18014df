/**
 * JSON-RPC 2.0 over the agent's public calls. It knows no transport: text in, text out, so that stdio, WebSocket and
 * tests share it. Method names and parameters are those of src/agent/api/calls.ts.
 */
import { createJSONRPCErrorResponse, JSONRPCServer } from 'json-rpc-2.0'
import type { Agent } from '../agent/api/agent.js'
import { type CallName, calls } from '../agent/api/calls.js'
import type { AgentEvent } from '../agent/api/events.js'
import { CallError, DuologueError } from '../errors.js'
import { toJson } from './json.js'
import { paramsError, type RpcError, rpcCodes, rpcError } from './rpcErrors.js'

export interface Rpc {
  /**
   * Answers one request or batch. Never throws: what goes wrong is in the answer. Undefined when nothing is to be
   * answered (notifications). Calls reach the agent before `handle` returns, thus in the order of the requests.
   */
  handle(json: string): Promise<string | undefined>
}

export interface RpcOptions {
  /** Told of errors that are no DuologueError, which the answer does not show. */
  readonly onUnexpected?: (error: unknown, method: string) => void
}

/** The most requests in one batch. */
export const maxBatch = 100

type Answer = object | null

/** Serves the calls of an agent; closing the agent stays the caller's part. */
export const createRpc = (agent: Agent, options: RpcOptions = {}): Rpc => {
  const server = new JSONRPCServer({
    errorListener: (message, error) => {
      if (!(error instanceof DuologueError)) options.onUnexpected?.(error, message)
    },
  })
  server.mapErrorToJSONRPCErrorResponse = (id, error) => errorAnswer(id, rpcError(error))
  server.handleMethodNotFound = async request =>
    request.id === undefined ? null : errorAnswer(request.id, unknownMethod)
  for (const name of Object.keys(calls) as CallName[]) {
    server.addMethod(name, (params: unknown) => callAgent(agent, name, params))
  }
  const answerOne = async (request: unknown): Promise<Answer> =>
    isRequest(request) ? server.receive(request) : errorAnswer(idOf(request), notARequest)
  const answer = async (json: string): Promise<Answer> => {
    const request = parse(json)
    if (request === undefined) return errorAnswer(null, notJson)
    if (!Array.isArray(request)) return answerOne(request)
    if (request.length === 0) return errorAnswer(null, notARequest)
    if (request.length > maxBatch) return errorAnswer(null, batchTooLarge)
    const answers = (await Promise.all(request.map(answerOne))).filter(one => one !== null)
    return answers.length === 0 ? null : answers
  }
  return {
    handle: async json => {
      const answered = await answer(json)
      return answered === null ? undefined : JSON.stringify(answered)
    },
  }
}

/** An event as a notification, one line of JSON without its end. */
export const eventNotification = (event: AgentEvent): string =>
  JSON.stringify({ jsonrpc: '2.0', method: 'event', params: toJson(event) })

/** An error that belongs to no request, as a line with a null id. */
export const errorLine = (error: RpcError): string => JSON.stringify(errorAnswer(null, error))

const callAgent = async (agent: Agent, name: CallName, params: unknown): Promise<unknown> => {
  const parsed = calls[name].params.safeParse(params ?? {})
  if (!parsed.success) throw paramsError(parsed.error)
  // The table of calls ties each name to its parameters; here the name is any of them.
  const method = agent[name] as (params: unknown) => Promise<unknown>
  return toJson((await method.call(agent, parsed.data)) ?? {})
}

type Id = string | number | null
interface Request {
  readonly jsonrpc: '2.0'
  readonly method: string
  readonly params?: unknown
  readonly id?: Id
}

const isRequest = (value: unknown): value is Request => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { jsonrpc, method, id } = value as Record<string, unknown>
  return (
    jsonrpc === '2.0' &&
    typeof method === 'string' &&
    (id === undefined || isId(id)) &&
    !('result' in value || 'error' in value)
  )
}

const isId = (id: unknown): id is Id => typeof id === 'string' || typeof id === 'number' || id === null

const idOf = (value: unknown): Id => {
  const id = typeof value === 'object' && value !== null ? (value as { id?: unknown }).id : null
  return isId(id) ? id : null
}

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const errorAnswer = (id: Id, { code, message, data }: RpcError) => createJSONRPCErrorResponse(id, code, message, data)

const protocolError = (code: number, error: CallError): RpcError => ({ ...rpcError(error), code })

/** A line that is not JSON in UTF-8. */
export const notJson = protocolError(
  rpcCodes.parse,
  new CallError('RPC_PARSE', 'the text is not JSON', { field: 'line', hint: 'send one JSON object a line, in UTF-8' }),
)
const notARequest = protocolError(
  rpcCodes.invalidRequest,
  new CallError('RPC_REQUEST', 'not a JSON-RPC 2.0 request', {
    field: 'request',
    hint: 'a request is {"jsonrpc":"2.0","id":…,"method":…,"params":{…}}',
  }),
)
const batchTooLarge = protocolError(
  rpcCodes.invalidRequest,
  new CallError('RPC_BATCH', 'the batch has too many requests', { field: 'batch', facts: { limit: maxBatch } }),
)
const unknownMethod = protocolError(
  rpcCodes.methodNotFound,
  new CallError('RPC_METHOD', 'no such method', { field: 'method', hint: `one of ${Object.keys(calls).join(', ')}` }),
)
/** A line longer than the transport takes. */
export const lineTooLong = (limit: number): RpcError =>
  protocolError(
    rpcCodes.invalidRequest,
    new CallError('RPC_LINE', 'the line is too long and was dropped', {
      field: 'line',
      hint: 'one request a line, bodies up to the limit of a message',
      facts: { limit },
    }),
  )
