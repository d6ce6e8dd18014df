/** Two callers connect their agents by an invitation link, repeating what was not answered. */
import type { ResultOf } from '../../src/agent/api/calls.js'
import { type EventLine, RpcFailure } from './harness.js'
import type { Inbox } from './inbox.js'
import { pause } from './killer.js'

/** The events of one handshake as an agent tells of them. */
interface Told {
  readonly types: string[]
  readonly connected: Promise<void>
}

/** Accepts who asks to connect; gathers what the agent tells until CON. */
const answerHandshake = (inbox: Inbox, failed: (event: EventLine) => void): Told => {
  const types: string[] = []
  const connected = new Promise<void>(resolve => {
    inbox.handle = async event => {
      const { type, connectionId } = event
      if (['CONF', 'INFO', 'CON'].includes(type)) types.push(type)
      if (type === 'ERR' && event['temporary'] !== true) failed(event)
      if (type === 'CON') resolve()
      if (type !== 'CONF') return
      const confirmationId = event['confirmationId'] as string
      await inbox.agent.repeat('allowConnection', { connectionId, confirmationId, info: 'from alice' })
    }
  })
  return { types, connected }
}

export interface Connected {
  readonly ids: readonly [string, string]
  /** CONF, INFO and CON events of each side, in their order. */
  readonly told: readonly [readonly string[], readonly string[]]
}

/** The one call that waits for the router: while it cannot be reached, the caller tries again under the same key. */
const createConnection = async ({ agent }: Inbox, round: number): Promise<ResultOf<'createConnection'>> => {
  for (;;) {
    try {
      return await agent.repeat('createConnection', { idempotencyKey: `create-${round}` })
    } catch (error) {
      if (!(error instanceof RpcFailure) || error.error.code !== transportFailed) throw error
      await pause(100)
    }
  }
}

/** docs/RPC.md: the router cannot be reached. */
const transportFailed = -32_006

/** A new connection; `round` tells its idempotency keys apart. Rejects on an ERR event. */
export const connectAgents = async ([alice, bob]: readonly [Inbox, Inbox], round: number): Promise<Connected> => {
  let fail: (error: Error) => void = () => {}
  const failure = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  const onErr = (event: EventLine): void => fail(new Error(JSON.stringify(event)))
  const sides = [answerHandshake(alice, onErr), answerHandshake(bob, onErr)] as const
  const connect = async (): Promise<Connected> => {
    const { connectionId, link } = await createConnection(alice, round)
    const joined = await bob.agent.repeat('joinConnection', { link, info: 'from bob', idempotencyKey: `join-${round}` })
    await Promise.all(sides.map(side => side.connected))
    return { ids: [connectionId, joined.connectionId], told: [sides[0].types, sides[1].types] }
  }
  return Promise.race([connect(), failure])
}
