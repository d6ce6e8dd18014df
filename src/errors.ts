/**
 * The one tree of typed errors. Every error that leaves a public call is a `DuologueError`: `code` is stable and safe to
 * switch on, `field` names the value, queue, connection or file in question, `hint` says what the caller can do.
 * Messages never contain keys, bodies or links.
 */
export interface ErrorDetails {
  /** The value, queue, connection or file that the error is about. */
  readonly field?: string
  /** What the caller can do next. */
  readonly hint?: string
  readonly cause?: unknown
  /** More facts that are safe to show, such as a limit and the size that broke it. */
  readonly facts?: Readonly<Record<string, string | number | boolean>>
}

export class DuologueError extends Error {
  readonly code: string
  readonly field: string | undefined
  readonly hint: string | undefined
  readonly facts: Readonly<Record<string, string | number | boolean>>

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.field = details.field
    this.hint = details.hint
    this.facts = details.facts ?? {}
  }

  /** The error as plain data for events, RPC answers and logs; causes stay behind. */
  toJSON(): { code: string; message: string; field?: string; hint?: string; facts?: object } {
    return {
      code: this.code,
      message: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(Object.keys(this.facts).length === 0 ? {} : { facts: this.facts }),
    }
  }
}

/** Bytes or text that do not have the form they must have (codes `DECODE_…`). */
export class DecodeError extends DuologueError {}
/** A value that cannot be written in the form it needs, such as one longer than its limit (codes `ENCODE_…`, `LARGE_MSG`). */
export class EncodeError extends DuologueError {}
/** A cryptographic check failed: wrong key, tampered bytes, bad signature (codes `CRYPTO_…`). */
export class CryptoError extends DuologueError {}
/** The post-quantum KEM cannot do its work now; the same step may succeed later (codes `KEM_…`). */
export class KemError extends DuologueError {}
/** A connection to a router could not be made, was refused or broke (codes `TRANSPORT_…`). */
export class TransportError extends DuologueError {}
/** A router answered with an error, or with something that is no answer (codes `SMP_…`, or the wire's own word such as `AUTH`). */
export class RouterError extends DuologueError {}
/**
 * A proxy, or its connection to the relay behind it, failed: what the relay itself answers through a proxy is a RouterError as if it were
 * asked directly (codes `PROXY_…`).
 */
export class ProxyError extends RouterError {}
/** The database cannot be opened, read or written, or belongs to another process (codes `STORE_…`). */
export class StoreError extends DuologueError {}
/** A public call was used in a way or state that it does not allow (codes `CMD_…`, `CONN_…`). */
export class CallError extends DuologueError {}
/** A configuration value, option or file is not usable (codes `CONFIG_…`). */
export class ConfigError extends DuologueError {}
/** Something that must not happen did: a bug in duologue (code `INTERNAL`). */
export class InternalError extends DuologueError {
  constructor(message: string, details: ErrorDetails = {}) {
    super('INTERNAL', message, details)
  }
}

/** Any thrown value as a DuologueError, so that no error leaves without a code. */
export const asDuologueError = (error: unknown): DuologueError =>
  error instanceof DuologueError
    ? error
    : new InternalError(error instanceof Error ? error.message : String(error), { cause: error })
