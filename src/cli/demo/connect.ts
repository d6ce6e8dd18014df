/** Two agents connect by an invitation link. */
import type { Agent } from '../../agent/api/agent.js'
import type { AgentEvent } from '../../agent/api/events.js'
import { type EventReader, type Party, throwIfFailed, withStallDeadline } from './party.js'

export interface Side {
  readonly agent: Agent
  readonly events: EventReader
}

/**
 * Creates an invitation at the first agent, joins it at the second, and resolves when both have the connection (CON).
 *
 * @throws DuologueError what the agents report; CMD_DEADLINE when the connection is not there in time.
 */
export const connect = (
  [initiator, joiner]: readonly [Side, Side],
  deadlineMs: number,
): Promise<readonly [Party, Party]> =>
  withStallDeadline(
    async () => {
      const initiatorReady = whenConnected(initiator)
      const joinerReady = whenConnected(joiner)
      // Both are awaited below; until then a failure must not count as unhandled.
      for (const ready of [initiatorReady, joinerReady]) ready.catch(() => {})
      const { connectionId, link } = await initiator.agent.createConnection({})
      const joined = await joiner.agent.joinConnection({ link })
      await Promise.all([initiatorReady, joinerReady])
      return [
        { agent: initiator.agent, connectionId },
        { agent: joiner.agent, connectionId: joined.connectionId },
      ]
    },
    deadlineMs,
    () => ({ what: 'the agents did not connect' }),
  )

/** Accepts who asks to connect, and resolves at CON; each event is acknowledged once it is dealt with. */
const whenConnected = async ({ agent, events }: Side): Promise<void> => {
  let handled: Promise<unknown> = Promise.resolve()
  const answer = async (event: AgentEvent): Promise<void> => {
    if (event.type === 'CONF') {
      await agent.allowConnection({ connectionId: event.connectionId, confirmationId: event.confirmationId })
    }
    await agent.ackEvents({ cursor: event.cursor })
  }
  await new Promise<void>((resolve, reject) => {
    events.failed.catch(reject)
    events.handle = event => {
      throwIfFailed(event)
      const answered = answer(event)
      answered.catch(reject)
      handled = Promise.all([handled, answered])
      if (event.type === 'CON') resolve()
    }
  })
  await handled
}
