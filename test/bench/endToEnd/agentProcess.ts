/**
 * One agent in a process of its own, with the application that drives it: the application sends, checks and acknowledges as a
 * chat backend does that embeds the library.
 */
import type { Agent } from '../../../src/agent/api/agent.js'
import type { AgentEvent } from '../../../src/agent/api/events.js'
import { openAgent } from '../../../src/agent/openAgent.js'
import { serveCalls } from '../processes.js'
import {
  bodyOf,
  type Credit,
  type FannedOut,
  type FanOutParams,
  headerOf,
  monotonicMs,
  type OpenParams,
  type PingPong,
  type ReceivedAll,
  type RunParams,
  type SendParams,
  type Sent,
} from './protocol.js'

type MessageEvent = Extract<AgentEvent, { type: 'MSG' }>

/** Other events are acknowledged when this many have come. */
const acknowledgeEvery = 64
/** Acknowledged messages are told to the sender this often, in ms. */
const creditMs = 10

let agent: Agent | undefined
let wish = false
const theAgent = (): Agent => {
  if (agent === undefined) throw new Error('no agent is open')
  return agent
}
let onMessage: (event: MessageEvent) => void = () => {}
let onCredit: (credit: Credit) => void = () => {}
let connected = 0
let onConnected: () => void = () => {}
let failure: Error | undefined
let onFailure: (error: Error) => void = () => {}

const fail = (cause: unknown): void => {
  failure ??= cause instanceof Error ? cause : new Error(String(cause))
  onFailure(failure)
}

/** The result of `run`, unless an event or call of this process fails first. */
const orFailure = <T>(run: (resolve: (result: T) => void) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    if (failure !== undefined) return reject(failure)
    onFailure = reject
    run(resolve)
  })

const open = async ({ store, router, proxy, pq = false }: OpenParams): Promise<void> => {
  wish = pq
  agent = await openAgent({ store, routers: [router] })
  if (proxy !== undefined) {
    await agent.setRouters({
      routers: [
        { address: router, proxy: false },
        { address: proxy, storage: false },
      ],
    })
  }
  void readEvents(agent).catch(fail)
}

const readEvents = async (agent: Agent): Promise<void> => {
  let waiting = 0
  for await (const event of agent.events()) {
    if (event.type === 'MSG') {
      onMessage(event)
      continue
    }
    if (event.type === 'ERR' || event.type === 'MERR') fail(new Error(`${event.type} ${event.error.code}`))
    if (event.type === 'MERRS') fail(new Error(`MERRS ${event.error.code}`))
    if (event.type === 'CONF') {
      const { connectionId, confirmationId } = event
      agent.allowConnection({ connectionId, confirmationId }).catch(fail)
    }
    if (event.type === 'CON') {
      connected++
      onConnected()
    }
    waiting++
    if (waiting < acknowledgeEvery) continue
    waiting = 0
    agent.ackEvents({ upTo: event.cursor }).catch(fail)
  }
}

/** Whether messages go through the proxy from now on. */
const sendPrivately = async (isPrivate: boolean): Promise<void> => {
  await theAgent().setNetworkConfig({ proxyMode: isPrivate ? 'always' : 'never', proxyFallback: 'prohibit' })
}

const invite = async (count: number): Promise<Array<{ readonly connectionId: string; readonly link: string }>> =>
  Promise.all(Array.from({ length: count }, () => theAgent().createConnection({ pq: wish })))

const join = async (links: readonly string[]): Promise<string[]> =>
  Promise.all(links.map(async link => (await theAgent().joinConnection({ link, pq: wish })).connectionId))

/** Resolves when so many connections are complete. */
const untilConnected = (count: number): Promise<void> =>
  orFailure(resolve => {
    onConnected = () => {
      if (connected >= count) resolve()
    }
    onConnected()
  })

/** Sends every message of a run, at most `window` unacknowledged on each connection; answers when all calls are answered. */
const send = ({ run, connectionIds, messages, bodyLength, window }: SendParams): Promise<Sent> =>
  orFailure(resolve => {
    const startedAt = monotonicMs()
    const next = connectionIds.map(() => 0)
    const room = connectionIds.map(() => window)
    let accepted = 0
    const sendSome = (index: number): void => {
      const connectionId = connectionIds[index] as string
      while ((next[index] as number) < messages && (room[index] as number) > 0) {
        room[index] = (room[index] as number) - 1
        const number = next[index] as number
        next[index] = number + 1
        theAgent()
          .sendMessage({ connectionId, body: bodyOf(run, number, bodyLength) })
          .then(() => {
            accepted++
            if (accepted === messages * connectionIds.length) resolve({ startedAt })
          })
          .catch(fail)
      }
    }
    onCredit = credit => {
      if (credit.run !== run) return
      credit.acknowledged.forEach((count, index) => {
        if (count === 0) return
        room[index] = (room[index] as number) + count
        sendSome(index)
      })
    }
    connectionIds.forEach((_, index) => sendSome(index))
  })

