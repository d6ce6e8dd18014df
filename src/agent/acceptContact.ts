import type { Bytes } from '../encoding/index.js'
import { CallError } from '../errors.js'
import type { Outcome, Read, UnitState } from '../runtime/unit.js'
import { connections, invitations } from '../store/agent/connections.js'
import { patch, remove, type Row } from '../store/index.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext, Calling } from './context.js'
import { joinEffects, type Progress, readProgress } from './join.js'
import { prepare } from './joinConnection.js'
import { joinTarget } from './joinTarget.js'
import { connectionByKey, keyOfAnotherCall } from './newConnection.js'
import { newId } from './queues.js'
import { type ConnectionRow, findConnection, isDeleted } from './rows.js'

type InvitationRow = Row<typeof invitations>

/**
 * acceptContact: the owner of a contact address becomes the joiner of the invitation that a REQ event told of (B18). That it is accepted
 * and what the join takes are one commit, so nobody else can accept it. When a router refuses a step for good it can be accepted again: as
 * the same connection, with the same keys (B15).
 */
export const acceptContact = async (
  context: AgentContext,
  { invitationId, info = Buffer.alloc(0), pq, connectionId: prepared, ...more }: ParsedParamsOf<'acceptContact'>,
  calling: Calling,
): Promise<ResultOf<'acceptContact'>> => {
  // The id of a prepared connection is a key by itself.
  const idempotencyKey = prepared === undefined ? more.idempotencyKey : undefined
  const invitation = await findInvitation(context, invitationId)
  const known = prepared ?? (await earlierConnection(context, invitation, idempotencyKey))
  const connectionId = known ?? calling.connectionId ?? newId(context.random)
  const accept = { connectionId, isNew: known === undefined, idempotencyKey, info, pq }
  return context.runtime.run({
    name: 'acceptContact',
    locks: [invitation.connectionId, accept.connectionId],
    load: read => readFound(read, invitation, accept),
    compute: (state, found) => accepted(context, state, accept, found),
  })
}

/** prepareConnectionToAccept: as prepareConnectionToJoin, for an invitation (B16, B18). */
export const prepareConnectionToAccept = async (
  context: AgentContext,
  { invitationId, idempotencyKey }: ParsedParamsOf<'prepareConnectionToAccept'>,
): Promise<ResultOf<'prepareConnectionToAccept'>> => {
  const { request, userId } = await findInvitation(context, invitationId)
  const { agentVersion } = joinTarget(request, context.config)
  return prepare(context, { userId, idempotencyKey, origin: 'accepted', agentVersion })
}

/** rejectContact: the invitation goes; the other party is not told. May be repeated. */
export const rejectContact = async (
  context: AgentContext,
  { invitationId }: ParsedParamsOf<'rejectContact'>,
): Promise<ResultOf<'rejectContact'>> => {
  const [invitation] = await context.store.find(invitations, { where: { invitationId } })
  if (invitation === undefined) return {}
  return context.runtime.run({
    name: 'rejectContact',
    locks: [invitation.connectionId],
    load: read => read(invitations, { where: { invitationId } }),
    compute: (_state, [row]): Outcome<ResultOf<'rejectContact'>> => {
      if (row?.accepted === true) throw acceptedBefore()
      return { result: {}, changes: [remove(invitations, { invitationId })] }
    },
  })
}

interface Accept {
  readonly connectionId: string
  readonly isNew: boolean
  readonly idempotencyKey: string | undefined
  readonly info: Bytes
  readonly pq: boolean
}

/** What the decision rests on besides the connection: read under the lock of the contact address. */
interface Found {
  readonly invitation: InvitationRow | undefined
  readonly byKey: ConnectionRow | undefined
  /** The connection of an earlier attempt to accept the invitation. */
  readonly earlier: ConnectionRow | undefined
  readonly progress: Progress
}

const readFound = async (
  read: Read,
  { invitationId, userId }: InvitationRow,
  { connectionId, idempotencyKey }: Accept,
): Promise<Found> => {
  const [invitation] = await read(invitations, { where: { invitationId } })
  const [byKey] = idempotencyKey === undefined ? [] : await read(connections, { where: { userId, idempotencyKey } })
  const acceptedBy = invitation?.acceptedBy ?? ''
  const [earlier] = await read(connections, { where: { connectionId: acceptedBy } })
  return { invitation, byKey, earlier, progress: await readProgress(read, connectionId) }
}

const accepted = async (
  context: AgentContext,
  state: UnitState,
  { connectionId, isNew, idempotencyKey, info, pq }: Accept,
  { invitation, byKey, earlier, progress }: Found,
): Promise<Outcome<ResultOf<'acceptContact'>>> => {
  if (invitation === undefined) throw notFound()
  const { invitationId, acceptedBy, userId, request } = invitation
  if (byKey !== undefined && byKey.connectionId !== acceptedBy) throw keyOfAnotherCall()
  const isOwn = acceptedBy === connectionId
  if (invitation.accepted && !isOwn) {
    // The same call at the same moment has made it.
    if (byKey !== undefined) return { result: { connectionId: byKey.connectionId } }
    throw acceptedBefore()
  }
  const existing = findConnection(state, connectionId)
  if (existing !== undefined && (existing.origin !== 'accepted' || (existing.status !== 'new' && !isOwn)))
    throw ofAnother('the connection belongs to another call or invitation')
  if (earlier !== undefined && !isDeleted(earlier) && !isOwn)
    throw ofAnother('the invitation was accepted before, as another connection')
  const join = {
    connectionId,
    ...(isNew ? { made: { userId, origin: 'accepted' as const, idempotencyKey } } : {}),
    target: invitation.accepted ? undefined : joinTarget(request, context.config),
    info,
    pq,
  }
  const effects = await joinEffects(context, state, join, progress)
  const changes = [
    ...(effects.changes ?? []),
    patch(invitations, { invitationId }, { accepted: true, acceptedBy: connectionId }),
    // Accepted again under another key: that one stands for the connection from now on.
    ...(isNew || idempotencyKey === undefined ? [] : [patch(connections, { connectionId }, { idempotencyKey })]),
  ]
  return { ...effects, result: { connectionId }, changes }
}

/** The connection that a repeated call means, or one whose handshake failed. */
const earlierConnection = async (
  context: AgentContext,
  { userId, accepted, acceptedBy }: InvitationRow,
  idempotencyKey: string | undefined,
): Promise<string | undefined> => {
  const byKey = await connectionByKey(context, userId, idempotencyKey)
  if (byKey !== undefined) return byKey.connectionId
  if (accepted || acceptedBy === null) return undefined
  const [row] = await context.store.find(connections, { where: { connectionId: acceptedBy } })
  return row === undefined || isDeleted(row) ? undefined : row.connectionId
}

const findInvitation = async ({ store }: AgentContext, invitationId: string): Promise<InvitationRow> => {
  const [row] = await store.find(invitations, { where: { invitationId } })
  if (row === undefined) throw notFound()
  return row
}

const notFound = (): CallError =>
  new CallError('INVITATION_NOT_FOUND', 'there is no such invitation', {
    field: 'invitationId',
    hint: 'take the invitationId of the REQ event; it goes when it is rejected and when its address is deleted',
  })

const acceptedBefore = (): CallError =>
  new CallError('INVITATION_ACCEPTED', 'the invitation is accepted already', { field: 'invitationId' })

const ofAnother = (message: string): CallError =>
  new CallError('CMD_PROHIBITED', message, {
    field: 'connectionId',
    hint: 'leave connectionId out, or take a new one of prepareConnectionToAccept',
  })
