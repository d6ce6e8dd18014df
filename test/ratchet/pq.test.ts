import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inlineKem, type Kem } from '../../src/crypto/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import { KemError } from '../../src/errors.js'
import {
  decrypt,
  encodeRatchetState,
  generateE2eParams,
  generateKemE2eParams,
  type KemAgreement,
  type RatchetState,
  replyKem,
  x3dhInitiator,
  x3dhJoiner,
} from '../../src/ratchet/index.js'
import { toHex } from '../vectors/load.js'
import { flip, newPqPair, receivePq, send, type Side } from './pair.js'
import { toyKem } from './toyKem.js'

const TEXT = Buffer.from('text')
const failed = (code: string) => expect.objectContaining({ code })
const NO_KEM = { support: false, enabled: false, sending: false, receiving: false }

/** Messages by turns, the joiner first: whether each was encrypted post-quantum, as its sender and its recipient say. */
const pingPong = async (kem: Kem, pair: { joiner: Side; initiator: Side }, wishes: (boolean | undefined)[]) => {
  const told: boolean[] = []
  let [from, to] = [pair.joiner, pair.initiator]
  for (const wish of wishes) {
    const sent = send(from, TEXT, 64, wish === undefined ? {} : { enableKem: wish })
    const received = await receivePq(to, sent.message, kem)
    expect(received.result).toEqual({ ok: true, plaintext: TEXT })
    expect(received.pqEncrypted).toBe(sent.pqEncrypted)
    told.push(sent.pqEncrypted)
    ;[from, to] = [received.side, sent.side]
  }
  return { told, states: [from.state, to.state] }
}
const asBefore = (count: number): undefined[] => Array.from({ length: count })

describe('two sides that support the KEM or not', () => {
  it.each([
    { offered: true, initiator: true, joiner: true, told: [true, true, true, true, true, true] },
    { offered: false, initiator: true, joiner: true, told: [false, true, true, true, true, true] },
    { offered: true, initiator: true, joiner: false, told: [false, false, false, false, false, false] },
    { offered: false, initiator: true, joiner: false, told: [false, false, false, false, false, false] },
    { offered: false, initiator: false, joiner: true, told: [false, false, false, false, false, false] },
    { offered: false, initiator: false, joiner: false, told: [false, false, false, false, false, false] },
  ])('B19 offered: $offered, initiator: $initiator, joiner: $joiner', async ({ told, ...support }) => {
    const conversation = await pingPong(toyKem, await newPqPair(toyKem, support), asBefore(6))
    expect(conversation.told).toEqual(told)
    const used = support.initiator && support.joiner
    for (const { kem } of conversation.states) {
      expect(kem).toMatchObject({ enabled: used, sending: used, receiving: used })
      expect(kem.agreement === undefined).toBe(!used)
    }
  })

  it('with the real KEM', async () => {
    const kem = inlineKem()
    expect((await pingPong(kem, await newPqPair(kem), asBefore(4))).told).toEqual([true, true, true, true])
  })

  it('a wish in the middle is followed by the peer, and the wish against it too', async () => {
    const pair = await newPqPair(toyKem, { offered: false, initiator: false, joiner: false })
    const wishes = [undefined, true, true, true, true, true, false, false, false, false]
    const { told, states } = await pingPong(toyKem, pair, wishes)
    expect(told).toEqual([false, false, false, false, true, true, true, true, false, false])
    for (const { kem } of states) expect(kem).toEqual({ ...NO_KEM, support: true })
  })

  it('every turn takes new keys and a new secret', async () => {
    const { joiner, initiator } = await newPqPair(toyKem)
    const seen = new Set<string>()
    let [from, to] = [joiner, initiator]
    for (let turn = 0; turn < 6; turn++) {
      const sent = send(from, TEXT)
      const { side } = await receivePq(to, sent.message, toyKem)
      const { own, accepted } = side.state.kem.agreement as Required<KemAgreement>
      for (const bytes of [own.publicKey, own.privateKey, accepted.sharedSecret, accepted.ciphertext]) {
        expect(seen).not.toContain(toHex(bytes))
        seen.add(toHex(bytes))
      }
      ;[from, to] = [side, sent.side]
    }
  })
})

