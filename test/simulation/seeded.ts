import type { Random } from '../../src/crypto/index.js'

/** Random numbers that one seed gives again and again, and whose branches do not depend on how much each other draws. */
export interface Seeded {
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly T[]): T
  readonly bytes: Random
  branch(name: string): Seeded
}

export const seeded = (seed: number | string): Seeded => {
  const next = generator(String(seed))
  const fraction = (): number => next() / 2 ** 32
  return {
    int: (min, max) => min + Math.floor(fraction() * (max - min + 1)),
    chance: probability => fraction() < probability,
    pick: list => {
      if (list.length === 0) throw new Error('nothing to pick from')
      return list[Math.floor(fraction() * list.length)] as (typeof list)[number]
    },
    bytes: length => {
      const bytes = Buffer.allocUnsafe(length)
      let at = 0
      for (; at + 4 <= length; at += 4) bytes.writeUInt32LE(next(), at)
      for (; at < length; at++) bytes[at] = next() & 0xff
      return bytes
    },
    branch: name => seeded(`${seed}/${name}`),
  }
}

/** sfc32, begun with a hash of the seed. */
const generator = (seed: string): (() => number) => {
  let [a, b, c, d] = [hash(seed, 1), hash(seed, 2), hash(seed, 3), 1]
  const next = (): number => {
    const sum = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  for (let round = 0; round < 15; round++) next()
  return next
}

const hash = (text: string, salt: number): number => {
  let value = 0x811c9dc5 ^ salt
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  return value | 0
}
