import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import { ackEvents, releaseEvents } from './acknowledge.js'
import type { AgentContext } from './context.js'

/** registerConsumer: one row. A repeated call changes nothing. */
export const registerConsumer = async (
  context: AgentContext,
  { consumer, from }: ParsedParamsOf<'registerConsumer'>,
): Promise<ResultOf<'registerConsumer'>> => {
  const known = context.eventLog.registeredFrom(consumer)
  const fromCursor = known ?? (await register(context, consumer, from))
  // Nobody else can acknowledge what came before the first consumer. Repeated calls finish what a kill has interrupted.
  if (from === 'now' && fromCursor > 0 && context.eventLog.isOnlyConsumer(consumer)) {
    await ackEvents(context, { consumer, upTo: fromCursor })
  }
  return { consumer, from: fromCursor }
}

const register = async (
  { eventLog, runtime }: AgentContext,
  consumer: string,
  from: 'start' | 'now',
): Promise<number> => {
  const fromCursor = from === 'start' ? 0 : eventLog.lastCursor
  await runtime.run({
    name: 'registerConsumer',
    locks: [],
    compute: () => ({ result: undefined, changes: [eventLog.registration(consumer, fromCursor)] }),
  })
  eventLog.registered(consumer, fromCursor)
  return fromCursor
}

/**
 * unregisterConsumer: the row and its acknowledgements go, then the events that waited for nobody else. A repeated call finishes what
 * a kill has interrupted.
 */
export const unregisterConsumer = async (
  context: AgentContext,
  { consumer }: ParsedParamsOf<'unregisterConsumer'>,
): Promise<ResultOf<'unregisterConsumer'>> => {
  const { eventLog, runtime } = context
  const from = eventLog.registeredFrom(consumer)
  if (from !== undefined) {
    // Forgotten first: what is acknowledged meanwhile does not wait for it.
    eventLog.unregistered(consumer)
    try {
      await runtime.run({
        name: 'unregisterConsumer',
        locks: [],
        compute: () => ({ result: undefined, changes: eventLog.unregistration(consumer) }),
      })
    } catch (error) {
      eventLog.registered(consumer, from)
      throw error
    }
  }
  await releaseEvents(context)
  return {}
}

/** listConsumers: who the events wait for. */
export const listConsumers = async ({ eventLog }: AgentContext): Promise<ResultOf<'listConsumers'>> => ({
  consumers: await Promise.all(
    eventLog.consumers.map(async ({ consumer, from }) => ({
      consumer,
      from,
      unread: await eventLog.unreadBy(consumer),
    })),
  ),
})
