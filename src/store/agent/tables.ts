import { counters, eventAcks, eventConsumers, events } from '../eventLog.js'
import type { Table } from '../table.js'
import {
  commands,
  confirmations,
  connections,
  handshakes,
  invitations,
  ratchetKeyHashes,
  rcvQueues,
  skippedKeys,
  sndQueues,
} from './connections.js'
import { invitationLinks, shortLinks } from './links.js'
import { deliveries, rcvMessages, sndBodies, sndMessages } from './messages.js'
import { statistics, userRouters, users } from './users.js'

/** Every table of an agent's store, as migrations/agent makes them. */
export const agentTables: readonly Table[] = [
  users,
  userRouters,
  statistics,
  connections,
  rcvQueues,
  sndQueues,
  skippedKeys,
  ratchetKeyHashes,
  confirmations,
  handshakes,
  invitations,
  shortLinks,
  invitationLinks,
  commands,
  sndMessages,
  sndBodies,
  deliveries,
  rcvMessages,
  events,
  eventConsumers,
  eventAcks,
  counters,
]

/** The tables that one connection's aggregate is loaded from. */
export const connectionTables: readonly Table[] = [connections, rcvQueues, sndQueues, skippedKeys, confirmations]
