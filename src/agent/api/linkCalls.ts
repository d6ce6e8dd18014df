import { z } from 'zod'
import { asyncCall, call } from './call.js'
import { bodySchema, connectionIdSchema, idempotencyKeySchema, pqSchema, userIdSchema } from './schemas.js'

export const linkSchema = z.string().max(16_384)

/** Bytes of a result; over RPC they have the JSON form of a body. */
const bytesSchema = z.custom<Uint8Array>(value => value !== null && typeof value === 'object')

/** What whoever has the short link can read: the application’s data, and of a contact address how it takes requests. */
export const linkDataSchema = z
  .strictObject({
    userData: bodySchema,
    /** Of a contact address: whether it takes requests itself (so if it is left out), not only its relays. */
    direct: z.boolean().optional(),
    /** Of a contact address: short links of relays that take requests for it. */
    relays: z.array(z.string().max(1024)).max(255).optional(),
  })
  .meta({ id: 'LinkData', description: 'what whoever has the short link can read, 13 KB at most' })

/** How far the link of a connection is post-quantum. */
export const linkPqSchema = z.union([pqSchema, z.literal('invitation')])

/** Short links (B10). */
export const linkCalls = {
  prepareConnectionLink: call(
    'Makes the links of a contact address before any router is asked, so that they can be published or signed first. createConnectionForLink makes the address; until then nobody can use them.',
    z.strictObject({
      userId: userIdSchema.default(1),
      /** Names for good what the link is of, such as a group; the application’s. */
      entityId: bodySchema.refine(({ length }) => length > 0 && length <= 255, '1 to 255 bytes').optional(),
      idempotencyKey: idempotencyKeySchema.optional(),
    }),
    z.strictObject({ connectionId: connectionIdSchema, link: z.string(), shortLink: z.string() }),
  ),
  createConnectionForLink: asyncCall(
    'Creates the contact address of a prepared link at its router. The router must take the very queue that the link names, or the call fails. May be repeated, with the same link.',
    z.strictObject({
      connectionId: connectionIdSchema,
      linkData: linkDataSchema,
      /** `invitation` is refused: a contact address has no keys. */
      pq: linkPqSchema.default(true),
    }),
    z.strictObject({ connectionId: connectionIdSchema, link: z.string(), shortLink: z.string().optional() }),
  ),
  setShortLink: asyncCall(
    'Sets the data of a short link. A contact address that has none gets one; an invitation gets its own when it is created, and keeps its data once it was read. May be repeated: the link stays the same.',
    z.strictObject({ connectionId: connectionIdSchema, linkData: linkDataSchema }),
    z.strictObject({ shortLink: z.string() }),
  ),
  getShortLink: asyncCall(
    'Reads what a short link leads to, before joining by it. A one-time link can only be read by the user who read it first, also if it is read again, and until its owner has the first message.',
    z.strictObject({ userId: userIdSchema.default(1), link: linkSchema }),
    z.strictObject({
      mode: z.enum(['invitation', 'contact']),
      /** The long link: joinConnection takes either. */
      link: z.string(),
      userData: bytesSchema,
      entityId: bytesSchema.optional(),
      /** Of a contact address. */
      direct: z.boolean().optional(),
      relays: z.array(z.string()).optional(),
      /** Of a contact address: others who may change its data, each with its Ed25519 key. */
      owners: z.array(z.strictObject({ ownerId: bytesSchema, ownerKey: bytesSchema })).optional(),
    }),
  ),
  deleteShortLink: asyncCall(
    'Lets the short link of a contact address or invitation lead nowhere; the long link still works. Another setShortLink gives a contact address another link. May be repeated.',
    z.strictObject({ connectionId: connectionIdSchema }),
    z.strictObject({}),
  ),
} as const
