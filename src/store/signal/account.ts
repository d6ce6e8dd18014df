import { boolean, bytes, defineTable, integer, nullable, text } from '../table.js'

/** How ids of the channel’s aggregates begin: an account, a recipient, a peer (another service id). No SimpleX id has a colon. */
export const accountPrefix = 'signal-account:'
export const recipientPrefix = 'signal:'
export const peerPrefix = 'signal-peer:'

/** A Signal account that this process is a linked device of: one per user. `status` is the state of the link. */
export const signalAccounts = defineTable(
  'signal_accounts',
  {
    accountId: text,
    userId: integer,
    /** `linking` (keys are stored, the server may or may not know the device), `linked`, `loggedOut`. */
    status: text,
    aci: text,
    pni: nullable(text),
    e164: nullable(text),
    deviceId: nullable(integer),
    deviceName: text,
    /** Authenticates the device. Private. */
    password: text,
    registrationId: integer,
    pniRegistrationId: integer,
    /** Identity keys of the account. Private. */
    aciIdentityKey: bytes,
    pniIdentityKey: nullable(bytes),
    profileKey: nullable(bytes),
    /** The next id of a prekey, of whatever kind. */
    nextKeyId: integer,
    /** When signed and last-resort keys were made last, as far as the server has them; null: never. */
    keysRotatedAt: nullable(integer),
    createdAt: integer,
  },
  { key: ['accountId'], aggregate: 'accountId', aggregatePrefix: accountPrefix },
)

/** Prekeys that others may use: one-time (`ec`, `kyber`), `signed` and `lastResort`, for `aci` and `pni`. Private. */
export const signalPreKeys = defineTable(
  'signal_pre_keys',
  { accountId: text, own: text, kind: text, keyId: integer, record: bytes, createdAt: integer },
  { key: ['accountId', 'own', 'kind', 'keyId'] },
)

/** A person: ACI, PNI and number resolve to one row, whose id is the `connectionId` of its events. */
export const signalRecipients = defineTable(
  'signal_recipients',
  {
    recipientId: text,
    userId: integer,
    aci: nullable(text),
    pni: nullable(text),
    e164: nullable(text),
    /** Gives the right to sealed sender. Private. */
    profileKey: nullable(bytes),
    /** `unknown`, or `refused` once the server has refused the access key. */
    sealed: text,
    registered: boolean,
    lastMessageId: integer,
    /** The row that this one was found to be the same person as. */
    mergedInto: nullable(text),
    createdAt: integer,
  },
  {
    key: ['recipientId'],
    unique: [
      ['userId', 'aci'],
      ['userId', 'pni'],
      ['userId', 'e164'],
    ],
    indexes: [['mergedInto']],
    aggregate: 'recipientId',
    aggregatePrefix: recipientPrefix,
  },
)

/** The identity key last seen of a service id. */
export const signalIdentities = defineTable(
  'signal_identities',
  { peer: text, userId: integer, identityKey: bytes, createdAt: integer, changedAt: integer },
  { key: ['peer'], aggregate: 'peer', aggregatePrefix: peerPrefix },
)

/** Ratchets with other devices, apart for messages to this account’s ACI and PNI. Private. */
export const signalSessions = defineTable(
  'signal_sessions',
  { peer: text, own: text, deviceId: integer, userId: integer, record: bytes, updatedAt: integer },
  { key: ['peer', 'own', 'deviceId'], aggregate: 'peer', aggregatePrefix: peerPrefix },
)

/** The devices that a recipient is known to have (S06): changed by 409 and 200 only. */
export const recipientDevices = defineTable(
  'recipient_devices',
  {
    peer: text,
    aci: text,
    deviceId: integer,
    userId: integer,
    /** Tells a device that was registered anew; null until it is known. */
    registrationId: nullable(integer),
    lastSeen: integer,
  },
  { key: ['peer', 'deviceId'], indexes: [['aci']], aggregate: 'peer', aggregatePrefix: peerPrefix },
)
