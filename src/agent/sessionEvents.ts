import type { DuologueError } from '../errors.js'
import type { Trace } from '../runtime/ports.js'
import type { NewEvent } from '../runtime/unit.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'
import { eventOf } from './rows.js'
import type { SessionsListener, SubscribedQueue } from './sessions.js'

/** What sessions tell becomes events of the log (B60), and their messages go to the inbox. */
export const sessionsListener = (context: () => AgentContext, trace: Trace | undefined): SessionsListener => {
  const publish = (event: NewEvent): void => context().publish(event)
  const ofRouter = (type: 'UP' | 'DOWN', userId: number, router: string, connectionIds: readonly string[]): void =>
    publish(eventOf({ connectionId: '', userId }, type, { router, connectionIds }))
  const ofQueue = (queue: SubscribedQueue, type: string, error?: DuologueError): void =>
    publish(eventOf(queue, type, error === undefined ? {} : { error: errorFact(error) }))
  return {
    message: message => context().inbox.accept(message),
    up: (userId, router, connectionIds) => ofRouter('UP', userId, router, connectionIds),
    down: (userId, router, connectionIds) => ofRouter('DOWN', userId, router, connectionIds),
    ended: queue => ofQueue(queue, 'END'),
    deleted: queue => ofQueue(queue, 'DELD'),
    failed: (queue, error) => ofQueue(queue, 'ERR', error),
    traced: (queue, event, { from, to, intents }) =>
      trace?.({
        at: context().clock.now(),
        traceId: '',
        unit: 'session',
        machine: 'subscription',
        id: queue.queueId,
        event,
        from,
        to,
        intents: intents.map(intent => intent.type),
        aggregates: [queue.connectionId],
      }),
    sessionTraced: (id, event, from, to) =>
      trace?.({
        at: context().clock.now(),
        traceId: '',
        unit: 'session',
        machine: 'routerSession',
        id,
        event,
        from,
        to,
      }),
  }
}
