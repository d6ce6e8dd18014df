import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The router of the reference's handshake vectors: its chain, key and identity. */
export interface VectorRouter {
  readonly certificates: readonly Uint8Array[]
  readonly keyHash: Uint8Array
  /** A time within the dates of the chain, milliseconds since 1970. */
  readonly validAt: number
}

export const readVectors = (): VectorRouter => {
  const directory = process.env['VECTORS_DIR'] ?? join(import.meta.dirname, '../vectors')
  const vectors = JSON.parse(readFileSync(join(directory, 'smp_handshake.json'), 'utf8')) as {
    caFingerprint: string
    certChainDer: string[]
  }
  const certificates = vectors.certChainDer.map(hex => Buffer.from(hex, 'hex'))
  return {
    certificates,
    keyHash: Buffer.from(vectors.caFingerprint, 'hex'),
    validAt: Date.parse(new X509Certificate(certificates[0] as Buffer).validFrom) + 1_000,
  }
}
