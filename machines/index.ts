/** Every statechart, by its id: what the visualizer, the review report and the property tests walk through. */
import { agentOperationsMachine } from './agentOperations.js'
import { cleanupMachine } from './cleanup.js'
import { commandWorkerMachine } from './commandWorker.js'
import { connectionMachine } from './connection.js'
import { rcvQueueSwitchMachine, sndQueueSwitchMachine } from './queueSwitch.js'
import { ratchetSyncMachine } from './ratchetSync.js'
import { rcvQueueMachine } from './rcvQueue.js'
import { routerSessionMachine } from './routerSession.js'
import { signalLinkingMachine } from './signalLinking.js'
import { signalSendMachine } from './signalSend.js'
import { signalSocketMachine } from './signalSocket.js'
import { signalSyncMachine } from './signalSync.js'
import { sndQueueMachine } from './sndQueue.js'
import { sndQueueDeliveryMachine } from './sndQueueDelivery.js'
import { subscriptionMachine } from './subscription.js'

/** One event, one decision: the runtime asks them with the state of a row. */
export const protocolMachines = {
  connection: connectionMachine,
  rcvQueue: rcvQueueMachine,
  sndQueue: sndQueueMachine,
  subscription: subscriptionMachine,
  rcvQueueSwitch: rcvQueueSwitchMachine,
  sndQueueSwitch: sndQueueSwitchMachine,
  ratchetSync: ratchetSyncMachine,
} as const

/** Live actors with invoked work, retries and delays. */
export const workerMachines = {
  sndQueueDelivery: sndQueueDeliveryMachine,
  commandWorker: commandWorkerMachine,
  routerSession: routerSessionMachine,
  agentOperations: agentOperationsMachine,
  cleanup: cleanupMachine,
  signalSocket: signalSocketMachine,
  signalSend: signalSendMachine,
  signalSync: signalSyncMachine,
  signalLinking: signalLinkingMachine,
} as const

export * from './agentOperations.js'
export * from './behaviours.js'
export * from './cleanup.js'
export * from './commandWorker.js'
export * from './connection.js'
export * from './queueSwitch.js'
export * from './ratchetSync.js'
export * from './rcvQueue.js'
export * from './retry.js'
export * from './routerSession.js'
export * from './signalLinking.js'
export * from './signalSend.js'
export * from './signalSocket.js'
export * from './signalSync.js'
export * from './sndQueue.js'
export * from './sndQueueDelivery.js'
export * from './stub.js'
export * from './subscription.js'