/** One body to every connection; answers when everything is stored. */
const fanOut = async ({ run, connectionIds, bodyLength, together }: FanOutParams): Promise<FannedOut> => {
  const body = bodyOf(run, 0, bodyLength)
  const startedAt = monotonicMs()
  const blockedMs = watchBlocking()
  if (together) {
    const items = connectionIds.map((connectionId, index) =>
      index === 0 ? { connectionId, body, ref: 'all' } : { connectionId, ref: 'all' },
    )
    const { results } = await theAgent().sendMessages({ items })
    const refused = results.filter(result => 'error' in result)
    if (refused.length > 0) throw new Error(`${refused.length} messages were refused`)
  } else await Promise.all(connectionIds.map(connectionId => theAgent().sendMessage({ connectionId, body })))
  return { ms: monotonicMs() - startedAt, blockedMs: blockedMs() }
}

/** Watches the event loop until it is asked for the longest time, in ms, between two of its turns. */
const watchBlocking = (): (() => number) => {
  let last = monotonicMs()
  let longest = 0
  const look = (): void => {
    const now = monotonicMs()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(look, 1)
  return () => {
    look()
    clearInterval(timer)
    return longest
  }
}

/** Acknowledges every message of a run and counts; answers when all have arrived and every acknowledgement is answered. */
const receive = ({ run, connectionIds, messages }: RunParams): Promise<ReceivedAll> =>
  orFailure(resolve => {
    const indexOf = new Map(connectionIds.map((connectionId, index) => [connectionId, index]))
    const seen = connectionIds.map(() => new Uint8Array(messages))
    const highest = connectionIds.map(() => -1)
    const counts = { arrived: 0, duplicated: 0, reordered: 0 }
    let acknowledged = 0
    let credits = connectionIds.map(() => 0)
    let timer: NodeJS.Timeout | undefined
    const giveCredit = (): void => {
      timer = undefined
      served.note({ run, acknowledged: credits } satisfies Credit)
      credits = connectionIds.map(() => 0)
    }
    const check = (index: number, event: MessageEvent): boolean => {
      const { run: sentIn, number } = headerOf(event.body)
      const numbers = seen[index] as Uint8Array
      if (sentIn !== run || number >= messages) return false
      if (event.integrity.result !== 'ok') fail(new Error(`integrity ${event.integrity.result}`))
      if (numbers[number] === 1) counts.duplicated++
      else counts.arrived++
      numbers[number] = 1
      if (number < (highest[index] as number)) counts.reordered++
      highest[index] = Math.max(highest[index] as number, number)
      return true
    }
    const acknowledge = async (index: number, { connectionId, messageId }: MessageEvent): Promise<void> => {
      await theAgent().ackMessage({ connectionId, messageId })
      acknowledged++
      credits[index] = (credits[index] as number) + 1
      if (acknowledged === messages * connectionIds.length) resolve({ endedAt: monotonicMs(), ...counts })
      timer ??= setTimeout(giveCredit, creditMs)
    }
    onMessage = event => {
      const index = indexOf.get(event.connectionId)
      if (index === undefined || !check(index, event)) return fail(new Error('a message that was not sent'))
      acknowledge(index, event).catch(fail)
    }
  })

/** Sends a message and waits for its answer, over and over; times from the call of sendMessage to the event of the answer. */
const ping = ({ run, connectionIds: [connectionId = ''], messages, bodyLength }: SendParams): Promise<PingPong> =>
  orFailure(resolve => {
    const roundTripMs: number[] = []
    let number = 0
    let sentAt = 0
    const next = (): void => {
      sentAt = monotonicMs()
      theAgent()
        .sendMessage({ connectionId, body: bodyOf(run, number, bodyLength) })
        .catch(fail)
    }
    onMessage = event => {
      roundTripMs.push(monotonicMs() - sentAt)
      const header = headerOf(event.body)
      if (header.run !== run || header.number !== number) fail(new Error('not the answer'))
      number++
      const acknowledged = theAgent().ackMessage({ connectionId, messageId: event.messageId })
      acknowledged.catch(fail)
      if (number < messages) next()
      else void acknowledged.then(() => resolve({ roundTripMs }))
    }
    next()
  })

/** Answers every message with its own body, until another run begins. */
const answer = ({ bodyLength }: { readonly bodyLength: number }): void => {
  onMessage = event => {
    const { connectionId, messageId } = event
    const { run, number } = headerOf(event.body)
    theAgent().ackMessage({ connectionId, messageId }).catch(fail)
    theAgent()
      .sendMessage({ connectionId, body: bodyOf(run, number, bodyLength) })
      .catch(fail)
  }
}

const credit = (given: Credit): void => onCredit(given)

const served = serveCalls(
  { open, sendPrivately, invite, join, untilConnected, send, fanOut, receive, ping, answer, credit },
  async () => agent?.close(),
)
