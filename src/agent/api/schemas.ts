import { z } from 'zod'
import { fromBase64 } from './base64.js'

/** The words that several public calls share. Every RPC transport checks its input with the same schemas. */

const utf8 = new TextEncoder()

// A lone surrogate has no UTF-8: it would silently become another text.
const textSchema = z.string().refine(text => !/[\uD800-\uDFFF]/u.test(text), 'not well-formed Unicode: use base64')

/**
 * A message body or connection info: bytes, text, or in JSON `"text"`, `{"text": "…"}` or `{"base64": "…"}`.
 * The result of parsing is always bytes.
 */
export const bodySchema = z
  .union(
    [
      z.custom<Uint8Array>(value => value instanceof Uint8Array),
      textSchema,
      z.strictObject({ text: textSchema }),
      z.strictObject({ base64: z.base64() }),
    ],
    'not a body: bytes, well-formed text, {"text": …} or {"base64": …}',
  )
  .transform((body): Uint8Array => {
    if (body instanceof Uint8Array) return body
    if (typeof body === 'string') return utf8.encode(body)
    return 'text' in body ? utf8.encode(body.text) : fromBase64(body.base64)
  })
  .meta({ id: 'Body', description: 'text, {"text": …} or {"base64": …}' })

export const connectionIdSchema = z
  .string()
  .min(1)
  .max(64)
  .meta({ id: 'ConnectionId', description: 'id of a connection' })
export const userIdSchema = z
  .int()
  .positive()
  .meta({ id: 'UserId', description: 'the user whose connection it is; 1 exists from the start' })
export const messageIdSchema = z
  .int()
  .positive()
  .meta({ id: 'MessageId', description: 'number of a message, rising within its connection' })
export const cursorSchema = z
  .int()
  .nonnegative()
  .meta({ id: 'Cursor', description: 'position in the event log, rising in commit order' })
export const consumerSchema = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/)
  .default('default')
  .meta({ id: 'Consumer', description: 'name of a registered reader of the event log' })
export const correlationIdSchema = z.string().min(1).max(128).meta({
  id: 'CorrelationId',
  description: 'the caller’s name of a call: the event that answers it carries it',
})
export const pqSchema = z.boolean().meta({
  id: 'Pq',
  description: 'whether this side wants post-quantum encryption',
})
export const networkConfigSchema = z.strictObject({
  /**
   * Who shares a transport session to a router. `user`, `session` and `server`: the connections of one user (the three differ in what a
   * SOCKS proxy is told, so without one they are the same); `entity`: each connection has its own, so that the router cannot tell which
   * queues belong together.
   */
  sessionMode: z.enum(['user', 'session', 'server', 'entity']),
  /**
   * When messages go through another router of the user, so that the router that they are for does not see where they come from: `always`;
   * `unknown`: to routers that are not among the user's own; `unprotected`: the same, unless the address is hidden in another way, which
   * this agent does not do (no SOCKS proxy, no onion hosts), so it means `unknown`; `never`.
   */
  proxyMode: z.enum(['always', 'unknown', 'unprotected', 'never']),
  /**
   * Whether they may go directly when there is no proxy, or proxy or router cannot do it: `allow`; `allowProtected`: only where the address is
   * hidden in another way, which here means `prohibit`; `prohibit`: they wait.
   */
  proxyFallback: z.enum(['allow', 'allowProtected', 'prohibit']),
})
export const idempotencyKeySchema = z.string().min(1).max(128).meta({
  id: 'IdempotencyKey',
  description: 'a repeated call under the same key has the effect and the answer of the first',
})
