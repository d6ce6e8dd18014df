/** The part of links after `?`: names and values with percent escapes, as SMP agents write and read them. */
import { DecodeError } from '../../errors.js'

/** Names and values in the order in which they are written. */
export type QueryParameters = readonly (readonly [name: string, value: string])[]

/** `name=value&…` with everything escaped but letters, digits and `-_.~`. */
export const formatQuery = (parameters: QueryParameters): string =>
  parameters.map(([name, value]) => `${name}=${escape(value)}`).join('&')

/** As `formatQuery`, for values that are safe as they are: the query of e2e parameters is itself a value in a link. */
export const formatPlainQuery = (parameters: QueryParameters): string =>
  parameters.map(([name, value]) => `${name}=${value}`).join('&')

const escape = (value: string): string =>
  Buffer.from(value, 'utf8')
    .toString('latin1')
    .replaceAll(/[^A-Za-z0-9\-_.~]/g, escapeByte)

const escapeByte = (byte: string): string => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`

/** A query that was read: unknown names are kept and ignored, of equal names the first counts. */
export class Query {
  readonly #values = new Map<string, string>()

  /**
   * Reads a query without its `?`. Parameters end with `&` or `;`, `+` is a space.
   * @throws DecodeError `DECODE_INVALID` for white space
   */
  constructor(text: string) {
    if (/[ \n]/.test(text)) throw new DecodeError('DECODE_INVALID', 'a link must not contain spaces', { field: 'link' })
    for (const parameter of text.split(/[&;]/)) {
      const equals = parameter.indexOf('=')
      const name = unescape(equals === -1 ? parameter : parameter.slice(0, equals))
      if (!this.#values.has(name)) this.#values.set(name, equals === -1 ? '' : unescape(parameter.slice(equals + 1)))
    }
  }

  /** The value, or undefined if the query has no such name. */
  get(name: string): string | undefined {
    return this.#values.get(name)
  }

  /** @throws DecodeError `DECODE_INVALID` if the query has no such name */
  require(name: string): string {
    const value = this.#values.get(name)
    if (value === undefined) {
      throw new DecodeError('DECODE_INVALID', `the link has no parameter "${name}"`, { field: name })
    }
    return value
  }
}

/** Escapes name bytes of UTF-8, and an escape that is none stands for itself. */
const unescape = (text: string): string => {
  const bytes = Buffer.from(text.replaceAll('+', ' '), 'utf8').toString('latin1')
  const unescaped = bytes.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(unescaped, 'latin1').toString('utf8')
}
