/** A session key signed by a certificate: a small X.509-style structure of key, algorithm and signature (T: hellos and PKEY). */
import { type KeyObject, verify as nodeVerify, X509Certificate } from 'node:crypto'
import { decodePublicKey, encodePublicKey, type KeyAlgorithm, type PublicKey } from '../../crypto/keys.js'
import { type SignAlgorithm, sign } from '../../crypto/sign.js'
import { asBuffer, type Bytes, concat, decodeAll, type Reader } from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'
import { transportErrorOf } from './transportErrors.js'

const SEQUENCE = 0x30
const BIT_STRING = 0x03
/** AlgorithmIdentifiers of the signatures in use. */
const ALGORITHMS: Readonly<Record<SignAlgorithm, Buffer>> = {
  ed25519: Buffer.from('300506032b6570', 'hex'),
  ed448: Buffer.from('300506032b6571', 'hex'),
}

/** A raw key signed with the raw private key of a leaf certificate, in DER. */
export const signKey = (
  algorithm: KeyAlgorithm,
  raw: Bytes,
  signer: { readonly algorithm: SignAlgorithm; readonly privateKey: Bytes },
): Bytes => {
  const signed = der(SEQUENCE, encodePublicKey(algorithm, raw))
  const signature = sign(signer.algorithm, signer.privateKey, signed)
  return der(SEQUENCE, concat(signed, ALGORITHMS[signer.algorithm], der(BIT_STRING, concat(NO_UNUSED_BITS, signature))))
}

/**
 * The key in `signedKey` when the certificate signed it. Throws `TRANSPORT_HANDSHAKE` (BAD_AUTH) when it did not, or when key,
 * signature or certificate cannot be read.
 * @param allowed what the key may be for: X25519 for a session, Ed25519 for a service
 */
export const verifySignedKey = (signedKey: Bytes, leafCertificate: Bytes, allowed: KeyAlgorithm): PublicKey => {
  try {
    const { signed, algorithm, signature } = decodeAll(signedKey, 'signedKey', readSigned)
    if (verifyWith(certificateKey(leafCertificate), algorithm, signed, signature)) {
      return decodePublicKey(decodeAll(signed, 'signedKey', readSequence), [allowed], 'signedKey')
    }
  } catch (cause) {
    throw transportErrorOf('HANDSHAKE BAD_AUTH', 'signedKey', cause)
  }
  throw transportErrorOf('HANDSHAKE BAD_AUTH', 'signedKey')
}

interface Signed {
  /** The outer TLV of the key: exactly what is signed. */
  readonly signed: Bytes
  readonly algorithm: SignAlgorithm
  readonly signature: Bytes
}

const readSigned = (reader: Reader): Signed =>
  decodeAll(readSequence(reader), 'signedKey', inner => {
    const signed = der(SEQUENCE, readSequence(inner))
    const algorithm = readAlgorithm(der(SEQUENCE, readSequence(inner)))
    const bits = readTlv(inner, BIT_STRING)
    if (bits[0] !== 0) return inner.fail('signature', 'is not whole bytes')
    return { signed, algorithm, signature: bits.subarray(1) }
  })

const readAlgorithm = (identifier: Bytes): SignAlgorithm => {
  if (ALGORITHMS.ed25519.equals(identifier)) return 'ed25519'
  if (ALGORITHMS.ed448.equals(identifier)) return 'ed448'
  throw new DecodeError('DECODE_INVALID', 'the signature algorithm is unknown', { field: 'signedKey' })
}

const certificateKey = (certificate: Bytes): KeyObject => new X509Certificate(asBuffer(certificate)).publicKey

const verifyWith = (key: KeyObject, algorithm: SignAlgorithm, message: Bytes, signature: Bytes): boolean =>
  key.asymmetricKeyType === algorithm && nodeVerify(null, message, key, signature)

const readSequence = (reader: Reader): Bytes => readTlv(reader, SEQUENCE)

/** The value of a DER element shorter than 64 KB; longer ones do not occur here. */
const readTlv = (reader: Reader, tag: number): Bytes => {
  if (reader.byte('derTag') !== tag) return reader.fail('derTag', 'is another one than expected')
  return reader.take(readLength(reader), 'derValue')
}

/** A DER length, which must have its shortest form. */
const readLength = (reader: Reader): number => {
  const first = reader.byte('derLength')
  if (first < 0x80) return first
  const length = first === 0x81 ? reader.byte('derLength') : first === 0x82 ? reader.word16('derLength') : 0
  const shortest = first === 0x81 ? 0x80 : 0x100
  return length < shortest ? reader.fail('derLength', 'has a wrong form') : length
}

const der = (tag: number, value: Bytes): Bytes => {
  if (value.length < 0x80) return concat(Buffer.of(tag, value.length), value)
  if (value.length < 0x100) return concat(Buffer.of(tag, 0x81, value.length), value)
  return concat(Buffer.of(tag, 0x82, value.length >> 8, value.length & 0xff), value)
}

const NO_UNUSED_BITS = Buffer.of(0)
