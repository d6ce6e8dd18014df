import { decodePublicKey } from '../../src/crypto/keys.js'
import type { VersionRange } from '../../src/encoding/index.js'
import type { ConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'
import type { E2eRatchetParams } from '../../src/smp/protocol/e2eParams.js'
import type { QueueAddress, QueueUri } from '../../src/smp/protocol/queueInfo.js'
import type { RouterAddress } from '../../src/smp/protocol/routerAddress.js'
import { hex, type Vector } from './load.js'

/** The vectors' names for addresses, queues and links, as values of this code. */

export const routerOf = (v: Vector): RouterAddress => ({
  hosts: v['hosts'],
  port: v['port'],
  keyHash: hex(v['keyHash']),
})

const MODES: Record<string, 'messaging' | 'contact'> = { M: 'messaging', C: 'contact' }

export const queueAddressOf = (v: Vector): QueueAddress => ({
  router: routerOf(v['server']),
  senderId: hex(v['senderId']),
  dhKey: decodePublicKey(hex(v['dhPublicKeyDer'])).raw,
  ...(v['queueMode'] === null ? {} : { mode: MODES[v['queueMode']] }),
})

const versionRange = (v: Vector): VersionRange => ({ min: v['min'], max: v['max'] })

export const queueUriOf = (v: Vector): QueueUri => ({
  clientVersions: versionRange(v['clientVRange']),
  address: queueAddressOf(v['address']),
})

export const e2eOf = (v: Vector): E2eRatchetParams => ({
  versionRange: versionRange(v['vrange']),
  key1: hex(v['x3dh1Raw']),
  key2: hex(v['x3dh2Raw']),
  ...(v['kem'] === null ? {} : { kem: { kind: 'proposed', publicKey: hex(v['kem']['proposedKey']) } }),
})

export const requestOf = (v: Vector): ConnectionRequest => {
  const data = {
    agentVersions: versionRange(v['data']['agentVRange']),
    queues: v['data']['queues'].map(queueUriOf) as QueueUri[],
    ...(v['data']['clientData'] === null ? {} : { clientData: v['data']['clientData'] as string }),
  }
  return v['mode'] === 'invitation'
    ? { mode: 'invitation', ...data, e2e: e2eOf(v['e2e']) }
    : { mode: 'contact', ...data }
}
