import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { directNameOf } from '../../src/agent/api/asyncCalls.js'
import { type CallName, calls, type DirectCallName, directCalls } from '../../src/agent/api/calls.js'
import type { EventType } from '../../src/agent/api/events.js'
import { createRpc } from '../../src/service/rpc.js'
import { FakeAgent } from '../support/fakeAgent.js'

const page = readFileSync(new URL('../../docs/RPC.md', import.meta.url), 'utf8')
const sectionOf = (title: string): string =>
  page.split(/^#{2,3} /m).find(section => section.startsWith(`${title}\n`)) ?? ''

const directNames = Object.keys(directCalls) as DirectCallName[]

/** The type keeps this list complete. */
const eventTypes: Record<EventType, true> = {
  CONF: true,
  REQ: true,
  INFO: true,
  CON: true,
  MSG: true,
  RCVD: true,
  SENT: true,
  MWARN: true,
  MERR: true,
  MERRS: true,
  UP: true,
  DOWN: true,
  END: true,
  DELD: true,
  QCONT: true,
  RSYNC: true,
  RESTORED: true,
  SWITCH: true,
  DEL_RCVQ: true,
  DEL_CONN: true,
  DEL_USER: true,
  SUSPENDED: true,
  OK: true,
  ERR: true,
}

describe('docs/RPC.md', () => {
  it.each(directNames)('tells of %s with its parameters, results and an example', name => {
    const section = sectionOf(name)
    const { params, result } = directCalls[name]
    const told = [...section.matchAll(/^\| \*?`(\w+)`\*? /gm)].map(match => match[1])
    const toldResults = [...section.matchAll(/^\| → `(\w+)` /gm)].map(match => match[1])
    expect(told.toSorted()).toEqual(Object.keys(params.shape).toSorted())
    expect(toldResults.toSorted()).toEqual(Object.keys(result.shape).toSorted())
  })

  it.each(directNames)('marks the optional parameters of %s', name => {
    const marked = [...sectionOf(name).matchAll(/^\| \*`(\w+)`\* /gm)].map(match => match[1])
    const shape = directCalls[name].params.shape as Record<string, { safeParse(value: unknown): { success: boolean } }>
    const optional = Object.keys(shape).filter(key => shape[key]?.safeParse(undefined).success)
    expect(marked.toSorted()).toEqual(optional.toSorted())
  })

  it.each(directNames)('has an example of %s that the schema takes', name => {
    const [request, answer] = (/```json\n([^]*?)```/.exec(sectionOf(name))?.[1] ?? '').trim().split('\n')
    const { method, params } = JSON.parse(request ?? '')
    expect(method).toBe(name)
    expect(directCalls[name].params.safeParse(params).error).toBeUndefined()
    expect(directCalls[name].result.safeParse(JSON.parse(answer ?? '').result).error).toBeUndefined()
  })

  it('has no calls that are not there', () => {
    const titles = [...page.matchAll(/^### (\w+)$/gm)].map(match => match[1])
    expect(titles).toEqual(directNames)
  })

  it('names every asynchronous variant, and has an example that the schema takes', () => {
    const section = sectionOf('Asynchronous calls')
    const named = new Set([...section.matchAll(/\b(\w+Async)\b/g)].map(match => match[1]))
    expect([...named].toSorted()).toEqual(
      Object.keys(calls)
        .filter(name => directNameOf(name) !== undefined)
        .toSorted(),
    )
    const [request] = (/```json\n([^]*?)```/.exec(section)?.[1] ?? '').trim().split('\n')
    const { method, params } = JSON.parse(request ?? '') as { method: CallName; params: object }
    expect(calls[method].params.safeParse(params).error).toBeUndefined()
  })

  it('has a row for each event and no other', () => {
    const rows = [...sectionOf('Events').matchAll(/^\| `(\w+)` \|/gm)].map(match => match[1])
    expect(rows).toEqual(Object.keys(eventTypes))
  })

  it('shows the error that wrong parameters really get', async () => {
    const shown = /```json\n(.*)\n```/.exec(sectionOf('Errors'))?.[1] ?? ''
    const request = { jsonrpc: '2.0', id: 4, method: 'sendMessage', params: { connectionId: 'c', body: 5 } }
    const answer = await createRpc(new FakeAgent('a')).handle(JSON.stringify(request))
    expect(JSON.parse(answer ?? '')).toEqual(JSON.parse(shown))
  })
})
