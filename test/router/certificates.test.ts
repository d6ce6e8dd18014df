import { createHash, X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromBase64url } from '../../src/encoding/index.js'
import { generateCertificates, identityOf, loadIdentity, writeCertificates } from '../../src/router/certificates.js'

const now = Date.UTC(2026, 0, 1)

describe('router certificates', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'router-certificates-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  it('are an Ed448 CA and an Ed448 leaf signed by it', async () => {
    const { credentials, keyHash } = identityOf(await generateCertificates({ host: 'router.example', now }))
    const [leaf, ca] = credentials.certificates.map(der => new X509Certificate(der))
    expect(leaf?.publicKey.asymmetricKeyType).toBe('ed448')
    expect(ca?.publicKey.asymmetricKeyType).toBe('ed448')
    expect(ca?.ca).toBe(true)
    expect(leaf?.ca).toBe(false)
    expect(leaf?.subject).toBe('CN=router.example')
    expect(ca !== undefined && leaf?.verify(ca.publicKey) && leaf.checkIssued(ca)).toBe(true)
    expect(ca !== undefined && ca.verify(ca.publicKey)).toBe(true)
    expect(Buffer.from(keyHash)).toEqual(createHash('sha256').update(credentials.certificates[1]!).digest())
    expect(new Date(leaf!.validFrom).getTime()).toBeLessThan(now)
    expect(new Date(leaf!.validTo).getFullYear()).toBe(9999)
  })

  it('are written once, keys readable by the owner only, and read back', async () => {
    const made = await generateCertificates({ host: 'localhost', now })
    await writeCertificates(dir, made)
    for (const name of ['ca.key', 'server.key']) expect((await stat(join(dir, name))).mode & 0o777).toBe(0o600)
    const identity = await loadIdentity(dir)
    expect(Buffer.from(identity.keyHash)).toEqual(Buffer.from(made.keyHash))
    const fingerprint = (await readFile(join(dir, 'fingerprint'), 'utf8')).trim()
    expect(Buffer.from(fromBase64url(fingerprint, 'fingerprint'))).toEqual(Buffer.from(made.keyHash))
    await expect(writeCertificates(dir, made)).rejects.toMatchObject({ code: 'CONFIG_EXISTS' })
  })

  it('that do not belong together are refused with the file in question', async () => {
    const other = await generateCertificates({ host: 'localhost', now })
    const files: Array<[string, string]> = [
      ['server.key', other.keyPem],
      ['ca.crt', other.caPem],
      ['server.crt', other.pem],
      ['server.crt', 'no certificate'],
      ['server.key', 'no key'],
    ]
    for (const [name, contents] of files) {
      const path = join(dir, name)
      const before = await readFile(path)
      await writeFile(path, contents)
      await expect(loadIdentity(dir)).rejects.toMatchObject({ code: 'CONFIG_CERTIFICATE', field: expect.any(String) })
      await writeFile(path, before)
    }
    await rm(join(dir, 'server.crt'))
    await expect(loadIdentity(dir)).rejects.toMatchObject({ code: 'CONFIG_FILE', field: 'server.crt' })
  })
})
