/** What is measured end to end, and that nothing was lost, delivered twice or out of order while it was. */
import { type Figure, figureOf, quantile, round } from '../measure.js'
import { cpuMs } from '../processes.js'
import { checkArrived, deadline, nextRun } from './exchange.js'
import type { FanOutResult } from './fanOut.js'
import type { PingPong, ReceivedAll, RunParams, SendParams, Sent } from './protocol.js'
import type { StoreKind, World } from './world.js'

export interface OneWayResult {
  readonly scenario: 'one-way'
  readonly store: StoreKind
  readonly connections: number
  readonly messages: number
  /** From the first call of sendMessage to the answer of the last ackMessage. */
  readonly perSecond: Figure
  /** CPU time of each party in microseconds per message, all threads; empty where the system does not tell. */
  readonly cpuUs: Readonly<Record<string, number>>
  readonly lost: 0
  readonly duplicated: 0
  readonly reordered: 0
}

export interface PingPongResult {
  readonly scenario: 'ping-pong'
  readonly store: StoreKind
  readonly connections: 1
  readonly messages: number
  readonly p50Ms: Figure
  readonly p99Ms: Figure
}

/** The same exchange directly and through a proxy, in turns. */
export interface PrivateResult {
  readonly scenario: 'private'
  readonly store: StoreKind
  readonly connections: number
  readonly messages: number
  readonly directPerSecond: Figure
  readonly proxiedPerSecond: Figure
  /** Of the medians: 1 would be as fast as directly. */
  readonly ratio: number
}

export type EndToEndResult = OneWayResult | PingPongResult | PrivateResult | FanOutResult

export interface OneWayOptions {
  readonly store: StoreKind
  readonly connections: number
  /** On each connection. */
  readonly messages: number
  readonly repeats: number
}

const bodyLength = 1024
const window = 64

/** Messages from alice to bob, as fast as the window lets them; a fifth as many before, to warm up. */
export const oneWay = async (world: World, options: OneWayOptions): Promise<OneWayResult> => {
  const { store, connections, messages, repeats } = options
  const ids = await world.connections(connections)
  await run(world, ids, Math.ceil(messages / 5))
  const perSecond: number[] = []
  const before = await cpuOf(world)
  for (let index = 0; index < repeats; index++) perSecond.push(await run(world, ids, messages))
  const after = await cpuOf(world)
  const total = messages * connections * repeats
  const cpuUs = Object.fromEntries(
    Object.entries(after).map(([name, ms]) => [name, round(((ms - (before[name] ?? 0)) * 1000) / total)]),
  )
  return {
    scenario: 'one-way',
    store,
    connections,
    messages: messages * connections,
    perSecond: figureOf(perSecond),
    cpuUs,
    lost: 0,
    duplicated: 0,
    reordered: 0,
  }
}

/** As `oneWay`, with a proxy between sender and router every other time. */
export const privateRouting = async (world: World, options: OneWayOptions): Promise<PrivateResult> => {
  const { store, connections, messages, repeats } = options
  const ids = await world.connections(connections)
  const rates = { direct: [] as number[], proxied: [] as number[] }
  const exchange = async (isPrivate: boolean, count: number): Promise<number> => {
    await world.alice.call('sendPrivately', isPrivate)
    return run(world, ids, count)
  }
  for (const isPrivate of [false, true]) await exchange(isPrivate, Math.ceil(messages / 5))
  for (let index = 0; index < repeats; index++) {
    rates.direct.push(await exchange(false, messages))
    rates.proxied.push(await exchange(true, messages))
  }
  const [directPerSecond, proxiedPerSecond] = [figureOf(rates.direct), figureOf(rates.proxied)]
  return {
    scenario: 'private',
    store,
    connections,
    messages: messages * connections,
    directPerSecond,
    proxiedPerSecond,
    ratio: round(proxiedPerSecond.median / directPerSecond.median),
  }
}

const run = async (
  { alice, bob }: World,
  ids: { readonly alice: string[]; readonly bob: string[] },
  messages: number,
): Promise<number> => {
  const run = nextRun()
  const receiving = bob.call<ReceivedAll>('receive', { run, connectionIds: ids.bob, messages } satisfies RunParams)
  const sending = alice.call<Sent>('send', {
    run,
    connectionIds: ids.alice,
    messages,
    bodyLength,
    window,
  } satisfies SendParams)
  const [received, { startedAt }] = await deadline(Promise.all([receiving, sending]), 'an exchange')
  const expected = messages * ids.bob.length
  checkArrived(received, expected)
  return (expected * 1000) / (received.endedAt - startedAt)
}

/** A message and its answer, one at a time, on one connection. */
export const pingPong = async (
  { alice, bob, connections }: World,
  { store, rounds, repeats }: { readonly store: StoreKind; readonly rounds: number; readonly repeats: number },
): Promise<PingPongResult> => {
  const ids = await connections(1)
  await bob.call('answer', { bodyLength })
  const play = async (messages: number): Promise<readonly number[]> => {
    const params = { run: nextRun(), connectionIds: ids.alice, messages, bodyLength, window: 1 } satisfies SendParams
    const { roundTripMs } = await deadline(alice.call<PingPong>('ping', params), 'ping-pong')
    return roundTripMs
  }
  await play(Math.ceil(rounds / 5))
  const times: Array<readonly number[]> = []
  for (let index = 0; index < repeats; index++) times.push(await play(rounds))
  return {
    scenario: 'ping-pong',
    store,
    connections: 1,
    messages: rounds,
    p50Ms: figureOf(times.map(ms => quantile(ms, 0.5))),
    p99Ms: figureOf(times.map(ms => quantile(ms, 0.99))),
  }
}

const cpuOf = async ({ router, alice, bob }: World): Promise<Record<string, number>> => {
  const entries = await Promise.all(
    Object.entries({ sender: alice, router, receiver: bob }).map(
      async ([name, { pid }]) => [name, await cpuMs(pid)] as const,
    ),
  )
  return Object.fromEntries(entries.flatMap(([name, ms]) => (ms === undefined ? [] : [[name, ms]])))
}
