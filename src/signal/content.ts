import type { Json } from '../store/index.js'
import type { AttachmentPointer, Content, DataMessage } from './wire/messages.js'
import { serviceIdBytes, serviceIdOf } from './wire/serviceId.js'

/** A message that is answered or reacted to: who wrote it, and its timestamp. */
export interface MessageReference {
  readonly author: string
  readonly timestamp: number
}

/** What a caller can send (S18). */
export interface OutgoingMessage {
  readonly text?: string | undefined
  readonly attachments?: readonly AttachmentPointer[] | undefined
  readonly quote?: (MessageReference & { readonly text?: string | undefined }) | undefined
  readonly reaction?: (MessageReference & { readonly emoji: string; readonly remove?: boolean | undefined }) | undefined
}

/** DataMessage.requiredProtocolVersion of reactions, as the reference clients set it. */
const reactionVersion = 4

export const outgoingContent = (
  { text, attachments = [], quote, reaction }: OutgoingMessage,
  timestamp: number,
  profileKey: Uint8Array | null,
): Content => ({
  dataMessage: {
    body: text,
    attachments,
    timestamp,
    profileKey: profileKey ?? undefined,
    quote:
      quote === undefined
        ? undefined
        : {
            id: quote.timestamp,
            text: quote.text,
            authorAci: quote.author,
            authorAciBinary: serviceIdBytes(quote.author),
          },
    ...(reaction === undefined
      ? {}
      : {
          requiredProtocolVersion: reactionVersion,
          reaction: {
            emoji: reaction.emoji,
            remove: reaction.remove ?? false,
            targetAuthorAci: reaction.author,
            targetAuthorAciBinary: serviceIdBytes(reaction.author),
            targetSentTimestamp: reaction.timestamp,
          },
        }),
  },
})

/** The transcript of a sent message for the account’s own devices. */
export const transcript = (
  message: DataMessage,
  timestamp: number,
  destination: { readonly serviceId: string; readonly e164: string | null },
  sealed: boolean,
): Content => ({
  syncMessage: {
    sent: {
      timestamp,
      message,
      destinationE164: destination.e164 ?? undefined,
      destinationServiceId: destination.serviceId,
      destinationServiceIdBinary: serviceIdBytes(destination.serviceId),
      unidentifiedStatus: [{ unidentified: sealed, destinationServiceIdBinary: serviceIdBytes(destination.serviceId) }],
    },
  },
})

/** Longest text of the other side that stands in an event, beside the body itself. */
const maxText = 1_000

/** A text of the other side, cut to a length. */
export const shortText = (text: string | undefined, length = maxText): string => {
  const cut = (text ?? '').slice(0, length)
  // A cut between the halves of a surrogate pair would leave text that no database keeps.
  return /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut
}

const authorOf = (binary: Uint8Array | undefined, text: string | undefined): string => {
  if (binary !== undefined && (binary.length === 16 || (binary.length === 17 && binary[0] === 1)))
    return serviceIdOf(binary)
  return shortText(text)
}

/** Most attachments of one message, as the reference clients have it. */
export const maxAttachments = 32

/** What an event tells of a received message, beside its text; where attachments are and their keys is left out. */
export const messagePayload = (message: DataMessage): { readonly [key: string]: Json } => {
  const { quote, reaction } = message
  const attachments = (message.attachments ?? []).slice(0, maxAttachments)
  return {
    kind:
      reaction !== undefined
        ? 'reaction'
        : quote !== undefined
          ? 'reply'
          : attachments.length > 0
            ? 'attachment'
            : 'text',
    ...(attachments.length === 0 ? {} : { attachments: attachments.map(attachmentPayload) }),
    ...(quote === undefined
      ? {}
      : {
          quote: {
            author: authorOf(quote.authorAciBinary, quote.authorAci),
            timestamp: quote.id ?? 0,
            text: shortText(quote.text),
          },
        }),
    ...(reaction === undefined
      ? {}
      : {
          reaction: {
            emoji: shortText(reaction.emoji),
            remove: reaction.remove ?? false,
            author: authorOf(reaction.targetAuthorAciBinary, reaction.targetAuthorAci),
            timestamp: reaction.targetSentTimestamp ?? 0,
          },
        }),
  }
}

const attachmentPayload = ({ contentType, fileName, size }: AttachmentPointer, position: number): Json => ({
  position,
  contentType: shortText(contentType),
  fileName: fileName === undefined ? null : shortText(fileName),
  size: size ?? 0,
})

/** Whether a data message is one for the application: calls, profile key updates and the like are not. */
export const isForApplication = ({ body, attachments = [], reaction, quote }: DataMessage): boolean =>
  body !== undefined || attachments.length > 0 || reaction !== undefined || quote !== undefined
