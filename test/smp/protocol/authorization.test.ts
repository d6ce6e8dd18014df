import { afterEach, describe, expect, it, vi } from 'vitest'
import * as box from '../../../src/crypto/box.js'
import { generateKeyPair } from '../../../src/crypto/keys.js'
import * as sign from '../../../src/crypto/sign.js'
import {
  type AuthorizationAlgorithm,
  authorizationAlgorithm,
  authorize,
  verifyAuthorization,
  withServiceCertificate,
} from '../../../src/smp/protocol/authorization.js'
import { codeOf } from '../../encoding/fuzz.js'

vi.mock('../../../src/crypto/box.js', { spy: true })
vi.mock('../../../src/crypto/sign.js', { spy: true })
afterEach(() => {
  vi.clearAllMocks()
})

const ALGORITHMS: readonly AuthorizationAlgorithm[] = ['ed25519', 'ed448', 'x25519']
const router = generateKeyPair('x25519')
const corrId = Buffer.alloc(24, 5)
const authorized = Buffer.from('what is authorized')
const clientSession = { corrId, routerKey: router.publicKey }
const routerSession = { corrId, routerPrivateKey: router.privateKey }
const keys = Object.fromEntries(ALGORITHMS.map(algorithm => [algorithm, generateKeyPair(algorithm)])) as Record<
  AuthorizationAlgorithm,
  ReturnType<typeof generateKeyPair>
>

describe.each(ALGORITHMS)('%s', algorithm => {
  const authorization = authorize(algorithm, keys[algorithm].privateKey, authorized, clientSession)
  const publicKey = { algorithm, raw: keys[algorithm].publicKey }

  it('authorizes, and its size tells what it is', () => {
    expect(authorizationAlgorithm(authorization)).toBe(algorithm)
    expect(verifyAuthorization(publicKey, authorization, authorized, routerSession)).toBe(true)
  })

  it('other bytes, another key or a changed authorization are not accepted', () => {
    const otherKey = { algorithm, raw: generateKeyPair(algorithm).publicKey }
    const changed = Buffer.from(authorization)
    changed[3] = (changed[3] ?? 0) ^ 1
    expect(verifyAuthorization(publicKey, authorization, Buffer.from('other'), routerSession)).toBe(false)
    expect(verifyAuthorization(otherKey, authorization, authorized, routerSession)).toBe(false)
    expect(verifyAuthorization(publicKey, changed, authorized, routerSession)).toBe(false)
  })

  it('for an unknown queue, or a key of another algorithm, the same verification runs and fails', () => {
    const verifications = () => [vi.mocked(sign.verify).mock.calls.length, vi.mocked(box.cbVerify).mock.calls.length]
    verifyAuthorization(publicKey, authorization, authorized, routerSession)
    const expected = verifications()
    expect(expected).toEqual(algorithm === 'x25519' ? [0, 1] : [1, 0])
    const others = ALGORITHMS.filter(other => other !== algorithm).map(other => ({
      algorithm: other,
      raw: keys[other].publicKey,
    }))
    for (const key of [undefined, ...others]) {
      vi.clearAllMocks()
      expect(verifyAuthorization(key, authorization, authorized, routerSession)).toBe(false)
      expect(verifications()).toEqual(expected)
    }
  })
})

it('an authenticator holds for one correlation id and router key', () => {
  const authorization = authorize('x25519', keys.x25519.privateKey, authorized, clientSession)
  const publicKey = { algorithm: 'x25519', raw: keys.x25519.publicKey } as const
  const otherId = { ...routerSession, corrId: Buffer.alloc(24) }
  const otherRouter = { ...routerSession, routerPrivateKey: generateKeyPair('x25519').privateKey }
  expect(verifyAuthorization(publicKey, authorization, authorized, otherId)).toBe(false)
  expect(verifyAuthorization(publicKey, authorization, authorized, otherRouter)).toBe(false)
})

it('an authenticator needs the key of the router: TRANSPORT_NO_AUTH', () => {
  expect(codeOf(() => authorize('x25519', keys.x25519.privateKey, authorized, { corrId }))).toBe('TRANSPORT_NO_AUTH')
})

it.each([0, 1, 63, 65, 79, 81, 113, 115, 255])('%i bytes are no authorization', length => {
  expect(authorizationAlgorithm(Buffer.alloc(length))).toBeUndefined()
  const publicKey = { algorithm: 'ed25519', raw: keys.ed25519.publicKey } as const
  expect(verifyAuthorization(publicKey, Buffer.alloc(length), authorized, routerSession)).toBe(false)
})

it('a queue key that authorizes for one service does not for another', () => {
  const owned = withServiceCertificate(Buffer.alloc(32, 1), authorized)
  const authorization = authorize('ed25519', keys.ed25519.privateKey, owned, clientSession)
  const publicKey = { algorithm: 'ed25519', raw: keys.ed25519.publicKey } as const
  expect(verifyAuthorization(publicKey, authorization, owned, routerSession)).toBe(true)
  const other = withServiceCertificate(Buffer.alloc(32, 2), authorized)
  expect(verifyAuthorization(publicKey, authorization, other, routerSession)).toBe(false)
  expect(verifyAuthorization(publicKey, authorization, authorized, routerSession)).toBe(false)
})
