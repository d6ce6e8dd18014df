/**
 * The router's certificates: an offline certificate authority whose SHA-256 fingerprint is the router's identity, and a
 * server certificate signed by it. Ed448 for both, as the reference makes by default (SMP protocol, router certificates).
 */
import 'reflect-metadata'
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  webcrypto,
  X509Certificate as NodeCertificate,
} from 'node:crypto'
import { readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate,
  X509CertificateGenerator,
  SubjectKeyIdentifierExtension,
} from '@peculiar/x509'
import { encodePrivateKey, generateKeyPair, type Random, sha256, systemRandom } from '../crypto/index.js'
import { type Bytes, fromBase64url, toBase64url } from '../encoding/index.js'
import { ConfigError } from '../errors.js'
import type { RouterCredentials } from '../smp/transport/port.js'
import { writeNewFile } from './files.js'

/** The files of a router's identity, in its directory. `ca.key` is not needed to run: keep it offline. */
export const certificateFiles = {
  caKey: 'ca.key',
  caCertificate: 'ca.crt',
  key: 'server.key',
  certificate: 'server.crt',
  fingerprint: 'fingerprint',
} as const

/** A router's chain and key with the identity that clients check. */
export interface RouterIdentity {
  readonly credentials: RouterCredentials
  /** SHA-256 of the DER of the whole CA certificate. */
  readonly keyHash: Bytes
}

export interface CertificateOptions {
  /** The host name or address in the server certificate; clients do not check it. */
  readonly host: string
  /** Both certificates are valid from a day before this time (milliseconds since 1970). */
  readonly now: number
  /** Keys and serial numbers. */
  readonly random?: Random
}

/** A new CA and server certificate as PEM files' contents, and the fingerprint. */
export interface NewCertificates {
  readonly caKeyPem: string
  readonly caPem: string
  readonly keyPem: string
  readonly pem: string
  readonly keyHash: Bytes
}

const dayMs = 86_400_000
/** The certificates do not expire in practice: a router's identity is its address, which cannot be renewed. */
const validUntil = new Date(Date.UTC(9999, 11, 30))

/** Makes a certificate authority and a server certificate signed by it. */
export const generateCertificates = async ({
  host,
  now,
  random = systemRandom,
}: CertificateOptions): Promise<NewCertificates> => {
  const [ca, leaf] = [newKeys(random), newKeys(random)]
  const validity = { notBefore: new Date(now - dayMs), notAfter: validUntil }
  const caName = 'CN=SMP router CA, O=duologue'
  const caPublicKey = spki(ca.publicKey)
  const caCertificate = await X509CertificateGenerator.create(
    {
      ...validity,
      serialNumber: serialNumber(random),
      subject: caName,
      issuer: caName,
      publicKey: caPublicKey,
      signingKey: signingKey(ca.privateKey),
      extensions: [
        await SubjectKeyIdentifierExtension.create(caPublicKey, false, edCrypto),
        await AuthorityKeyIdentifierExtension.create(caPublicKey, false, edCrypto),
        new BasicConstraintsExtension(true, undefined, true),
      ],
    },
    edCrypto,
  )
  const certificate = await X509CertificateGenerator.create(
    {
      ...validity,
      serialNumber: serialNumber(random),
      subject: [{ CN: [host] }],
      issuer: caName,
      publicKey: spki(leaf.publicKey),
      signingKey: signingKey(ca.privateKey),
      extensions: [
        new BasicConstraintsExtension(false),
        new KeyUsagesExtension(
          KeyUsageFlags.digitalSignature | KeyUsageFlags.nonRepudiation | KeyUsageFlags.keyAgreement,
        ),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      ],
    },
    edCrypto,
  )
  return {
    caKeyPem: privatePem(ca.privateKey),
    caPem: pemOf(caCertificate),
    keyPem: privatePem(leaf.privateKey),
    pem: pemOf(certificate),
    keyHash: sha256(new Uint8Array(caCertificate.rawData)),
  }
}

/**
 * The part of WebCrypto that the certificate generator uses, over node:crypto: Node's own WebCrypto has Ed448 only as an
 * experiment and under another algorithm name than the generator knows.
 */
const edCrypto = {
  subtle: {
    digest: (algorithm: string, data: ArrayBuffer) => webcrypto.subtle.digest(algorithm, data),
    sign: async (_algorithm: unknown, key: { readonly key: KeyObject }, data: ArrayBuffer) =>
      new Uint8Array(sign(null, new Uint8Array(data), key.key)).buffer,
  },
} as unknown as webcrypto.Crypto

const signingKey = (key: KeyObject): webcrypto.CryptoKey =>
  ({ algorithm: { name: 'EdDSA', namedCurve: 'Ed448' }, key }) as unknown as webcrypto.CryptoKey

