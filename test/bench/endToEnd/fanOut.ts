/** One body for many connections: one call of sendMessages against a call of sendMessage for each, in turns. */
import { type Figure, figureOf, round } from '../measure.js'
import { checkArrived, deadline, nextRun } from './exchange.js'
import type { FanOutParams, FannedOut, ReceivedAll, RunParams } from './protocol.js'
import type { StoreKind, World } from './world.js'

export interface FanOutWay {
  /** From the first call to the last answer, when everything is stored. */
  readonly ms: Figure
  /** The longest time in which the sender’s event loop did nothing else. */
  readonly blockedMs: Figure
}

export interface FanOutResult {
  readonly scenario: 'fan-out'
  readonly store: StoreKind
  readonly connections: number
  readonly together: FanOutWay
  readonly singly: FanOutWay
  /** Of the medians of the times: below 1 the one call is faster. */
  readonly ratio: number
}

export interface FanOutOptions {
  readonly store: StoreKind
  readonly connections: number
  readonly repeats: number
}

const bodyLength = 15_000

/** Every message is received and acknowledged before the next turn. The first turn of each way warms up. */
export const fanOut = async (world: World, { store, connections, repeats }: FanOutOptions): Promise<FanOutResult> => {
  const ids = await world.connections(connections)
  const turn = async (together: boolean): Promise<FannedOut> => {
    const run = nextRun()
    const receiving = world.bob.call<ReceivedAll>('receive', {
      run,
      connectionIds: ids.bob,
      messages: 1,
    } satisfies RunParams)
    const params = { run, connectionIds: ids.alice, bodyLength, together } satisfies FanOutParams
    const sending = world.alice.call<FannedOut>('fanOut', params)
    const [received, sent] = await deadline(Promise.all([receiving, sending]), 'a fan-out')
    checkArrived(received, connections)
    return sent
  }
  const turns = { together: [] as FannedOut[], singly: [] as FannedOut[] }
  for (let index = 0; index <= repeats; index++) {
    const [together, singly] = [await turn(true), await turn(false)]
    if (index === 0) continue
    turns.together.push(together)
    turns.singly.push(singly)
  }
  const [together, singly] = [wayOf(turns.together), wayOf(turns.singly)]
  return {
    scenario: 'fan-out',
    store,
    connections,
    together,
    singly,
    ratio: round(together.ms.median / singly.ms.median),
  }
}

const wayOf = (sent: readonly FannedOut[]): FanOutWay => ({
  ms: figureOf(sent.map(({ ms }) => ms)),
  blockedMs: figureOf(sent.map(({ blockedMs }) => blockedMs)),
})
