import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { TraceRecord } from '../../src/runtime/ports.js'
import { createLiveFeed } from '../../src/service/liveFeed.js'
import { redactRecord } from '../../src/service/redact.js'

const record: TraceRecord = {
  at: 1,
  traceId: 'c6fe27fc82ab7da4',
  unit: 'createConnection.created',
  machine: 'connection',
  id: 'LIU0tgIGLRDALv8diUK9zeD-',
  event: 'xstate.after.suspendTimeout.agentOperations.suspending.network',
  from: 'suspending.network.receiving',
  to: 'suspending.sending',
  intents: ['notifyConf'],
  events: ['CONF', 'DEL_CONN'],
  wakes: ['delivery'],
  aggregates: ['LIU0tgIGLRDALv8diUK9zeD-'],
  durations: { lock: 0, compute: 120, commit: 0.5 },
}

const key = randomBytes(32)
const secrets: ReadonlyArray<readonly [string, string]> = [
  ['a key in base64', key.toString('base64')],
  ['a key in base64url', key.toString('base64url')],
  ['a key in hex', key.toString('hex')],
  ['a key behind words', `key ${key.toString('base64url')}`],
  ['an invitation link', `simplex:/invitation#/?v=2-7&smp=smp%3A%2F%2F${key.toString('base64url')}%40host%2Fabc`],
  ['a router with a password', 'smp://4kgAwaUMdrLhhny4mlBXnMyWwCcssMXQo1JpF7pDWZU=:secret@host:5223'],
  ['a body', 'meet me at noon, "there"'],
  ['a body with a line', 'hello\nthere'],
]
const fields = ['traceId', 'unit', 'machine', 'id', 'event', 'from', 'to', 'error'] as const
const lists = ['intents', 'events', 'wakes', 'aggregates'] as const
/** What must not be found in what leaves: the secret and every part of it that is long enough to be one. */
const partsOf = (secret: string): string[] => [
  secret,
  ...(secret.match(/[A-Za-z0-9+/_-]{33,}/g) ?? []),
  'secret@',
  'noon',
]

describe('what leaves the process', () => {
  it('is the record as it is, when it holds names, ids and numbers', () => {
    expect(redactRecord(record)).toEqual(record)
    expect(redactRecord({ at: 1, traceId: '', unit: 'session' })).toEqual({ at: 1, traceId: '', unit: 'session' })
  })

  it('shortens the address of a router to its host', () => {
    const id = '1 smp://4kgAwaUMdrLhhny4mlBXnMyWwCcssMXQo1JpF7pDWZU=@router.example:5223'
    expect(redactRecord({ ...record, id }).id).toBe('1 router.example:5223')
  })

  it.each(secrets)('is never %s, whatever field it got into', (_what, secret) => {
    const places: TraceRecord[] = [
      ...fields.map(field => ({ ...record, [field]: secret })),
      ...lists.map(field => ({ ...record, [field]: ['CONF', secret] })),
      { ...record, [secret]: secret, params: { secret } } as TraceRecord,
      { ...record, durations: { lock: secret, compute: 1, commit: 1, secret } } as unknown as TraceRecord,
      { ...record, at: secret } as unknown as TraceRecord,
    ]
    for (const place of places) {
      const text = JSON.stringify(redactRecord(place))
      for (const part of partsOf(secret)) expect(text).not.toContain(part)
    }
  })

  it('is nothing of fields that nobody has named', () => {
    const more = { ...record, body: 'b', link: 'l', key: 'k' } as TraceRecord
    expect(Object.keys(redactRecord(more)).sort()).toEqual(Object.keys(record).sort())
  })
})

describe('the live feed', () => {
  const of = (id: string, n: number): TraceRecord => ({
    at: n,
    traceId: '',
    unit: 'u',
    machine: 'm',
    id,
    event: 'e',
    to: 's',
  })

  it('keeps the last 200 records of an actor, and what happened lately, redacted', () => {
    const feed = createLiveFeed({ recent: 10 })
    for (let n = 1; n <= 250; n++) feed.trace({ ...of('a', n), body: 'x' } as TraceRecord)
    expect(feed.historyOf('m', 'a')).toHaveLength(200)
    expect(feed.historyOf('m', 'a')[0]).toEqual(of('a', 51))
    expect(feed.recent().map(({ at }) => at)).toEqual([241, 242, 243, 244, 245, 246, 247, 248, 249, 250])
    expect(feed.historyOf('m', 'b')).toEqual([])
  })

  it('forgets the actor that was silent longest when all together are too many', () => {
    const feed = createLiveFeed({ ofActors: 4, perActor: 3 })
    for (const [index, id] of ['a', 'b', 'a', 'c', 'c'].entries()) feed.trace(of(id, index))
    expect(['a', 'b', 'c'].map(id => feed.historyOf('m', id).length)).toEqual([2, 0, 2])
  })

  it('tells whoever follows, until it stops', () => {
    const feed = createLiveFeed()
    const heard: number[] = []
    const stop = feed.follow(({ at }) => heard.push(at))
    feed.trace(of('a', 1))
    stop()
    feed.trace(of('a', 2))
    expect(heard).toEqual([1])
  })
})
