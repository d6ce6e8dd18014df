import type { Table } from '../table.js'
import {
  recipientDevices,
  signalAccounts,
  signalIdentities,
  signalPreKeys,
  signalRecipients,
  signalSessions,
} from './account.js'
import { signalAttachments, signalMessages, signalOutbox, signalSeen, signalSyncItems } from './messages.js'

/** Every table of the Signal channel, as migrations/signal makes them beside those of the agent. */
export const signalTables: readonly Table[] = [
  signalAccounts,
  signalPreKeys,
  signalRecipients,
  signalIdentities,
  signalSessions,
  recipientDevices,
  signalMessages,
  signalOutbox,
  signalSyncItems,
  signalSeen,
  signalAttachments,
]

/** Tables that the runtime keeps loaded with their aggregate: an account, a recipient, or a peer (`userId/serviceId`). */
export const signalAggregateTables: readonly Table[] = [
  signalAccounts,
  signalRecipients,
  signalIdentities,
  signalSessions,
  recipientDevices,
]