describe('X3DH with a KEM', () => {
  it('the secret of the KEM is in all keys', async () => {
    const offer = await generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })
    const reply = await generateKemE2eParams(3, replyKem(3, offer.params.kem, true), { kem: toyKem })
    const without = { ...reply.params, kem: { kind: 'proposed', publicKey: Buffer.alloc(1158) } } as const
    const agreed = await x3dhInitiator(offer.privateKeys, reply.params, toyKem)
    const plain = x3dhInitiator(offer.privateKeys, without)
    expect(agreed).toEqual({ ...x3dhJoiner(reply.privateKeys, offer.params), kem: agreed.kem })
    for (const key of ['rootKey', 'joinerHeaderKey', 'initiatorHeaderKey'] as const) {
      expect(toHex(agreed[key])).not.toBe(toHex(plain[key]))
    }
  })

  it('version 2 has no KEM, whatever is asked for', async () => {
    expect(replyKem(2, { kind: 'proposed', publicKey: Buffer.alloc(1158) }, true)).toBeUndefined()
    const { privateKeys, params } = await generateKemE2eParams(2, { kind: 'propose' }, { kem: toyKem })
    expect([privateKeys.kem, params.kem]).toEqual([undefined, undefined])
    const proposing = await generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })
    expect(x3dhJoiner(proposing.privateKeys, params).kem).toBeUndefined()
  })

  it('both sides may propose, as in a synchronisation: the turns after it agree', async () => {
    const [one, other] = await Promise.all(
      [1, 2].map(() => generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })),
    )
    const sending = x3dhJoiner(one?.privateKeys as never, other?.params as never)
    const receiving = x3dhInitiator(other?.privateKeys as never, one?.params as never)
    expect(sending.rootKey).toEqual(receiving.rootKey)
    expect(sending.kem).toEqual(one?.privateKeys.kem)
    expect(receiving.kem).toBeUndefined()
  })

  it('a reply accepts only the key that was offered', async () => {
    const [offer, another] = await Promise.all(
      [1, 2].map(() => generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })),
    )
    const reply = await generateKemE2eParams(3, replyKem(3, offer?.params.kem, true), { kem: toyKem })
    for (const params of [another?.params, generateE2eParams(3).params, reply.params]) {
      expect(() => x3dhJoiner(reply.privateKeys, params as never)).toThrow(failed('CRYPTO_KEM'))
    }
    expect(() => replyKem(3, reply.params.kem, true)).toThrow(failed('CRYPTO_KEM'))
  })

  it('keys and ciphertexts of a wrong size are refused', async () => {
    const accept = { kind: 'accept', peerKey: Buffer.alloc(1157) } as const
    await expect(generateKemE2eParams(3, accept, { kem: toyKem })).rejects.toEqual(failed('CRYPTO_KEM'))
    const offer = await generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })
    const kem = { kind: 'accepted', ciphertext: Buffer.alloc(1040), publicKey: Buffer.alloc(1158) } as const
    const reply = { ...generateE2eParams(3).params, kem }
    expect(() => x3dhInitiator(offer.privateKeys, reply, toyKem)).toThrow(failed('CRYPTO_KEM'))
  })
})

