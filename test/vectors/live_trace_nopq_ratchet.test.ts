import { replayRatchets } from './liveTraceRatchet.js'

replayRatchets('live_trace_invitation_nopq')
