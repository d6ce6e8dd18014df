import { createCipheriv, createDecipheriv, createHash, createHmac } from 'node:crypto'
import { equalConstantTime } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { CallError, CryptoError, EncodeError, TransportError } from '../errors.js'
import { signalAttachments } from '../store/signal/messages.js'
import type { SignalContext } from './context.js'
import { signalTransportError } from './net/port.js'
import { jsonOf } from './net/session.js'
import { expectOk } from './preKeys.js'
import { decode } from './wire/codec.js'
import { type AttachmentPointer, attachmentPointer } from './wire/messages.js'

/** The limit of Signal’s service. */
const maxLength = 100 * 1_048_576
const transferMs = 5 * 60_000
const macLength = 32
const ivLength = 16

export interface Attachment {
  readonly bytes: Bytes
  readonly contentType: string
  readonly fileName?: string | undefined
}

/**
 * Encrypts an attachment and uploads it; the pointer goes into a message. Throws EncodeError LARGE_ATTACHMENT, TransportError. A
 * message that is accepted afterwards is durable; an upload that failed is repeated by its caller.
 */
export const uploadAttachment = async (context: SignalContext, attachment: Attachment): Promise<AttachmentPointer> => {
  const { random, links, clock } = context
  const { bytes, contentType, fileName } = attachment
  if (bytes.length > maxLength)
    throw new EncodeError('LARGE_ATTACHMENT', 'an attachment has at most 100 MiB', {
      field: 'bytes',
      facts: { length: bytes.length, limit: maxLength },
    })
  const key = Buffer.from(random(64))
  const blob = encrypt(bytes, key, Buffer.from(random(ivLength)))
  const form = jsonOf(expectOk(await links.identified.request({ verb: 'GET', path: '/v4/attachments/form/upload' })))
  const { cdn, key: cdnKey, signedUploadLocation: url, headers } = form
  if (typeof url !== 'string' || typeof cdnKey !== 'string' || typeof cdn !== 'number')
    throw new TransportError('SIGNAL_STATUS', 'the server gives no place for an attachment')
  const { status } = await transfer(context, {
    url,
    method: 'POST',
    headers: {
      ...stringsOf(headers),
      'tus-resumable': '1.0.0',
      'upload-length': String(blob.length),
      'upload-metadata': `filename ${Buffer.from(cdnKey).toString('base64')}`,
      'content-type': 'application/offset+octet-stream',
    },
    body: blob,
  })
  if (status >= 300) throw new TransportError('SIGNAL_STATUS', 'the attachment was not taken', { facts: { status } })
  return {
    contentType,
    key,
    size: bytes.length,
    digest: createHash('sha256').update(blob).digest(),
    ...(fileName === undefined ? {} : { fileName }),
    uploadTimestamp: clock.now(),
    cdnNumber: cdn,
    cdnKey,
  }
}

/** The bytes of an attachment of a received message. Throws CallError SIGNAL_ATTACHMENT_UNKNOWN, CryptoError, TransportError. */
export const downloadAttachment = async (
  context: SignalContext,
  cdnUrl: (cdn: number) => string,
  which: { readonly recipientId: string; readonly messageId: number; readonly position: number },
): Promise<Bytes> => {
  const [row] = await context.store.find(signalAttachments, { where: { ...which, userId: context.userId } })
  if (row === undefined)
    throw new CallError('SIGNAL_ATTACHMENT_UNKNOWN', 'there is no such attachment', { field: 'position' })
  const { key, digest, size, cdnNumber = 0, cdnKey = '' } = decode(attachmentPointer, row.pointer)
  const url = `${cdnUrl(cdnNumber)}/attachments/${encodeURIComponent(cdnKey)}`
  const { status, body } = await transfer(context, { url, method: 'GET' })
  if (status !== 200)
    throw new TransportError('SIGNAL_STATUS', 'the attachment is not there any more', { facts: { status } })
  return decrypt(body, key, digest).subarray(0, size ?? body.length)
}

const transfer = async (context: SignalContext, request: Parameters<SignalContext['dialer']['http']>[0]) => {
  const deadline = new AbortController()
  const timer = context.clock.setTimeout(
    () => deadline.abort(signalTransportError('SIGNAL_TIMEOUT', 'the transfer took too long', { field: 'attachment' })),
    transferMs,
  )
  try {
    return await context.dialer.http(request, deadline.signal)
  } finally {
    context.clock.clearTimeout(timer)
  }
}

const stringsOf = (headers: unknown): Record<string, string> =>
  typeof headers === 'object' && headers !== null
    ? Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
    : {}

const encrypt = (bytes: Bytes, key: Buffer, iv: Buffer): Buffer => {
  const cipher = createCipheriv('aes-256-cbc', key.subarray(0, 32), iv)
  const body = Buffer.concat([iv, cipher.update(bytes), cipher.final()])
  return Buffer.concat([body, createHmac('sha256', key.subarray(32)).update(body).digest()])
}

const decrypt = (blob: Bytes, key: Bytes | undefined, digest: Bytes | undefined): Bytes => {
  if (key?.length !== 64 || blob.length < ivLength + macLength) throw badAttachment()
  const body = blob.subarray(0, blob.length - macLength)
  const mac = createHmac('sha256', key.subarray(32)).update(body).digest()
  if (!equalConstantTime(mac, blob.subarray(blob.length - macLength))) throw badAttachment()
  if (digest !== undefined && !equalConstantTime(createHash('sha256').update(blob).digest(), digest))
    throw badAttachment()
  try {
    const cipher = createDecipheriv('aes-256-cbc', key.subarray(0, 32), body.subarray(0, ivLength))
    return Buffer.concat([cipher.update(body.subarray(ivLength)), cipher.final()])
  } catch {
    throw badAttachment()
  }
}

const badAttachment = (): CryptoError =>
  new CryptoError('CRYPTO_ATTACHMENT', 'the attachment is not what the message says', { field: 'attachment' })
