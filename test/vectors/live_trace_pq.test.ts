import { it } from 'vitest'
import { replayProtocol } from './liveTrace.js'

replayProtocol('live_trace_invitation_pq')

it.todo('live_trace_invitation_pq: inside of the double ratchet (agreeing on a KEM comes with a later issue)')
