/**
 * Arbitraries for fast-check: what an application sends, and events as the agent tells them. They take `fc`, so that duologue needs
 * fast-check only where somebody has it.
 */
import type * as FastCheckModule from 'fast-check'
import { maxMessageLength, maxPqMessageLength } from '../agent/limits.js'
import type { AgentEvent, ErrorFact, EventPayload, EventType, MessageIntegrity } from '../agent/api/events.js'
import { virtualEpoch } from './virtualClock.js'

export type FastCheck = typeof FastCheckModule
type Arbitrary<T> = FastCheckModule.Arbitrary<T>

export interface Arbitraries {
  /**
   * A message body that every connection takes: text of all kinds and bytes, mostly short, empty and the largest among them.
   * `pq: false`: up to the limit of connections without post-quantum encryption.
   */
  body(options?: { readonly pq?: boolean }): Arbitrary<Uint8Array>
  /** Info of a connection or a receipt: short. */
  info(): Arbitrary<Uint8Array>
  /** A body that no connection takes. */
  oversizedBody(): Arbitrary<Uint8Array>
  /** An id as the agent gives it. */
  connectionId(): Arbitrary<string>
  /** An event of one of these types, or of any. */
  event<T extends EventType = EventType>(...types: readonly T[]): Arbitrary<Extract<AgentEvent, { readonly type: T }>>
  /** Events of some connections as a reader of the log gets them: cursors and times rise. */
  eventLog(options?: { readonly connections?: number; readonly maxLength?: number }): Arbitrary<AgentEvent[]>
}

