/** The X3DH parameters of links: the keys of `E2eParams` with the range of versions that their owner supports. */
import { decodePublicKey, encodePublicKey } from '../../crypto/keys.js'
import {
  type Bytes,
  concat,
  encodeVersionRange,
  formatVersionRange,
  fromBase64url,
  maybe,
  parseVersionRange,
  type Reader,
  readVersionRange,
  short,
  toBase64url,
  type VersionRange,
} from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import { type E2eParams, encodeKemParams, KEM_E2E_VERSION, type KemParams, readKemParams } from '../../ratchet/index.js'
import { formatPlainQuery, Query } from './query.js'

/** The initiator's half of X3DH as it stands in an invitation. Keys are raw X448. */
export interface E2eRatchetParams {
  readonly versionRange: VersionRange
  readonly key1: Bytes
  readonly key2: Bytes
  readonly kem?: KemParams
}

/** The parameters at one version, as the joiner uses them. */
export const e2eParamsAt = ({ key1, key2, kem }: E2eRatchetParams, version: number): E2eParams => ({
  version,
  key1,
  key2,
  ...(kem === undefined ? {} : { kem }),
})

/** The parameters for a link: `versionRange` is what the owner of the keys supports. */
export const e2eParamsForLink = ({ key1, key2, kem }: E2eParams, versionRange: VersionRange): E2eRatchetParams => ({
  versionRange,
  key1,
  key2,
  ...(kem === undefined ? {} : { kem }),
})

/** Binary form: unlike in messages, the KEM field is there in every version. */
export const encodeE2eRatchetParams = ({ versionRange, key1, key2, kem }: E2eRatchetParams): Bytes =>
  concat(
    encodeVersionRange(versionRange),
    short(encodePublicKey('x448', key1)),
    short(encodePublicKey('x448', key2)),
    maybe(kem, encodeKemParams),
  )

/** Reads the binary form. */
export const readE2eRatchetParams = (reader: Reader): E2eRatchetParams => {
  const versionRange = readVersionRange(reader, 'e2e.versionRange')
  const key1 = x448Key(reader.short('e2e.key1'), 'e2e.key1')
  const key2 = x448Key(reader.short('e2e.key2'), 'e2e.key2')
  const kem = reader.maybe(readKemParams, 'e2e.kem')
  return { versionRange, key1, key2, ...(kem === undefined ? {} : { kem }) }
}

/** Text form, such as `v=2-3&x3dh=key1,key2&kem_key=…`. KEM keys are left out for versions that do not know them. */
export const formatE2eRatchetParams = ({ versionRange, key1, key2, kem }: E2eRatchetParams): string => {
  const keys = [key1, key2].map(key => toBase64url(encodePublicKey('x448', key))).join(',')
  const kemParameters = kem === undefined || versionRange.max < KEM_E2E_VERSION ? [] : kemQuery(kem)
  return formatPlainQuery([['v', formatVersionRange(versionRange)], ['x3dh', keys], ...kemParameters])
}

const kemQuery = (kem: KemParams): [string, string][] => {
  const key: [string, string] = ['kem_key', toBase64url(kem.publicKey)]
  return kem.kind === 'proposed' ? [key] : [['kem_ct', toBase64url(kem.ciphertext)], key]
}

/**
 * Reads the text form.
 * @throws DecodeError
 */
export const parseE2eRatchetParams = (text: string): E2eRatchetParams => {
  const query = new Query(text)
  const versionRange = parseVersionRange(query.require('v'), 'e2e.versionRange')
  const [key1, key2, ...more] = query.require('x3dh').split(',')
  if (key1 === undefined || key2 === undefined || more.length > 0) {
    throw new DecodeError('DECODE_INVALID', 'e2e parameters have two X3DH keys', { field: 'x3dh' })
  }
  const kem = versionRange.max < KEM_E2E_VERSION ? undefined : parseKem(query.get('kem_key'), query.get('kem_ct'))
  return {
    versionRange,
    key1: x448Key(fromBase64url(key1, 'x3dh'), 'x3dh'),
    key2: x448Key(fromBase64url(key2, 'x3dh'), 'x3dh'),
    ...(kem === undefined ? {} : { kem }),
  }
}

const parseKem = (key: string | undefined, ciphertext: string | undefined): KemParams | undefined => {
  if (key === undefined) return undefined
  const publicKey = kemBytes(key, 'kem_key')
  if (ciphertext === undefined) return { kind: 'proposed', publicKey }
  return { kind: 'accepted', ciphertext: kemBytes(ciphertext, 'kem_ct'), publicKey }
}

const kemBytes = (text: string, field: string): Bytes => {
  const bytes = fromBase64url(text, field)
  // The binary form has two bytes for the length.
  if (bytes.length === 0 || bytes.length > 0xffff) {
    throw new DecodeError('DECODE_INVALID', 'a KEM value has an impossible size', { field })
  }
  return bytes
}

const x448Key = (der: Bytes, field: string): Bytes => decodePublicKey(der, ['x448'], field).raw