describe('a peer that breaks the rules of the KEM', () => {
  const withAgreement = (side: Side, agreement: KemAgreement): Side => ({
    ...side,
    state: { ...side.state, kem: { ...side.state.kem, agreement } },
  })

  it.each([
    ['a key of a wrong size', { own: { publicKey: Buffer.alloc(1157), privateKey: Buffer.alloc(0) } }],
    [
      'a ciphertext of a wrong size',
      {
        own: { publicKey: Buffer.alloc(1158), privateKey: Buffer.alloc(0) },
        accepted: { peerKey: Buffer.alloc(0), sharedSecret: Buffer.alloc(32), ciphertext: Buffer.alloc(1038) },
      },
    ],
  ])('%s is refused and changes nothing', async (_, agreement) => {
    const { joiner, initiator } = await newPqPair(toyKem)
    const { message } = send(withAgreement(joiner, agreement), TEXT)
    const { result, side } = await receivePq(initiator, message, toyKem)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_KEM' } })
    expect(side.state).toBe(initiator.state)
  })

  it('the answer to a key that was not proposed is refused and changes nothing', async () => {
    const { joiner, initiator } = await newPqPair(toyKem, { offered: false, initiator: false })
    const accepted = { peerKey: Buffer.alloc(1158), sharedSecret: Buffer.alloc(32), ciphertext: Buffer.alloc(1039) }
    const agreement = { own: (joiner.state.kem.agreement as KemAgreement).own, accepted }
    const { message } = send(withAgreement(joiner, agreement), TEXT)
    const { result, side } = await receivePq(initiator, message, toyKem)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_KEM' } })
    expect(side.state).toBe(initiator.state)
  })

  it('another secret than was agreed on opens nothing, and the chain moves on as after any bad body', async () => {
    const { joiner, initiator } = await newPqPair(toyKem)
    const { own, accepted } = joiner.state.kem.agreement as Required<KemAgreement>
    const lying = { own, accepted: { ...accepted, ciphertext: flip(accepted.ciphertext, 3) } }
    const { message } = send(withAgreement(joiner, lying), TEXT)
    const { result, side } = await receivePq(initiator, message, toyKem)
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_AES' } })
    expect(side.state.nr).toBe(1)
  })
})

describe('a KEM that cannot do its work now', () => {
  const down = async (): Promise<never> => {
    throw new KemError('KEM_UNAVAILABLE', 'the thread of the KEM ended or took too long')
  }
  it.each(['generateKeyPair', 'encapsulate', 'decapsulate'] as const)(
    'without %s nothing is decided, and the same message opens later',
    async operation => {
      const { joiner, initiator } = await newPqPair(toyKem)
      const before = toHex(encodeRatchetState({ ...initiator.state }))
      const { message } = send(joiner, TEXT)
      await expect(receivePq(initiator, message, { ...toyKem, [operation]: down })).rejects.toEqual(
        failed('KEM_UNAVAILABLE'),
      )
      expect(toHex(encodeRatchetState({ ...initiator.state }))).toBe(before)
      expect((await receivePq(initiator, message, toyKem)).result).toEqual({ ok: true, plaintext: TEXT })
    },
  )

  it('messages without a turn need none', async () => {
    const { joiner, initiator } = await newPqPair(toyKem)
    const first = send(joiner, TEXT)
    const { side } = await receivePq(initiator, first.message, toyKem)
    const broken = { generateKeyPair: down, encapsulate: down, decapsulate: down }
    const second = send(first.side, TEXT)
    expect(decrypt(side.state, [], second.message, { kem: broken })).toMatchObject({ result: { ok: true } })
  })

  it('X3DH and new keys fail with it', async () => {
    const offer = await generateKemE2eParams(3, { kind: 'propose' }, { kem: toyKem })
    const reply = await generateKemE2eParams(3, replyKem(3, offer.params.kem, true), { kem: toyKem })
    const kem = { ...toyKem, decapsulate: down, generateKeyPair: down }
    await expect(x3dhInitiator(offer.privateKeys, reply.params, kem)).rejects.toEqual(failed('KEM_UNAVAILABLE'))
    await expect(generateKemE2eParams(3, { kind: 'propose' }, { kem })).rejects.toEqual(failed('KEM_UNAVAILABLE'))
  })
})