/** Arbitraries made with this fast-check: `arbitraries(fc)`. */
export const arbitraries = (fc: FastCheck): Arbitraries => {
  const bytes = (maxLength: number): Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })
  const text = fc.string({ unit: 'grapheme', maxLength: 300 }).map(value => new TextEncoder().encode(value))
  const info = (): Arbitrary<Uint8Array> => fc.oneof(text, bytes(200))
  const filled = (length: number): Arbitrary<Uint8Array> => fc.nat(255).map(value => new Uint8Array(length).fill(value))
  const body: Arbitraries['body'] = ({ pq = true } = {}) => {
    const limit = pq ? maxPqMessageLength : maxMessageLength
    return fc.oneof(
      { weight: 6, arbitrary: text },
      { weight: 4, arbitrary: bytes(2_000) },
      { weight: 1, arbitrary: fc.constant(new Uint8Array()) },
      { weight: 1, arbitrary: fc.constantFrom(limit, limit - 1).chain(filled) },
    )
  }

  const connectionId = (): Arbitrary<string> =>
    fc.uint8Array({ minLength: 12, maxLength: 12 }).map(id => Buffer.from(id).toString('base64url'))
  const number = fc.integer({ min: 1, max: 1_000_000 })
  const time = fc.integer({ min: virtualEpoch, max: virtualEpoch + 10 * 365 * 86_400_000 })
  const router = fc.tuple(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.domain()).map(([key, host]) => {
    return `smp://${Buffer.from(key).toString('base64url')}=@${host}`
  })
  const connectionIds = fc.array(connectionId(), { minLength: 1, maxLength: 5 })
  const error: Arbitrary<ErrorFact> = fc
    .tuple(fc.constantFrom('AUTH', 'QUOTA', 'TRANSPORT_TIMEOUT', 'EXPIRED', 'INTERNAL'), fc.boolean())
    .map(([code, hinted]) => ({ code, message: `the call failed: ${code}`, ...(hinted ? { hint: 'try again' } : {}) }))
  const integrity: Arbitrary<MessageIntegrity> = fc.oneof(
    { weight: 5, arbitrary: fc.constant<MessageIntegrity>({ result: 'ok' }) },
    fc.constantFrom<MessageIntegrity>({ result: 'duplicate' }, { result: 'badHash' }),
    number.map(previousId => ({ result: 'badId' as const, previousId })),
    fc.tuple(number, fc.nat(20)).map(([from, more]) => ({ result: 'skipped' as const, from, to: from + more })),
  )
  const received = {
    messageId: number,
    integrity,
    brokerId: fc.uint8Array({ minLength: 24, maxLength: 24 }).map(id => Buffer.from(id).toString('base64')),
    brokerAt: time,
    senderMessageId: number,
    pqEncryption: fc.boolean(),
  }
  const asked = { info: info(), routers: fc.array(router, { minLength: 1, maxLength: 2 }), pqSupport: fc.boolean() }
  const receipt = fc.record({ messageId: number, result: fc.constantFrom('ok', 'badHash'), info: info() })
  const failed = { messageId: number, error }
  const phase = fc.constantFrom('started', 'confirmed', 'secured', 'completed')
  const sync = fc.constantFrom('ok', 'allowed', 'required', 'started', 'agreed')

  /** Of each type, what it holds beside its type: the compiler refuses a missing or an extra one. */
  const payloads: { readonly [T in EventType]: Arbitrary<Omit<Extract<EventPayload, { type: T }>, 'type'>> } = {
    CONF: fc.record({ confirmationId: connectionId(), ...asked }),
    REQ: fc.record({ invitationId: connectionId(), ...asked }),
    INFO: fc.record({ info: info(), pqSupport: fc.boolean() }),
    CON: fc.record({ pqEncryption: fc.boolean() }),
    MSG: fc.record({ ...received, body: body(), notify: fc.boolean() }),
    RCVD: fc.record({ ...received, receipts: fc.array(receipt, { minLength: 1, maxLength: 3 }) }),
    SENT: fc.record(
      { messageId: number, pqEncryption: fc.boolean(), proxy: router },
      { requiredKeys: ['messageId', 'pqEncryption'] },
    ),
    MWARN: fc.record(failed),
    MERR: fc.record(failed),
    MERRS: fc.record({ messageIds: fc.array(number, { minLength: 1, maxLength: 5 }), error }),
    SWITCH: fc.record({ direction: fc.constantFrom('rcv', 'snd'), phase, router }),
    UP: fc.record({ router, connectionIds }),
    DOWN: fc.record({ router, connectionIds }),
    END: fc.constant({}),
    DELD: fc.constant({}),
    QCONT: fc.constant({}),
    RSYNC: fc.record({ state: sync, error }, { requiredKeys: ['state'] }),
    RESTORED: fc.record({ reason: fc.constantFrom('sidecar', 'systemId', 'timeline') }),
    DEL_RCVQ: fc.record({ router, error }, { requiredKeys: ['router'] }),
    DEL_CONN: fc.constant({}),
    DEL_USER: fc.record({ deletedUserId: number }),
    SUSPENDED: fc.constant({}),
    OK: fc.constantFrom({ call: 'sendMessage', result: { messageId: 1 } }, { call: 'deleteConnection', result: {} }),
    ERR: fc.record({ error, critical: fc.boolean(), temporary: fc.boolean() }, { requiredKeys: ['error'] }),
  }
  const allTypes = Object.keys(payloads) as EventType[]
  /** Types that are about no single connection. */
  const ofNoConnection: ReadonlySet<EventType> = new Set(['UP', 'DOWN', 'RESTORED', 'DEL_USER', 'SUSPENDED'])

  const eventOf = (type: EventType, id: Arbitrary<string>): Arbitrary<AgentEvent> =>
    fc
      .record({
        cursor: number,
        at: time,
        network: fc.constant('simplex' as const),
        userId: fc.integer({ min: 1, max: 3 }),
        connectionId: ofNoConnection.has(type) ? fc.constant('') : id,
        traceId: connectionId(),
        payload: payloads[type] as Arbitrary<object>,
      })
      .map(({ payload, ...envelope }) => ({ ...envelope, type, ...payload }) as AgentEvent)

  return {
    body,
    info,
    oversizedBody: () => fc.integer({ min: maxMessageLength + 1, max: maxMessageLength + 5_000 }).chain(filled),
    connectionId,
    event: <T extends EventType>(...types: readonly T[]) => {
      const wanted: readonly EventType[] = types.length === 0 ? allTypes : types
      return fc.constantFrom(...wanted).chain(type => eventOf(type, connectionId())) as Arbitrary<
        Extract<AgentEvent, { readonly type: T }>
      >
    },
    eventLog: ({ connections = 3, maxLength = 20 } = {}) =>
      fc
        .uniqueArray(connectionId(), { minLength: connections, maxLength: connections })
        .chain(ids =>
          fc.array(
            fc.constantFrom(...allTypes).chain(type => eventOf(type, fc.constantFrom(...ids))),
            { maxLength },
          ),
        )
        .map(events => {
          const times = events.map(({ at }) => at).sort((a, b) => a - b)
          return events.map((event, index) => ({ ...event, cursor: index + 1, at: times[index] as number }))
        }),
  }
}
