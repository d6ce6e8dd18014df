import type { Agent } from '../agent/api/agent.js'
import { type AgentOptions, openAgent } from '../agent/openAgent.js'
import type { SignalCalls } from './api/calls.js'
import { signalChannel, type SignalChannelOptions } from './channel.js'

/** A Signal channel on its own: its calls, and the event log of the agent that it stands on. */
export type Signal = SignalCalls & Pick<Agent, 'events' | 'ackEvents' | 'readEvents' | 'registerConsumer' | 'close'>

export interface OpenSignalOptions extends SignalChannelOptions {
  readonly store: AgentOptions['store']
  readonly clock?: AgentOptions['clock']
  readonly random?: AgentOptions['random']
  readonly logger?: AgentOptions['logger']
  readonly trace?: AgentOptions['trace']
  /** Settings of the event log: how many events may wait unread. */
  readonly agent?: AgentOptions['config']
}

/**
 * Opens a Signal channel without SimpleX: an agent that has no routers, with this one channel. For both networks in one stream
 * of events give `signalChannel()` to openAgent. Throws ConfigError, StoreError.
 */
export const openSignal = async (options: OpenSignalOptions): Promise<Signal> => {
  const { store, clock, random, logger, trace, agent: config, ...channelOptions } = options
  const channel = signalChannel(channelOptions)
  const agent = await openAgent({
    store,
    routers: [],
    channels: [channel],
    ...(clock === undefined ? {} : { clock }),
    ...(random === undefined ? {} : { random }),
    ...(logger === undefined ? {} : { logger }),
    ...(trace === undefined ? {} : { trace }),
    ...(config === undefined ? {} : { config }),
  })
  const { scope: _scope, aggregateTables: _tables, start: _start, ...calls } = channel
  return {
    ...calls,
    events: eventsOptions => agent.events(eventsOptions),
    ackEvents: params => agent.ackEvents(params),
    readEvents: params => agent.readEvents(params),
    registerConsumer: params => agent.registerConsumer(params),
    close: () => agent.close(),
  }
}