type Name = 'joiner' | 'initiator'

interface Flying {
  readonly to: Name
  readonly bytes: Bytes
  readonly pqEncrypted: boolean
  /** The header key of its chain. */
  readonly chain: Bytes
  /**
   * Sent after a wish against the KEM, in a chain that has a secret of it: peers leave the ciphertext out of its header, so that only an
   * earlier message of the chain can open the chain. Nothing can be done with it when it comes first.
   */
  readonly opensNoChain: boolean
  consumed: boolean
}

const knowsChain = ({ state, skipped }: Side, chain: Bytes): boolean =>
  [state.rcv, ...skipped].some(known => known !== undefined && toHex(known.headerKey) === toHex(chain))

type Step =
  | { readonly kind: 'send'; readonly from: Name; readonly wish: boolean | undefined }
  | { readonly kind: 'deliver' | 'lose' | 'tamper'; readonly pick: number }

const steps = fc.array(
  fc.oneof<fc.MaybeWeightedArbitrary<Step>[]>(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        from: fc.constantFrom<Name>('joiner', 'initiator'),
        wish: fc.constantFrom(undefined, undefined, undefined, true, false),
      }),
    },
    { weight: 7, arbitrary: fc.record({ kind: fc.constant('deliver' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('lose' as const, 'tamper' as const), pick: fc.nat() }) },
  ),
  { minLength: 10, maxLength: 80 },
)
const support = fc.record({ offered: fc.boolean(), initiator: fc.boolean(), joiner: fc.boolean() })

describe('a conversation in which the KEM comes and goes', () => {
  it('gives every message once, and both sides say the same of it', async () => {
    await fc.assert(
      fc.asyncProperty(support, steps, async (supports, actions) => {
        const sides: Record<Name, Side> = await newPqPair(toyKem, supports)
        let flying: Flying[] = []
        const deliver = async (message: Flying, tamper: boolean): Promise<void> => {
          const before = sides[message.to]
          if (message.opensNoChain && !knowsChain(before, message.chain)) return
          const bytes = tamper ? flip(message.bytes, -1) : message.bytes
          const { side, result, pqEncrypted } = await receivePq(before, bytes, toyKem)
          sides[message.to] = side
          if (message.consumed) {
            expect(result).toMatchObject({ ok: false })
            return
          }
          message.consumed = true
          if (tamper) expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_AES' } })
          else expect(result).toEqual({ ok: true, plaintext: TEXT })
          if (isOfChain(before.state, side.state)) expect(pqEncrypted).toBe(message.pqEncrypted)
        }
        for (const action of actions) {
          if (action.kind === 'send') {
            const side = sides[action.from]
            if (side.state.snd === undefined) continue
            const sent = send(side, TEXT, 64, action.wish === undefined ? {} : { enableKem: action.wish })
            sides[action.from] = sent.side
            flying.push({
              to: action.from === 'joiner' ? 'initiator' : 'joiner',
              bytes: sent.message,
              pqEncrypted: sent.pqEncrypted,
              chain: side.state.snd.headerKey,
              opensNoChain: sent.pqEncrypted && side.state.kem.agreement?.accepted === undefined,
              consumed: false,
            })
            continue
          }
          const message = flying[action.pick % flying.length]
          if (message === undefined) continue
          if (action.kind === 'lose') flying = flying.filter(other => other !== message)
          else await deliver(message, action.kind === 'tamper')
        }
        for (const message of flying.reverse()) await deliver(message, false)
        for (const { state } of Object.values(sides)) {
          expect(state.kem.support || !(state.kem.enabled || state.kem.sending || state.kem.receiving)).toBe(true)
        }
      }),
      { numRuns: 150 },
    )
  }, 60_000)
})

/** Whether the message moved the receiving chain, and was not a late one of an older chain or of this one. */
const isOfChain = (before: RatchetState, after: RatchetState): boolean => after !== before && after.nr > 0
