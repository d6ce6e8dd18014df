import { createHash, X509Certificate } from 'node:crypto'
import type { Bytes } from '../../encoding/index.js'
import { transportError } from './port.js'

/**
 * Checks the chain that a router showed: 2–4 certificates, the second one (the CA, or the identity certificate below an
 * operator's) has the SHA-256 of the router's address, every certificate is in its dates and signed by the next one, and
 * those above the leaf may sign. Host names do not matter (docs: SMP protocol, router identity).
 *
 * @param now milliseconds since 1970, for the dates
 * @throws TransportError TRANSPORT_CERTIFICATE, or TRANSPORT_IDENTITY for a sound chain of another router
 */
export const verifyRouterChain = (chain: readonly Bytes[], keyHash: Bytes, now: number): void => {
  if (chain.length < 2 || chain.length > 4) {
    throw badChain('a router shows a chain of 2 to 4 certificates', { length: chain.length })
  }
  const certificates = chain.map(parse)
  certificates.forEach((certificate, i) => {
    checkDates(certificate, i, now)
    checkIssuer(certificate, i, certificates[i + 1])
  })
  checkLeafKey(certificates[0] as X509Certificate)
  if (!fingerprint(chain[1] as Bytes).equals(keyHash)) {
    throw transportError('TRANSPORT_IDENTITY', 'the router proves another identity than its address names', {
      field: 'router fingerprint',
      hint: 'the address is outdated or the connection is intercepted: ask for the address again',
    })
  }
}

/** A router's identity: SHA-256 of the DER of the whole certificate (not of its key). */
export const fingerprint = (certificate: Bytes): Buffer => createHash('sha256').update(certificate).digest()

const parse = (der: Bytes, i: number): X509Certificate => {
  try {
    return new X509Certificate(der)
  } catch (cause) {
    throw badChain('a certificate cannot be read', { certificate: i }, cause)
  }
}

const checkDates = (certificate: X509Certificate, i: number, now: number): void => {
  // Written so that a date that cannot be read fails too.
  if (!(Date.parse(certificate.validFrom) <= now)) throw badChain('a certificate is not valid yet', { certificate: i })
  if (!(now <= Date.parse(certificate.validTo))) throw badChain('a certificate has expired', { certificate: i })
}

const checkIssuer = (certificate: X509Certificate, i: number, above: X509Certificate | undefined): void => {
  // The last one is trusted by the key hash (of itself or of what it signed); its own signature proves nothing.
  if (above === undefined) return
  if (!above.ca) throw badChain('a certificate above the leaf is no authority', { certificate: i + 1 })
  if (!certificate.checkIssued(above) || !verifySignature(certificate, above)) {
    throw badChain('a certificate is not signed by the next one', { certificate: i })
  }
}

const verifySignature = (certificate: X509Certificate, issuer: X509Certificate): boolean => {
  try {
    return certificate.verify(issuer.publicKey)
  } catch {
    return false
  }
}

const checkLeafKey = (leaf: X509Certificate): void => {
  const type = leafKeyType(leaf)
  if (type !== 'ed25519' && type !== 'ed448') {
    throw badChain('the leaf certificate has no Ed25519 or Ed448 key', { key: type })
  }
}

const leafKeyType = (leaf: X509Certificate): string => {
  try {
    return leaf.publicKey.asymmetricKeyType ?? 'unknown'
  } catch {
    return 'unreadable'
  }
}

const badChain = (message: string, facts: Record<string, string | number>, cause?: unknown) =>
  transportError('TRANSPORT_CERTIFICATE', message, { field: 'router certificate', facts, cause })
