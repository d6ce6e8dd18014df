export type { Agent, EventsOptions } from './api/agent.js'
export { type CallName, calls, type Calls, type ParamsOf, type ResultOf } from './api/calls.js'
export type {
  AgentEvent,
  ErrorFact,
  EventEnvelope,
  EventPayload,
  EventType,
  MessageIntegrity,
  RatchetSyncState,
  ReceiptResult,
} from './api/events.js'
export type { AgentConfig } from './config.js'
export type { Logger } from './context.js'
export { type AgentOptions, maxInfoLength, maxMessageLength, maxPqMessageLength, openAgent } from './openAgent.js'
