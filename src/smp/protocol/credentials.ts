/** Who may send which command, and which credentials a transmission must and must not carry (P: `checkCredentials`). */
import type { Bytes } from '../../encoding/index.js'
import type { CommandType } from './commands.js'
import type { Response } from './responses.js'
import { commandError, type SmpError } from './routerErrors.js'

/** In what role a client sends a command. */
export type Party =
  | 'creator'
  | 'recipient'
  | 'recipientService'
  | 'sender'
  | 'idleClient'
  | 'linkClient'
  | 'notifier'
  | 'notifierService'
  | 'proxiedClient'
  | 'proxyService'

const PARTIES: Readonly<Record<CommandType, Party>> = {
  NEW: 'creator',
  SUB: 'recipient',
  SUBS: 'recipientService',
  KEY: 'recipient',
  RKEY: 'recipient',
  LSET: 'recipient',
  LDEL: 'recipient',
  NKEY: 'recipient',
  NDEL: 'recipient',
  GET: 'recipient',
  ACK: 'recipient',
  OFF: 'recipient',
  DEL: 'recipient',
  QUE: 'recipient',
  SKEY: 'sender',
  SEND: 'sender',
  PING: 'idleClient',
  LKEY: 'linkClient',
  LGET: 'linkClient',
  NSUB: 'notifier',
  NSUBS: 'notifierService',
  PRXY: 'proxiedClient',
  PFWD: 'proxiedClient',
  RFWD: 'proxyService',
}

/** The role in which this command is sent: it decides which of a queue's keys must have authorized it. */
export const commandParty = (command: { readonly type: CommandType }): Party => PARTIES[command.type]

type Needs = 'yes' | 'no' | 'any'

/** Authorization and entity id (a queue, or a proxy session) of commands that do not need both. */
const EXCEPTIONS: Partial<Record<CommandType, { readonly auth: Needs; readonly entity: Needs }>> = {
  NEW: { auth: 'yes', entity: 'no' },
  SEND: { auth: 'any', entity: 'yes' },
  LGET: { auth: 'no', entity: 'yes' },
  PFWD: { auth: 'no', entity: 'yes' },
  PING: { auth: 'no', entity: 'no' },
  PRXY: { auth: 'no', entity: 'no' },
  RFWD: { auth: 'no', entity: 'no' },
}

/** Whether a client authorizes this command: `any` is for SEND, which is authorized once the queue is secured. */
export const authorizationOf = (command: { readonly type: CommandType }): Needs =>
  EXCEPTIONS[command.type]?.auth ?? 'yes'

/**
 * The error that a router answers to a transmission with missing or extra credentials; undefined when they are as the command
 * needs them. Whether the authorization is right is another question.
 */
export const checkCredentials = (
  command: { readonly type: CommandType },
  authorized: boolean,
  entityId: Bytes,
): SmpError | undefined => {
  const needs = EXCEPTIONS[command.type]
  const hasEntity = entityId.length > 0
  if (needs === undefined) return authorized && hasEntity ? undefined : commandError('NO_AUTH')
  if (needs.auth === 'yes' && !authorized) return commandError('NO_AUTH')
  if (needs.entity === 'yes' && !hasEntity) return commandError('NO_ENTITY')
  if ((needs.auth === 'no' && authorized) || (needs.entity === 'no' && hasEntity)) return commandError('HAS_AUTH')
  return undefined
}

/** As `checkCredentials`, for the entity id of what a router sends. */
export const checkResponseEntity = (response: Response, entityId: Bytes): SmpError | undefined => {
  switch (response.type) {
    case 'IDS':
    case 'ERR':
      return undefined
    case 'PONG':
    case 'PKEY':
    case 'RRES':
      return entityId.length === 0 ? undefined : commandError('HAS_AUTH')
    default:
      return entityId.length === 0 ? commandError('NO_ENTITY') : undefined
  }
}
