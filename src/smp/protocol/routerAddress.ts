/**
 * Addresses of SMP routers: `smp://fingerprint[:password]@host1,host2[:port]` and their binary forms. Everything here is
 * checked on the way in, so an address that parsed can be dialled, shown and compared.
 */
import { isIPv6 } from 'node:net'
import {
  ascii,
  type Bytes,
  concat,
  fromBase64url,
  list,
  type Reader,
  short,
  toBase64url,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'

/** The port of a router whose address names none. */
export const DEFAULT_PORT = 5223

/** Where a router is, and the fingerprint (SHA-256 of its CA certificate) that proves it. */
export interface RouterAddress {
  readonly keyHash: Bytes
  /** At least one host: a name, an onion name or an IP address (IPv6 without brackets). All of them lead to the same router. */
  readonly hosts: readonly string[]
  /** Decimal, or '' for the default: both forms occur on the wire and are kept apart, so that an address encodes as it was read. */
  readonly port: string
}

/** A router address with the password that this router wants for creating queues. */
export interface RouterAddressWithAuth {
  readonly router: RouterAddress
  readonly basicAuth?: string
}

/** The TCP port to dial. */
export const portOf = (router: RouterAddress): number => (router.port === '' ? DEFAULT_PORT : Number(router.port))

/** Whether both addresses lead to the same place (same hosts and port); the fingerprint is not compared. */
export const sameRouterPlace = (a: RouterAddress, b: RouterAddress): boolean =>
  portOf(a) === portOf(b) && a.hosts.length === b.hosts.length && a.hosts.every((host, i) => host === b.hosts[i])

/** Whether both addresses have a place in common: a router may be named by some of its hosts only. */
export const sharesRouterPlace = (a: RouterAddress, b: RouterAddress): boolean =>
  portOf(a) === portOf(b) && a.hosts.some(host => b.hosts.includes(host))

/** Whether both addresses name the same router at the same place. */
export const sameRouter = (a: RouterAddress, b: RouterAddress): boolean =>
  sameRouterPlace(a, b) && Buffer.compare(a.keyHash, b.keyHash) === 0

/**
 * How IPv6 hosts are written. Everyone reads both; the reference writes them bare, which reads back as another host when a
 * port follows.
 */
export type IPv6Spelling = 'bracketed' | 'bare'

/** The address as text, without a password. */
export const formatRouterAddress = (router: RouterAddress, ipv6: IPv6Spelling = 'bracketed'): string =>
  format(router, router.hosts, undefined, ipv6)

/** The address as text with its password, if it has one. */
export const formatRouterAddressWithAuth = (
  { router, basicAuth }: RouterAddressWithAuth,
  ipv6: IPv6Spelling = 'bracketed',
): string => format(router, router.hosts, basicAuth, ipv6)

/** The address as text with its first host only, the form that SMP clients of version 1 read. */
export const formatLegacyRouterAddress = (router: RouterAddress): string =>
  format(router, router.hosts.slice(0, 1), undefined, 'bracketed')

const format = (
  router: RouterAddress,
  hosts: readonly string[],
  basicAuth: string | undefined,
  ipv6: IPv6Spelling,
): string => {
  const auth = basicAuth === undefined ? '' : `:${basicAuth}`
  const port = router.port === '' ? '' : `:${router.port}`
  const places = hosts.map(host => (ipv6 === 'bracketed' && host.includes(':') ? `[${host}]` : host))
  return `smp://${toBase64url(router.keyHash)}${auth}@${places.join(',')}${port}`
}

/**
 * Reads an address that must not have a password.
 * @throws DecodeError `DECODE_INVALID` with the part that is wrong as `field`
 */
export const parseRouterAddress = (text: string): RouterAddress => {
  const { router, basicAuth } = parseRouterAddressWithAuth(text)
  if (basicAuth !== undefined)
    throw invalid('router password', 'a password is not allowed here', 'remove the part between ":" and "@"')
  return router
}

/**
 * Reads an address with or without a password.
 * @throws DecodeError `DECODE_INVALID` with the part that is wrong as `field`
 */
export const parseRouterAddressWithAuth = (text: string): RouterAddressWithAuth => {
  const scheme = /^([a-z]*):\/\//.exec(text)
  if (scheme?.[1] !== 'smp') throw invalid('router address', 'a router address starts with smp://', ADDRESS_HINT)
  const parts = /^smp:\/\/([A-Za-z0-9_-]+=*)(?::([^@]+))?@(.+)$/s.exec(text)
  const [, fingerprint, password, place] = parts ?? []
  if (fingerprint === undefined || place === undefined) {
    throw invalid('router address', 'a router address needs a fingerprint and a host', ADDRESS_HINT)
  }
  const keyHash = fromBase64url(fingerprint, 'router fingerprint')
  const router = { keyHash, ...parsePlace(place) }
  return password === undefined ? { router } : { router, basicAuth: checkBasicAuth(password) }
}

const ADDRESS_HINT = 'smp://fingerprint[:password]@host1,host2[:port]'

/** `host1,host2[:port]`. */
const parsePlace = (place: string): { hosts: string[]; port: string } => {
  const hosts: string[] = []
  let rest = place
  for (;;) {
    const [host, length] = takeHost(rest)
    hosts.push(host)
    rest = rest.slice(length)
    if (!rest.startsWith(',')) break
    rest = rest.slice(1)
  }
  if (hosts.length > MAX_HOSTS) throw invalid('router hosts', `a router address names at most ${MAX_HOSTS} hosts`)
  if (rest === '') return { hosts, port: '' }
  if (!rest.startsWith(':')) throw invalid('router host', 'unexpected text after the host')
  return { hosts, port: String(checkPort(rest.slice(1))) }
}

// The binary form counts hosts in one byte.
const MAX_HOSTS = 255

/**
 * Reads a comma separated list of hosts, as in the `srv` and `h` parameters of links; '' is no host.
 * @throws DecodeError `DECODE_INVALID`
 */
export const parseHosts = (text: string): string[] => (text === '' ? [] : text.split(',').map(parseHost))

/**
 * One host in its canonical spelling.
 * @throws DecodeError `DECODE_INVALID` if the text is not wholly a host
 */
export const parseHost = (text: string): string => {
  const [host, length] = takeHost(text)
  if (length !== text.length) throw invalid('router host', 'unexpected text after the host')
  return host
}

/** The host at the start of `text` and how many characters it takes; the order of the forms is the reference's. */
const takeHost = (text: string): [host: string, length: number] => {
  const ipv4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)/.exec(text)
  if (ipv4) return [canonicalIPv4(ipv4.slice(1)), ipv4[0].length]
  const ipv6 = /^(?:\[([^\]]+)\]|([0-9a-fA-F:]*:\d+\.\d+\.\d+\.\d+|[0-9a-fA-F:]+))/.exec(text)
  const ipv6Text = ipv6?.[1] ?? ipv6?.[2]
  if (ipv6 && ipv6Text !== undefined && isIPv6(ipv6Text) && !ipv6Text.includes('%'))
    return [canonicalIPv6(ipv6Text), ipv6[0].length]
  if (text.startsWith('[')) throw invalid('router host', 'no IPv6 address stands in the brackets')
  const onion = /^[a-z0-9]+\.onion/.exec(text)
  if (onion) return [checkHostLength(onion[0]), onion[0].length]
  // `@` may be part of a name: only the separators of the address end it.
  const name = /^[!-"$-+\--.0-9<-~]+/.exec(text)?.[0]
  if (name === undefined) throw invalid('router host', 'a host is missing or has characters that are not allowed')
  if (name.endsWith('.onion'))
    throw invalid('router host', 'an onion host is lower-case letters and digits before .onion')
  return [checkHostLength(name), name.length]
}

