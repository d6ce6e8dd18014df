/**
 * The versions of the SMP protocol that changed what its bytes mean, and the ranges that duologue offers. Never compare with
 * "the current version": peers announce newer ones, and the intersection decides (facts/smp.md, "Versions").
 */
import type { VersionRange } from '../../encoding/index.js'

/** SKEY, and in NEW and IDS whether the sender can secure the queue. */
export const VERSION_SENDER_SECURE = 9
/** DELD instead of END for a deleted queue. */
export const VERSION_DELETED_EVENT = 10
/** BLOCKED instead of AUTH for a blocked queue. */
export const VERSION_BLOCKED = 12
/** Short links: queue modes and link data. */
export const VERSION_SHORT_LINKS = 15
/** Service certificates: SOK and service ids. */
export const VERSION_SERVICE_CERTS = 16
/** Notifier credentials in NEW and IDS. */
export const VERSION_NOTIFIER_CREDENTIALS = 17
/** Notices to clients in BLOCKED. */
export const VERSION_CLIENT_NOTICES = 18

/** What duologue offers to routers and to clients of its router. */
export const SMP_VERSIONS: VersionRange = { min: 14, max: 18 }

/** Versions of messages and queue addresses between SMP clients: 2 several hosts, 3 sender can secure, 4 queue modes. */
export const CLIENT_VERSIONS: VersionRange = { min: 1, max: 4 }
export const CLIENT_VERSION_HOSTS = 2
export const CLIENT_VERSION_SENDER_SECURE = 3
export const CLIENT_VERSION_QUEUE_MODE = 4
