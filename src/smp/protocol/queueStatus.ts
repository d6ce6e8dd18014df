/** The JSON that a router answers to QUE, a command for debugging. */
import { z } from 'zod'
import { asBuffer, type Bytes, utf8 } from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'

/** What a router knows of a queue. The names are the wire's. */
export interface QueueStatus {
  /** How the asking client is subscribed. */
  readonly qiSub?: QueueSubscriptionStatus | undefined
  /** The first message in the queue. */
  readonly qiMsg?: QueueMessageStatus | undefined
  /** Secured by a sender key. */
  readonly qiSnd: boolean
  /** Has a notifier. */
  readonly qiNtf: boolean
  /** Messages in the queue. */
  readonly qiSize: number
}

export interface QueueSubscriptionStatus {
  /** The message that is delivered and not acknowledged: its id in base64. */
  readonly qDelivered?: string | undefined
  readonly qSubThread: 'noSub' | 'subPending' | 'subThread' | 'prohibitSub'
}

export interface QueueMessageStatus {
  /** In base64. */
  readonly msgId: string
  /** ISO 8601. */
  readonly msgTs: string
  readonly msgType: 'message' | 'quota'
}

// Of a command for debugging only the size is relied on: words of routers to come must not make the rest unreadable.
const absent = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .transform(value => value ?? undefined)
    .catch(undefined)

const schema = z.object({
  qiSub: absent(
    z.object({
      qDelivered: absent(z.string()),
      qSubThread: z.enum(['noSub', 'subPending', 'subThread', 'prohibitSub']),
    }),
  ),
  qiMsg: absent(z.object({ msgId: z.string(), msgTs: z.string(), msgType: z.enum(['message', 'quota']) })),
  qiSnd: z.boolean(),
  qiNtf: z.boolean(),
  qiSize: z.int(),
})

/** The JSON, with its keys in the order in which reference routers write them. */
export const encodeQueueStatus = ({ qiSub, qiMsg, qiSnd, qiNtf, qiSize }: QueueStatus): Bytes => {
  const subscription = qiSub && { qDelivered: qiSub.qDelivered, qSubThread: qiSub.qSubThread }
  const message = qiMsg && { msgId: qiMsg.msgId, msgTs: qiMsg.msgTs, msgType: qiMsg.msgType }
  return utf8(JSON.stringify({ qiSub: subscription, qiMsg: message, qiSnd, qiNtf, qiSize }))
}

/** @throws DecodeError `DECODE_INVALID` */
export const decodeQueueStatus = (bytes: Bytes): QueueStatus => {
  const result = schema.safeParse(parseJson(asBuffer(bytes).toString('utf8')))
  if (!result.success) throw invalid('the status of a queue has another form')
  return result.data
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('the status of a queue is JSON')
  }
}

const invalid = (message: string): DecodeError => new DecodeError('DECODE_INVALID', message, { field: 'queueStatus' })
