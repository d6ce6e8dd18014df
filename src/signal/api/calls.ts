import { z } from 'zod'
import { bodySchema, idempotencyKeySchema, messageIdSchema } from '../../agent/api/schemas.js'
import type { HealthReport } from '../health.js'
import type { Accepted } from '../sendMessage.js'
import type { AttachmentPointer } from '../wire/messages.js'
import { isAci, isPni } from '../wire/serviceId.js'

const serviceId = z.string().refine(text => isAci(text) || isPni(text), 'a service id is a UUID, or PNI: and a UUID')
const aci = z.string().refine(isAci, 'an ACI is a UUID')
const timestamp = z.int().positive()
const deviceId = z.int().min(1).max(127)
const reference = { author: serviceId, timestamp }
const recipientId = z.string().min(1).max(64)

/** The pointer that uploadAttachment answers with; it holds the attachment’s key. */
const pointer = z.custom<object>(value => typeof value === 'object' && value !== null)

/** The one list of the channel’s calls: what they do and what they take. */
export const signalCallList = {
  send: {
    summary: 'Accepts a message for delivery: when the call is answered it is stored. SENT or MERR tells of its end.',
    params: z.strictObject({
      to: z.string().min(1).max(64),
      text: z.string().max(65_536).optional(),
      attachments: z.array(pointer).max(32).optional(),
      quote: z.strictObject({ ...reference, text: z.string().max(2_000).optional() }).optional(),
      reaction: z
        .strictObject({ ...reference, emoji: z.string().min(1).max(64), remove: z.boolean().optional() })
        .optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
      correlationId: z.string().min(1).max(128).optional(),
    }),
  },
  markRead: {
    summary: 'Tells the sender that messages were read.',
    params: z.strictObject({ to: z.string().min(1).max(64), timestamps: z.array(timestamp).min(1).max(100) }),
  },
  uploadAttachment: {
    summary: 'Encrypts and uploads an attachment; answers with the pointer that send takes.',
    params: z.strictObject({
      bytes: bodySchema,
      contentType: z.string().min(1).max(256),
      fileName: z.string().max(256).optional(),
    }),
  },
  downloadAttachment: {
    summary: 'Downloads and decrypts an attachment of a received message.',
    params: z.strictObject({ recipientId, messageId: messageIdSchema, position: z.int().nonnegative() }),
  },
  setRecipient: {
    summary: 'Makes known what belongs to one person: ACI, PNI, number, and the profile key that allows sealed sender.',
    params: z.strictObject({
      aci: aci.optional(),
      pni: z.string().refine(isPni, 'a PNI is PNI: and a UUID').optional(),
      e164: z
        .string()
        .regex(/^\+[1-9]\d{6,14}$/)
        .optional(),
      profileKey: z.custom<Uint8Array>(value => value instanceof Uint8Array && value.length === 32).optional(),
    }),
  },
  getDevices: {
    summary: 'The cached devices of a service id; [1] when none is cached.',
    params: z.strictObject({ aci: serviceId }),
  },
  setDevices: {
    summary: 'Replaces the cached devices of a service id.',
    params: z.strictObject({ aci: serviceId, deviceIds: z.array(deviceId).max(127) }),
  },
  addDevice: { summary: 'Adds a cached device.', params: z.strictObject({ aci: serviceId, deviceId }) },
  removeDevice: { summary: 'Removes a cached device.', params: z.strictObject({ aci: serviceId, deviceId }) },
  answerChallenge: {
    summary: 'Answers a challenge (428): the messages that wait for it go on.',
    params: z.strictObject({ token: z.string().min(1), captcha: z.string().min(1) }),
  },
} as const

type List = typeof signalCallList
export type SignalParams<N extends keyof List> = z.input<List[N]['params']>
export type ParsedSignalParams<N extends keyof List> = z.output<List[N]['params']>

/** The account that is linked, without its keys. */
export interface LinkedAccount {
  readonly aci: string
  readonly pni: string | null
  readonly e164: string | null
  readonly deviceId: number
  readonly deviceName: string
  readonly status: string
}

export interface KnownRecipient {
  readonly recipientId: string
  readonly aci: string | null
  readonly pni: string | null
  readonly e164: string | null
}

/** The channel’s calls. Each throws DuologueError; parameters are checked by the list above. */
export interface SignalCalls {
  /** Links this user as a new device; `onLink` is told of the link to scan. Resolves when the device is linked. */
  link(options: {
    readonly deviceName?: string
    readonly onLink: (link: string) => void
    readonly signal?: AbortSignal
  }): Promise<LinkedAccount>
  /** The linked account, or undefined. */
  account(): LinkedAccount | undefined
  send(params: SignalParams<'send'>): Promise<Accepted>
  markRead(params: SignalParams<'markRead'>): Promise<{ readonly messageId: number }>
  uploadAttachment(params: SignalParams<'uploadAttachment'>): Promise<AttachmentPointer>
  downloadAttachment(params: SignalParams<'downloadAttachment'>): Promise<Uint8Array>
  setRecipient(params: SignalParams<'setRecipient'>): Promise<KnownRecipient>
  getDevices(params: SignalParams<'getDevices'>): Promise<number[]>
  setDevices(params: SignalParams<'setDevices'>): Promise<void>
  addDevice(params: SignalParams<'addDevice'>): Promise<void>
  removeDevice(params: SignalParams<'removeDevice'>): Promise<void>
  answerChallenge(params: SignalParams<'answerChallenge'>): Promise<void>
  health(): HealthReport
  /** Connects again after the server had closed a socket for good (4409). */
  reconnect(): void
  /** Ends sockets and sending until resume; what waits is in rows. */
  suspend(): void
  resume(): void
}
