/** Two callers connect their agents by a link, repeating what was not answered. */
import type { ResultOf } from '../../src/agent/api/calls.js'
import { legacyLink } from '../support/legacyLink.js'
import { type EventLine, RpcFailure } from './harness.js'
import type { Inbox } from './inbox.js'
import { pause } from './killer.js'

/** By an invitation, by one of the legacy form (KEY and HELLO), or by a contact address of the first agent. */
export type HandshakeKind = 'fast' | 'legacy' | 'contact'

/** What each side is told, in order. */
export const toldBy: Readonly<Record<HandshakeKind, readonly [readonly string[], readonly string[]]>> = {
  fast: [
    ['CONF', 'CON'],
    ['INFO', 'CON'],
  ],
  legacy: [
    ['CONF', 'CON'],
    ['INFO', 'CON'],
  ],
  contact: [
    ['REQ', 'INFO', 'CON'],
    ['CONF', 'CON'],
  ],
}

/** The events of one handshake as an agent tells of them. */
interface Told {
  readonly types: string[]
  /** Resolves with the id of the connection that is complete. */
  readonly connected: Promise<string>
}

/** Accepts who asks to connect; gathers what the agent tells until CON. */
const answerHandshake = (inbox: Inbox, failed: (event: EventLine) => void): Told => {
  const types: string[] = []
  const connected = new Promise<string>(resolve => {
    inbox.handle = async event => {
      const { type, connectionId } = event
      if (['REQ', 'CONF', 'INFO', 'CON'].includes(type)) types.push(type)
      if (type === 'ERR' && event['temporary'] !== true) failed(event)
      if (type === 'CON') resolve(connectionId)
      if (type === 'REQ') {
        const invitationId = event['invitationId'] as string
        await inbox.agent.repeat('acceptContact', { invitationId, info: 'from alice', idempotencyKey: invitationId })
      }
      if (type !== 'CONF') return
      const confirmationId = event['confirmationId'] as string
      await inbox.agent.repeat('allowConnection', { connectionId, confirmationId, info: 'allowed' })
    }
  })
  return { types, connected }
}

export interface Connected {
  readonly ids: readonly [string, string]
  /** REQ, CONF, INFO and CON events of each side, in their order. */
  readonly told: readonly [readonly string[], readonly string[]]
}

/** The one call that waits for the router: while it cannot be reached, the caller tries again under the same key. */
const createConnection = async (
  { agent }: Inbox,
  round: number,
  kind: HandshakeKind,
): Promise<ResultOf<'createConnection'>> => {
  const mode = kind === 'contact' ? 'contact' : 'invitation'
  for (;;) {
    try {
      return await agent.repeat('createConnection', { mode, idempotencyKey: `create-${round}` })
    } catch (error) {
      if (!(error instanceof RpcFailure) || error.error.code !== transportFailed) throw error
      await pause(100)
    }
  }
}

/** docs/RPC.md: the router cannot be reached. */
const transportFailed = -32_006

/** A new connection; `round` tells its idempotency keys apart. Rejects on an ERR event. */
export const connectAgents = async (
  [alice, bob]: readonly [Inbox, Inbox],
  round: number,
  kind: HandshakeKind = 'fast',
): Promise<Connected> => {
  let fail: (error: Error) => void = () => {}
  const failure = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  const onErr = (event: EventLine): void => fail(new Error(JSON.stringify(event)))
  const sides = [answerHandshake(alice, onErr), answerHandshake(bob, onErr)] as const
  const connect = async (): Promise<Connected> => {
    const created = await createConnection(alice, round, kind)
    const link = kind === 'legacy' ? legacyLink(created.link) : created.link
    await bob.agent.repeat('joinConnection', { link, info: 'from bob', idempotencyKey: `join-${round}` })
    const ids = await Promise.all([sides[0].connected, sides[1].connected])
    return { ids, told: [sides[0].types, sides[1].types] }
  }
  return Promise.race([connect(), failure])
}
