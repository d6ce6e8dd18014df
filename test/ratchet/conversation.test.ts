import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeRatchetState } from '../../src/ratchet/index.js'
import type { Bytes } from '../../src/encoding/index.js'
import { toHex } from '../vectors/load.js'
import { type Side, flip, newPair, receive, send } from './pair.js'

type Name = 'joiner' | 'initiator'

/** A message on its way; one that is consumed opens no more. */
interface Flying {
  readonly from: Name
  readonly text: string
  readonly bytes: Bytes
  consumed: boolean
}

type Step =
  | { readonly kind: 'send'; readonly from: Name; readonly text: string }
  | { readonly kind: 'deliver' | 'lose' | 'tamperBody' | 'tamperHeader'; readonly pick: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      from: fc.constantFrom<Name>('joiner', 'initiator'),
      text: fc.string({ maxLength: 20 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('deliver' as const), pick: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('lose' as const, 'tamperBody' as const, 'tamperHeader' as const),
      pick: fc.nat(),
    }),
  },
)

const versions = fc.constantFrom(
  { current: 2, maxSupported: 2 },
  { current: 2, maxSupported: 3 },
  { current: 3, maxSupported: 3 },
)

const USED_UP = /^CRYPTO_(?:DUPLICATE|EARLIER|HEADER)$/

describe('a conversation of two', () => {
  it('gives every message once, whatever is reordered, lost, repeated or tampered with', () => {
    fc.assert(
      fc.property(versions, fc.array(step, { minLength: 5, maxLength: 60 }), (range, steps) => {
        const sides: Record<Name, Side> = newPair(range)
        let flying: Flying[] = []
        for (const action of [...steps, { kind: 'deliver', pick: 0 } as const]) {
          if (action.kind === 'send') {
            if (sides[action.from].state.snd === undefined) continue
            const { side, message } = send(sides[action.from], Buffer.from(action.text), 128)
            sides[action.from] = side
            flying.push({ from: action.from, text: action.text, bytes: message, consumed: false })
            continue
          }
          const message = flying[action.pick % flying.length]
          if (message === undefined) continue
          if (action.kind === 'lose') flying = flying.filter(other => other !== message)
          else deliver(sides, message, action.kind)
        }
        // What was neither lost nor spoilt still opens at the end, in the worst order.
        for (const message of flying.reverse()) deliver(sides, message, 'deliver')
      }),
      { numRuns: 150 },
    )
  }, 60_000)
})

const deliver = (sides: Record<Name, Side>, message: Flying, how: 'deliver' | 'tamperBody' | 'tamperHeader'): void => {
  const to = message.from === 'joiner' ? 'initiator' : 'joiner'
  const before = sides[to]
  const bytesBefore = textOf(before)
  const bytes =
    how === 'deliver' ? message.bytes : flip(message.bytes, how === 'tamperBody' ? -1 : 60 /* inside the header */)
  const { side, result } = receive(before, bytes)
  expect(textOf(before), 'the state handed in is not changed').toBe(bytesBefore)
  sides[to] = side

  if (how === 'tamperHeader') {
    expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_HEADER' } })
    expect(side.state).toBe(before.state)
    return
  }
  if (message.consumed) {
    expect(result).toMatchObject({ ok: false, error: { code: expect.stringMatching(USED_UP) } })
    const { versions } = before.state
    const but = { ...side, state: { ...side.state, versions } }
    expect(textOf(but), 'a repeated message changes nothing but the version').toBe(bytesBefore)
    return
  }
  message.consumed = true
  if (how === 'tamperBody') expect(result).toMatchObject({ ok: false, error: { code: 'CRYPTO_AES' } })
  else expect(result).toEqual({ ok: true, plaintext: Buffer.from(message.text) })
}

const textOf = ({ state, skipped }: Side): string =>
  [
    toHex(encodeRatchetState(state)),
    ...skipped.map(
      key => `${toHex(key.headerKey)} ${key.messageNumber} ${toHex(key.messageKey)} ${toHex(key.messageIv)}`,
    ),
  ].join('\n')