const canonicalIPv4 = (parts: readonly string[]): string => {
  const numbers = parts.map(Number)
  if (numbers.some(n => n > 255)) throw invalid('router host', 'an IPv4 address is four numbers up to 255')
  return numbers.join('.')
}

const canonicalIPv6 = (text: string): string => {
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical)
  if (!mapped) return canonical
  const [high, low] = [Number.parseInt(mapped[1] ?? '0', 16), Number.parseInt(mapped[2] ?? '0', 16)]
  return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

// The binary form has one byte for the length of a host.
const checkHostLength = (host: string): string => {
  if (host.length > 255) throw invalid('router host', 'a host is at most 255 characters long')
  return host
}

const checkPort = (text: string): number => {
  const port = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw invalid('router port', 'a port is a number from 1 to 65535')
  return port
}

/**
 * The password if it can be written in an address.
 * @throws DecodeError `DECODE_INVALID` for spaces, `@`, `:`, `/` and everything that is not printable ASCII
 */
export const checkBasicAuth = (password: string): string => {
  if (!/^[!-.0-9;-?A-~]*$/.test(password) || password.length > 255) {
    throw invalid(
      'router password',
      'a password is up to 255 printable ASCII characters without space, "@", ":" and "/"',
    )
  }
  return password
}

/** Binary form: hosts, port, fingerprint. */
export const encodeRouterAddress = (router: RouterAddress): Bytes =>
  concat(
    list(router.hosts, host => short(ascii(host))),
    short(ascii(router.port)),
    short(router.keyHash),
  )

/** Binary form with the first host only, for SMP clients of version 1. */
export const encodeLegacyRouterAddress = (router: RouterAddress): Bytes =>
  concat(short(ascii(router.hosts[0] ?? '')), short(ascii(router.port)), short(router.keyHash))

/** Reads the binary form. */
export const readRouterAddress = (reader: Reader): RouterAddress => {
  const hosts = reader.nonEmptyList(() => readHost(reader))
  return { hosts, port: readPort(reader), keyHash: reader.short('router fingerprint') }
}

/** Reads the binary form with a single host. */
export const readLegacyRouterAddress = (reader: Reader): RouterAddress => {
  const host = readHost(reader)
  return { hosts: [host], port: readPort(reader), keyHash: reader.short('router fingerprint') }
}

const readHost = (reader: Reader): string => parseHost(latin1(reader.short('router host')))

const readPort = (reader: Reader): string => {
  const text = latin1(reader.short('router port'))
  if (text !== '') checkPort(text)
  return text
}

/** Binary form of a password. */
export const encodeBasicAuth = (password: string): Bytes => short(ascii(password))

/** Reads the binary form of a password. */
export const readBasicAuth = (reader: Reader): string => checkBasicAuth(latin1(reader.short('router password')))

const latin1 = (bytes: Bytes): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

const invalid = (field: string, message: string, hint?: string): DecodeError =>
  new DecodeError('DECODE_INVALID', message, hint === undefined ? { field } : { field, hint })