const spki = (key: KeyObject): Uint8Array<ArrayBuffer> => new Uint8Array(key.export({ type: 'spki', format: 'der' }))

const privatePem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

const pemOf = (certificate: X509Certificate): string => `${certificate.toString('pem').trim()}\n`

/** Positive and never zero, as RFC 5280 wants. */
const serialNumber = (random: Random): string => `4${Buffer.from(random(15)).toString('hex').slice(1)}`

const newKeys = (random: Random): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } => {
  const der = encodePrivateKey('ed448', generateKeyPair('ed448', random).privateKey)
  const privateKey = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
  return { publicKey: createPublicKey(privateKey), privateKey }
}

/** The identity of new certificates, for routers that live in memory only. */
export const identityOf = (made: NewCertificates): RouterIdentity =>
  readIdentity(made.pem, made.caPem, made.keyPem, 'certificate')

/**
 * Writes new certificates into the router's directory: keys readable by their owner only.
 *
 * @throws ConfigError CONFIG_EXISTS when the directory has an identity already: it is never overwritten.
 */
export const writeCertificates = async (dir: string, made: NewCertificates): Promise<void> => {
  await writeNewFile(join(dir, certificateFiles.caKey), made.caKeyPem, 0o600)
  await writeNewFile(join(dir, certificateFiles.key), made.keyPem, 0o600)
  await writeNewFile(join(dir, certificateFiles.certificate), made.pem, 0o644)
  await writeNewFile(join(dir, certificateFiles.caCertificate), made.caPem, 0o644)
  await writeNewFile(join(dir, certificateFiles.fingerprint), `${toBase64url(made.keyHash)}\n`, 0o644)
}

/** Whether the directory has a whole identity: the fingerprint is written last. */
export const hasIdentity = (dir: string): Promise<boolean> => exists(join(dir, certificateFiles.fingerprint))

/** Sets aside, as `….unfinished`, what a killed `init` has left: nobody knows the address of such an identity, but keys are never deleted. */
export const setAsideUnfinished = async (dir: string): Promise<void> => {
  for (const name of Object.values(certificateFiles)) {
    const path = join(dir, name)
    if (await exists(path)) await rename(path, `${path}.unfinished`)
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/**
 * Reads the identity from the router's directory and checks that its parts belong together.
 *
 * @throws ConfigError CONFIG_FILE (missing or unreadable), CONFIG_CERTIFICATE (a part does not fit the others).
 */
export const loadIdentity = async (dir: string): Promise<RouterIdentity> => {
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(dir, name), 'utf8')
    } catch (cause) {
      throw new ConfigError('CONFIG_FILE', `the router's ${name} cannot be read`, {
        field: name,
        hint: initHint,
        cause,
      })
    }
  }
  const identity = readIdentity(
    await read(certificateFiles.certificate),
    await read(certificateFiles.caCertificate),
    await read(certificateFiles.key),
    certificateFiles.certificate,
  )
  const written = fromBase64url((await read(certificateFiles.fingerprint)).trim(), certificateFiles.fingerprint)
  if (!identity.keyHash.every((byte, i) => byte === written[i])) {
    throw new ConfigError('CONFIG_CERTIFICATE', 'the CA certificate is not the one of the fingerprint', {
      field: certificateFiles.fingerprint,
      hint: 'restore ca.crt and fingerprint from the same backup',
    })
  }
  return identity
}

const initHint = 'create the directory with `duologue router init`'

const readIdentity = (pem: string, caPem: string, keyPem: string, field: string): RouterIdentity => {
  const [certificate, ca, key] = [parse(pem, field), parse(caPem, certificateFiles.caCertificate), parseKey(keyPem)]
  if (!certificate.checkPrivateKey(key)) {
    throw new ConfigError('CONFIG_CERTIFICATE', 'the server key is not the one of the server certificate', {
      field: certificateFiles.key,
    })
  }
  if (!certificate.verify(ca.publicKey)) {
    throw new ConfigError('CONFIG_CERTIFICATE', 'the server certificate is not signed by the CA', { field })
  }
  return {
    credentials: { certificates: [certificate.raw, ca.raw], privateKey: key.export({ type: 'pkcs8', format: 'der' }) },
    keyHash: sha256(ca.raw),
  }
}

const parse = (pem: string, field: string): NodeCertificate => {
  try {
    return new NodeCertificate(pem)
  } catch (cause) {
    throw new ConfigError('CONFIG_CERTIFICATE', 'not a PEM certificate', { field, cause })
  }
}

const parseKey = (pem: string): KeyObject => {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw new ConfigError('CONFIG_CERTIFICATE', 'not a PEM private key', { field: certificateFiles.key, cause })
  }
}
