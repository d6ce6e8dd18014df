import type { PublicKey } from '@signalapp/libsignal-client'
import { CallError } from '../errors.js'
import type { ChannelHost } from '../runtime/channel.js'
import type { NewEvent } from '../runtime/unit.js'
import type { Json, Row } from '../store/index.js'
import { accountPrefix, peerPrefix, type signalAccounts } from '../store/signal/account.js'
import type { Certificates } from './certificates.js'
import type { SignalConfig } from './config.js'
import type { Health } from './health.js'
import type { SignalLink } from './net/link.js'
import type { SignalDialer } from './net/port.js'
import type { MadeKeys, OwnIdentity } from './preKeys.js'
import type { SendTrace } from './sendTrace.js'

export type AccountRow = Row<typeof signalAccounts>

/** The two sockets. */
export interface SignalLinks {
  readonly identified: SignalLink
  readonly unidentified: SignalLink
}

/** What the parts of one channel share; openSignal makes it and closes them. */
export interface SignalContext extends ChannelHost {
  readonly config: SignalConfig
  readonly userId: number
  readonly accountId: string
  /** Keys that may sign the server certificates of sealed senders. */
  readonly trustRoots: readonly PublicKey[]
  readonly dialer: SignalDialer
  readonly links: SignalLinks
  readonly health: Health
  readonly certificates: Certificates
  readonly sendTrace: SendTrace
  /** Prekeys that are stored, and whose upload the server has not answered. */
  readonly uploads: Map<OwnIdentity, MadeKeys>
  /** The account as it was last stored; undefined before it is linked. */
  account: AccountRow | undefined
  /** A time that no other message of the account has: what it is called everywhere (S12). */
  nextTimestamp: () => number
  /** Aborted when the channel closes: whoever waits for somebody outside gives up. */
  readonly closing: AbortSignal
  /** Waits for the upkeep that is due: attributes, prekeys. */
  readonly upkeep: () => Promise<void>
}

export const accountIdOf = (userId: number): string => `${accountPrefix}${userId}`
/** The aggregate of another service id: its identity, sessions and devices. */
export const peerOf = ({ userId }: Pick<SignalContext, 'userId'>, serviceId: string): string =>
  `${peerPrefix}${userId}/${serviceId}`

/** The linked account. Throws CallError `SIGNAL_NOT_LINKED`. */
export const requireAccount = ({ account }: SignalContext): AccountRow & { readonly deviceId: number } => {
  if (account === undefined || account.deviceId === null) throw notLinked()
  return account as AccountRow & { readonly deviceId: number }
}

/** A new event of the channel. `recipientId` is empty for those of no single recipient. */
export const signalEvent = (
  { userId }: Pick<SignalContext, 'userId'>,
  recipientId: string,
  type: string,
  payload: Json,
  more: Partial<Pick<NewEvent, 'messageId' | 'body' | 'correlationId'>> = {},
): NewEvent => ({ network: 'signal', userId, connectionId: recipientId, type, payload, ...more })

const notLinked = (): CallError =>
  new CallError('SIGNAL_NOT_LINKED', 'this user has no linked Signal account', {
    field: 'userId',
    hint: 'link one first: `duologue signal link`, or link()',
  })
