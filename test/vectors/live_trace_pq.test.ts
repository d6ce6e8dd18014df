import { replayProtocol } from './liveTrace.js'

// What is inside of the double ratchet: live_trace_pq_ratchet.test.ts.
replayProtocol('live_trace_invitation_pq')
