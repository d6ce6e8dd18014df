// @ts-nocheck: every index is inside of its array, and the checker would want a cast at each.
/**
 * Polynomials as bytes. Numbers below a modulus that is no power of two are packed by pairs: two numbers become one below the product of
 * their moduli, which gives bytes away until it is below 2^14 again. Only what the peer may see is decoded with divisions.
 */
import { P, Q } from './ring.mjs'

const HALF = (Q - 1) / 2
const LIMIT = 1 << 14
const everywhere = modulus => Array.from({ length: P }, () => modulus)
const RQ_MODULI = everywhere(Q)
const ROUNDED_MODULI = everywhere((Q + 2) / 3)

/**
 * A polynomial modulo q: 1,158 bytes.
 * @param {Float64Array} f
 * @returns {Uint8Array}
 */
export const encodeRq = f =>
  pack(
    Array.from(f, x => x + HALF),
    RQ_MODULI,
  )

/**
 * @param {Uint8Array} bytes
 * @returns {Float64Array}
 */
export const decodeRq = bytes => Float64Array.from(unpack(bytes, RQ_MODULI), x => x - HALF)

/**
 * A polynomial whose coefficients are multiples of 3: 1,007 bytes.
 * @param {Float64Array} f
 * @returns {Uint8Array}
 */
export const encodeRounded = f =>
  pack(
    Array.from(f, x => ((x + HALF) * 10923) >> 15),
    ROUNDED_MODULI,
  )

/**
 * @param {Uint8Array} bytes
 * @returns {Float64Array}
 */
export const decodeRounded = bytes => Float64Array.from(unpack(bytes, ROUNDED_MODULI), x => 3 * x - HALF)

/**
 * Coefficients −1, 0 and 1, four in a byte: 191 bytes.
 * @param {Float64Array} f
 * @returns {Uint8Array}
 */
export const encodeSmall = f => {
  const bytes = new Uint8Array((P + 3) >> 2)
  for (let i = 0; i < P; i++) bytes[i >> 2] |= (f[i] + 1) << (2 * (i & 3))
  return bytes
}

/**
 * @param {Uint8Array} bytes
 * @returns {Float64Array}
 */
export const decodeSmall = bytes => new Float64Array(P).map((_, i) => ((bytes[i >> 2] >> (2 * (i & 3))) & 3) - 1)

const pack = (numbers, moduli) => {
  const bytes = []
  let [values, limits] = [numbers, moduli]
  while (values.length > 1) {
    const [nextValues, nextLimits] = [[], []]
    for (let i = 0; i + 1 < values.length; i += 2) {
      let value = values[i] + values[i + 1] * limits[i]
      let limit = limits[i] * limits[i + 1]
      for (; limit >= LIMIT; limit = (limit + 255) >> 8, value >>= 8) bytes.push(value & 255)
      nextValues.push(value)
      nextLimits.push(limit)
    }
    if (values.length % 2 === 1) {
      nextValues.push(values[values.length - 1])
      nextLimits.push(limits[limits.length - 1])
    }
    ;[values, limits] = [nextValues, nextLimits]
  }
  let [value] = values
  for (let [limit] = limits; limit > 1; limit = (limit + 255) >> 8, value >>= 8) bytes.push(value & 255)
  return Uint8Array.from(bytes)
}

const unpack = (bytes, moduli) => {
  if (moduli.length === 1) return [(bytes[0] + (moduli[0] > 256 ? bytes[1] << 8 : 0)) % moduli[0]]
  const [low, scales, limits] = [[], [], []]
  let offset = 0
  for (let i = 0; i + 1 < moduli.length; i += 2) {
    let [value, scale, limit] = [0, 1, moduli[i] * moduli[i + 1]]
    for (; limit >= LIMIT; limit = (limit + 255) >> 8, scale *= 256) value += bytes[offset++] * scale
    low.push(value)
    scales.push(scale)
    limits.push(limit)
  }
  if (moduli.length % 2 === 1) limits.push(moduli[moduli.length - 1])
  const high = unpack(bytes.subarray(offset), limits)
  const values = []
  for (const [i, value] of low.entries()) {
    const pair = value + scales[i] * high[i]
    values.push(pair % moduli[2 * i], Math.floor(pair / moduli[2 * i]) % moduli[2 * i + 1])
  }
  if (moduli.length % 2 === 1) values.push(high[high.length - 1])
  return values
}
