import { bytes, defineTable, integer, json, nullable, text } from './table.js'

/** The durable event log: a row lives until every consumer has acknowledged it. Shared by all networks. */
export const events = defineTable(
  'events',
  {
    cursor: integer,
    at: integer,
    network: text,
    userId: integer,
    connectionId: text,
    /** The message that the event is about; a message event is acknowledged under it. */
    messageId: nullable(integer),
    correlationId: nullable(text),
    traceId: text,
    type: text,
    payload: json,
    /** Body of a message or info of a party, kept out of JSON. */
    body: nullable(bytes),
  },
  { key: ['cursor'], indexes: [['connectionId', 'messageId']] },
)

/** Registered readers; events up to `fromCursor` count as acknowledged. */
export const eventConsumers = defineTable(
  'event_consumers',
  { consumer: text, fromCursor: integer },
  { key: ['consumer'] },
)

/** Acknowledgements of one consumer while another one still needs the event. */
export const eventAcks = defineTable('event_acks', { cursor: integer, consumer: text }, { key: ['cursor', 'consumer'] })

/** Counters that only the one writer raises. */
export const counters = defineTable('counters', { name: text, value: integer }, { key: ['name'] })
