import { describe, expect, it } from 'vitest'
import {
  decodeE2ePrivateKeys,
  encodeE2eParams,
  encodeE2ePrivateKeys,
  e2eParamsOf,
  generateKemE2eParams,
  initRcvRatchet,
  initSndRatchet,
  type KemAgreement,
  replyKem,
  x3dhInitiator,
  x3dhJoiner,
} from '../../src/ratchet/index.js'
import { type Vector, loadVectors, toHex } from './load.js'
import {
  agreementOf,
  keyPairOf,
  paramsOf,
  privateKeysOf,
  readable,
  recordedKem,
  replay,
  stateOf,
} from './ratchetTranscript.js'

const names = [
  'ratchet_v2',
  'ratchet_v3_nopq',
  'ratchet_v2_upgrade_v3',
  'ratchet_v3_pq_enable_disable',
  'ratchet_v3_pq_rejected',
  'ratchet_v3_pq_proposed_in_reply',
  'ratchet_v3_pq_accepted',
]
const transcripts = Object.fromEntries(names.map(name => [name, loadVectors(name)]))
const transcript = (name: string): Vector => transcripts[name] as Vector
const secretsOf = ({ assocData, ratchetKey, sndHK, rcvNextHK, kemKeyPair, kemAccepted }: Vector) => ({
  associatedData: assocData,
  rootKey: ratchetKey,
  joinerHeaderKey: sndHK,
  initiatorHeaderKey: rcvNextHK,
  ...(kemKeyPair === null ? {} : { kem: readable(agreementOf({ ...kemKeyPair, accepted: kemAccepted })) }),
})

describe.each(names)('%s: X3DH', name => {
  const { alice, bob, e2eVersion } = transcript(name)
  const [offer, reply] = [paramsOf(alice), paramsOf(bob)]
  const [initiator, joiner] = [privateKeysOf(alice), privateKeysOf(bob)]

  it('parameters both ways', () => {
    for (const party of [alice, bob]) {
      const params = paramsOf(party)
      expect(toHex(encodeE2eParams(params))).toBe(party.e2eParams)
      expect(readable(e2eParamsOf(params.version, privateKeysOf(party)))).toEqual(readable(params))
    }
  })

  it('private keys are stored both ways', () => {
    for (const keys of [initiator, joiner]) expect(decodeE2ePrivateKeys(encodeE2ePrivateKeys(keys))).toEqual(keys)
  })

  it('the reply does with the KEM what a joiner that supports it does, or not', async () => {
    const use = replyKem(offer.version, offer.kem, bob.initialState.supportKEM)
    const kinds = { proposed: 'propose', accepted: 'accept' } as const
    expect(use?.kind).toBe(reply.kem && kinds[reply.kem.kind])
    const kem = recordedKem((joiner.kem ?? {}) as Partial<KemAgreement>)
    const recorded = [joiner.key1, joiner.key2]
    const generate = () => recorded.shift() as (typeof joiner)['key1']
    const generated = await generateKemE2eParams(offer.version, use, { kem, generate })
    expect(readable(generated)).toEqual(readable({ privateKeys: joiner, params: reply }))
  })

  it('both sides agree on the recorded secrets', async () => {
    expect(readable(x3dhJoiner(joiner, offer))).toEqual(secretsOf(bob.x3dhOut))
    const agreed = x3dhInitiator(initiator, reply, recordedKem({}))
    expect(agreed instanceof Promise, 'a KEM operation').toBe(reply.kem?.kind === 'accepted')
    expect(readable(await agreed)).toEqual(secretsOf(alice.x3dhOut))
  })

  it('both first states', async () => {
    const versions = { current: e2eVersion.current, maxSupported: e2eVersion.maxSupported }
    const snd = initSndRatchet(versions, offer.key2, keyPairOf(bob.ratchetDhPriv), x3dhJoiner(joiner, offer))
    expect(readable(snd)).toEqual(readable(stateOf(bob.initialState)))
    const secrets = await x3dhInitiator(initiator, reply, recordedKem({}))
    const rcv = initRcvRatchet(versions, initiator.key2, secrets, alice.initialState.supportKEM)
    expect(readable(rcv)).toEqual(readable(stateOf(alice.initialState)))
  })

  it('a reply that accepts a KEM that we did not offer, or cannot open, is refused', () => {
    const { kem: _, ...without } = initiator
    const accepted = {
      ...reply,
      kem: { kind: 'accepted', ciphertext: Buffer.alloc(1039), publicKey: Buffer.alloc(1158) },
    }
    if (reply.version < 3) return void expect(() => x3dhInitiator(without, accepted as typeof reply)).not.toThrow()
    for (const own of [without, initiator]) {
      expect(() => x3dhInitiator(own, accepted as typeof reply)).toThrow(
        expect.objectContaining({ code: 'CRYPTO_KEM' }),
      )
    }
  })
})

describe('transcripts: every byte and every state', () => {
  it.each(names)('%s', async name => {
    const awaited = await replay(transcript(name))
    expect(awaited > 0, 'KEM operations').toBe(name.startsWith('ratchet_v3_pq_') || name === 'ratchet_v2_upgrade_v3')
  })
})
