/** The exported test kit: a world of agents and routers in one process, on one clock. */
export {
  type LinkDirection,
  type MemoryLink,
  type MemoryNetwork,
  type MemoryNetworkOptions,
  memoryNetwork,
  type NetworkClock,
  type Way,
} from '../smp/transport/memory.js'
export {
  type Fault,
  type FaultDirection,
  type FaultProxy,
  type FaultProxyOptions,
  startFaultProxy,
} from './faultProxy.js'
export { type TestWorld, testWorld } from './testWorld.js'
export { type VirtualClock, virtualClock, virtualEpoch } from './virtualClock.js'
