import 'reflect-metadata'
import { createHash, generateKeyPairSync, type KeyObject, sign, type webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { RouterCredentials } from '../../src/smp/transport/port.js'

export interface ChainOptions {
  algorithm?: 'ed25519' | 'ed448'
  /** 1 is a lone self-signed certificate; 2 leaf and CA; 3 and 4 have an operator (and a network) certificate above. */
  length?: number
  notBefore?: Date
  notAfter?: Date
  /** The leaf only: a chain whose CA is valid and whose leaf is not. */
  leafNotAfter?: Date
  /** Signs the leaf with a key that is not the CA's. */
  forgedLeaf?: boolean
  /** Makes the identity certificate without the right to sign others: by its basic constraints, or by its key usage. */
  caIsNoAuthority?: 'constraints' | 'usage'
  /** The leaf is signed by the identity's key, but names another issuer. */
  wrongIssuerName?: boolean
}

export interface TestChain extends RouterCredentials {
  /** SHA-256 of the second certificate. */
  readonly keyHash: Uint8Array
}

const start = new Date('2025-01-01T00:00:00Z')
const end = new Date('2045-01-01T00:00:00Z')

/**
 * Makes a router's certificate chain. Keys are node:crypto's: @peculiar/x509 knows Ed448 only as `EdDSA`, WebCrypto only as
 * `Ed448`, so the certificate is built with a dummy signature, its to-be-signed part signed here and built again.
 */
export const makeChain = async (options: ChainOptions = {}): Promise<TestChain> => {
  const { algorithm = 'ed25519', length = 2, notBefore = start, notAfter = end } = options
  const names = ['CN=localhost', 'CN=SMP server CA', 'CN=operator', 'CN=network', 'CN=above', 'CN=further above']
  const keys = Array.from({ length }, () => makeKeys(algorithm))
  const certificates = await Promise.all(
    keys.map((own, i) => {
      const signer = options.forgedLeaf && i === 0 ? makeKeys(algorithm) : (keys[i + 1] ?? own)
      return makeCertificate({
        algorithm,
        serialNumber: `0${i + 1}`,
        subject: names[i] as string,
        issuer: options.wrongIssuerName && i === 0 ? 'CN=somebody' : (names[Math.min(i + 1, length - 1)] as string),
        publicKey: own.publicKey,
        signingKey: signer.privateKey,
        notBefore,
        notAfter: i === 0 ? (options.leafNotAfter ?? notAfter) : notAfter,
        authority: i > 0 && !(i === 1 && options.caIsNoAuthority === 'constraints'),
        maySign: i > 0 && !(i === 1 && options.caIsNoAuthority === 'usage'),
      })
    }),
  )
  const identity = certificates[Math.min(1, length - 1)] as Uint8Array
  const leafKey = keys[0]?.privateKey as KeyObject
  return {
    certificates,
    privateKey: leafKey.export({ type: 'pkcs8', format: 'der' }),
    keyHash: createHash('sha256').update(identity).digest(),
  }
}

let shared: Promise<TestChain> | undefined
/** One Ed25519 chain for the tests that do not care. */
export const anyChain = (): Promise<TestChain> => (shared ??= makeChain())

const makeKeys = (algorithm: 'ed25519' | 'ed448'): { publicKey: KeyObject; privateKey: KeyObject } =>
  algorithm === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ed448')

interface CertificateParts {
  algorithm: 'ed25519' | 'ed448'
  serialNumber: string
  subject: string
  issuer: string
  publicKey: KeyObject
  signingKey: KeyObject
  notBefore: Date
  notAfter: Date
  authority: boolean
  maySign: boolean
}

const makeCertificate = async (parts: CertificateParts): Promise<Uint8Array> => {
  const build = (signature: Uint8Array): Promise<x509.X509Certificate> =>
    x509.X509CertificateGenerator.create({
      serialNumber: parts.serialNumber,
      subject: parts.subject,
      issuer: parts.issuer,
      notBefore: parts.notBefore,
      notAfter: parts.notAfter,
      publicKey: toArrayBuffer(parts.publicKey.export({ type: 'spki', format: 'der' })),
      signingAlgorithm: {
        name: 'EdDSA',
        namedCurve: parts.algorithm === 'ed25519' ? 'Ed25519' : 'Ed448',
      } as webcrypto.Algorithm,
      signature: toArrayBuffer(signature),
      extensions: [
        new x509.BasicConstraintsExtension(parts.authority, undefined, true),
        new x509.KeyUsagesExtension(
          parts.maySign ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature,
          true,
        ),
      ],
    })
  const unsigned = await build(new Uint8Array(64))
  const signature = sign(null, toBeSigned(new Uint8Array(unsigned.rawData)), parts.signingKey)
  return new Uint8Array((await build(signature)).rawData)
}

/** The first element of a certificate: SEQUENCE { tbsCertificate, algorithm, signature }. */
const toBeSigned = (der: Uint8Array): Uint8Array => {
  const inner = header(der, 0).headerLength
  const { headerLength, length } = header(der, inner)
  return der.subarray(inner, inner + headerLength + length)
}

const header = (der: Uint8Array, at: number): { headerLength: number; length: number } => {
  const first = der[at + 1] as number
  if (first < 0x80) return { headerLength: 2, length: first }
  let length = 0
  for (let i = 0; i < (first & 0x7f); i++) length = length * 256 + (der[at + 2 + i] as number)
  return { headerLength: 2 + (first & 0x7f), length }
}

const toArrayBuffer = (bytes: Uint8Array): ArrayBuffer => Uint8Array.from(bytes).buffer
