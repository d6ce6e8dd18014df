import { formatConnectionRequest, parseConnectionRequest } from '../../src/smp/protocol/connectionRequest.js'

/** Which of the two queues of a connection are of the old form, whose recipient secures them with KEY. */
export interface LegacyQueues {
  readonly invitation: boolean
  readonly reply: boolean
}

/** The four handshakes that two parties can have. */
export const handshakeKinds: readonly LegacyQueues[] = [false, true].flatMap(invitation =>
  [false, true].map(reply => ({ invitation, reply })),
)

/**
 * An invitation as an initiator of an old version would have made it: without word that its sender may secure the queue, and of a
 * client version that cannot say so of the reply queue either.
 */
export const legacyLink = (
  link: string,
  { invitation, reply }: LegacyQueues = { invitation: true, reply: true },
): string => {
  const request = parseConnectionRequest(link)
  const queues = request.queues.map(({ address: { mode, ...address }, clientVersions }) => ({
    clientVersions: reply ? { min: 1, max: 2 } : clientVersions,
    address: invitation || mode === undefined ? address : { ...address, mode },
  }))
  return formatConnectionRequest({ ...request, queues })
}
