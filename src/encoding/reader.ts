import { DecodeError } from '../errors.js'
import { asBuffer, type Bytes } from './bytes.js'

const ZERO = 0x30
const ONE = 0x31
const TRUE = 0x54
const FALSE = 0x46
const SPACE = 0x20

/** Strict UTF-8: a malformed sequence is an error, a byte order mark is text. */
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads the binary encoding of the SMP protocols from front to back. Byte strings are views of the input, not copies: keep a
 * copy of what must outlive the block it came in. Every method throws a `DecodeError` that names the field:
 * `DECODE_TRUNCATED` (too few bytes), `DECODE_INVALID` (a byte that may not stand there), `DECODE_TRAILING` (too many bytes).
 */
export class Reader {
  readonly #bytes: Buffer
  readonly #what: string | undefined
  #offset = 0

  /** `what` names the thing that is read; it prefixes the field of errors. */
  constructor(bytes: Bytes, what?: string) {
    this.#bytes = asBuffer(bytes)
    this.#what = what
  }

  /** Bytes that are not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  /** Bytes that are read already. */
  get offset(): number {
    return this.#offset
  }

  /** The next byte without reading it; undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#offset]
  }

  byte(field: string): number {
    return this.#bytes[this.#advance(1, field)] as number
  }

  word16(field: string): number {
    return this.#bytes.readUInt16BE(this.#advance(2, field))
  }

  word32(field: string): number {
    return this.#bytes.readUInt32BE(this.#advance(4, field))
  }

  /** A signed 64-bit number. */
  int64(field: string): bigint {
    return this.#bytes.readBigInt64BE(this.#advance(8, field))
  }

  /** Bytes behind a 1-byte length. */
  short(field: string): Bytes {
    return this.take(this.byte(field), field)
  }

  /** Bytes behind a 2-byte length. */
  large(field: string): Bytes {
    return this.take(this.word16(field), field)
  }

  /** UTF-8 text behind a 1-byte length. */
  text(field: string): string {
    const bytes = this.short(field)
    try {
      return utf8Decoder.decode(bytes)
    } catch {
      return this.fail(field, 'is not UTF-8')
    }
  }

  /** Exactly `length` bytes. */
  take(length: number, field: string): Bytes {
    const start = this.#advance(length, field)
    return this.#bytes.subarray(start, start + length)
  }

  /** Everything that is left, possibly nothing. */
  rest(): Bytes {
    const start = this.#offset
    this.#offset = this.#bytes.length
    return this.#bytes.subarray(start)
  }

  /** The bytes up to the next space or the end, as Latin-1 text; the space stays unread. */
  word(field: string): string {
    const space = this.#bytes.indexOf(SPACE, this.#offset)
    const end = space === -1 ? this.#bytes.length : space
    if (end === this.#offset) return this.fail(field, 'is empty')
    return (this.take(end - this.#offset, field) as Buffer).toString('latin1')
  }

  /** One space. */
  space(field: string): void {
    if (this.byte(field) !== SPACE) this.fail(field, 'has no space before it')
  }

  /** `0` for nothing, `1` and the value otherwise. */
  maybe<T>(read: (reader: Reader) => T, field = 'maybe'): T | undefined {
    const tag = this.byte(field)
    if (tag === ZERO) return undefined
    if (tag === ONE) return read(this)
    return this.fail(field, 'must start with 0 or 1')
  }

  /** `T` or `F`. */
  bool(field: string): boolean {
    const tag = this.byte(field)
    if (tag === TRUE) return true
    if (tag === FALSE) return false
    return this.fail(field, 'must be T or F')
  }

  /** Items behind a 1-byte count. */
  list<T>(read: (reader: Reader) => T, field = 'list'): T[] {
    const count = this.byte(field)
    const items: T[] = []
    for (let index = 0; index < count; index++) items.push(read(this))
    return items
  }

  /** As `list`, and at least one item. */
  nonEmptyList<T>(read: (reader: Reader) => T, field = 'list'): T[] {
    const items = this.list(read, field)
    return items.length === 0 ? this.fail(field, 'must have at least one item') : items
  }

  /** Says that nothing may be left. Throws `DECODE_TRAILING` otherwise. */
  end(): void {
    if (this.remaining === 0) return
    throw new DecodeError('DECODE_TRAILING', `${this.#what ?? 'value'} has ${this.remaining} bytes too many`, {
      ...(this.#what === undefined ? {} : { field: this.#what }),
      facts: { trailing: this.remaining },
    })
  }

  /** Throws `DECODE_INVALID` for the field; `problem` continues the sentence that starts with its name. */
  fail(field: string, problem: string): never {
    const name = this.#name(field)
    throw new DecodeError('DECODE_INVALID', `${name} ${problem}`, { field: name })
  }

  #advance(length: number, field: string): number {
    const start = this.#offset
    if (length > this.#bytes.length - start) {
      const name = this.#name(field)
      throw new DecodeError('DECODE_TRUNCATED', `${name} needs ${length} bytes, ${this.remaining} are left`, {
        field: name,
        facts: { needed: length, left: this.remaining },
      })
    }
    this.#offset = start + length
    return start
  }

  #name(field: string): string {
    return this.#what === undefined ? field : `${this.#what}.${field}`
  }
}

/** Reads one value that takes all the bytes. Throws as `Reader` does. */
export const decodeAll = <T>(bytes: Bytes, what: string, read: (reader: Reader) => T): T => {
  const reader = new Reader(bytes, what)
  const value = read(reader)
  reader.end()
  return value
}
