// @ts-nocheck: every index is inside of its array, and the checker would want a cast at each.
/**
 * Polynomials of Streamlined NTRU Prime 761: coefficients modulo q = 4591 or modulo 3, polynomials modulo x^761 − x − 1. See
 * ntruprime.cr.yp.to and draft-josefsson-ntruprime-streamlined.
 *
 * A coefficient is a whole number from −(m − 1)/2 to (m − 1)/2, kept as a double: sums and products stay far below 2^53, and
 * the engine computes them without the checks that it makes for integers. No branch and no index depends on a
 * coefficient, so that the time says nothing of a key; what depends on `step` or on a modulus depends on public constants.
 * Plain JavaScript, so that the thread runs the same file from the sources and from the build.
 */

/** The degree of the modulus, the larger modulus of coefficients, and how many coefficients of a short polynomial are not 0. */
export const P = 761
export const Q = 4591
export const WEIGHT = 286

/** Adding and taking away 1.5 · 2^52 rounds a double to the nearest whole number. */
const ROUND = 6755399441055744

/**
 * The coefficient that `x` is modulo `modulus`; `inverse` is 1 / modulus.
 * @param {number} x
 * @param {number} modulus
 * @param {number} inverse
 * @returns {number}
 */
export const reduce = (x, modulus, inverse = 1 / modulus) => x - (x * inverse + ROUND - ROUND) * modulus

/**
 * f · g, where the coefficients of `g` are −1, 0 and 1. Four of them are taken at a time.
 * @param {Float64Array} f
 * @param {Float64Array} g
 * @param {number} modulus
 * @returns {Float64Array}
 */
export const multiply = (f, g, modulus) => {
  const inverse = 1 / modulus
  const long = new Float64Array(P + 7)
  long.set(f, 4)
  const small = new Float64Array(P + 3)
  small.set(g)
  const product = new Float64Array(2 * P + 4)
  for (let j = 0; j < P; j += 4) {
    const a = small[j]
    const b = small[j + 1]
    const c = small[j + 2]
    const d = small[j + 3]
    for (let i = 0; i < P + 3; i++) {
      product[i + j] += long[i + 4] * a + long[i + 3] * b + long[i + 2] * c + long[i + 1] * d
    }
  }
  for (let i = 2 * P - 2; i >= P; i--) {
    const coefficient = reduce(product[i], modulus, inverse)
    product[i - P] += coefficient
    product[i - P + 1] += coefficient
  }
  const result = new Float64Array(P)
  for (let i = 0; i < P; i++) result[i] = reduce(product[i], modulus, inverse)
  product.fill(0)
  return result
}

/**
 * 1 / (scale · f), or undefined when `f` has no inverse (modulo 3 only). Bernstein and Yang's division steps: `f` and `g` stand
 * with their coefficients reversed, each step makes `g` one shorter, and `v` and `r` follow what is done to them.
 * @param {Float64Array} input coefficients −1, 0 and 1
 * @param {number} modulus
 * @param {number} scale
 * @returns {Float64Array | undefined}
 */
export const reciprocal = (input, modulus, scale = 1) => {
  const inverse = 1 / modulus
  const f = new Float64Array(P + 1)
  const g = new Float64Array(P + 1)
  const v = new Float64Array(P + 1)
  const r = new Float64Array(P + 1)
  f[0] = 1
  f[P - 1] = -1
  f[P] = -1
  for (let i = 0; i < P; i++) g[P - 1 - i] = input[i]
  r[0] = inverseOf(scale, modulus)
  let delta = 1
  for (let step = 1; step < 2 * P; step++) {
    // 1 when f and g change places: delta is positive and g does not begin with 0.
    const swap = (-delta >> 31) & nonzeroMask(g[0]) & 1
    const stay = 1 - swap
    delta = delta * (stay - swap) + 1
    const f0 = stay * f[0] + swap * g[0]
    const g0 = stay * g[0] + swap * f[0]
    // g becomes f0 · g − g0 · f, as factors of what stood there before.
    const ofG = f0 * stay - g0 * swap
    const ofF = f0 * swap - g0 * stay
    const left = Math.min(P, 2 * P - step)
    f[0] = f0
    for (let i = 1; i <= left; i++) {
      const a = f[i]
      const b = g[i]
      f[i] = stay * a + swap * b
      g[i - 1] = reduce(ofG * b + ofF * a, modulus, inverse)
    }
    g[left] = 0
    for (let i = Math.min(P, step); i > 0; i--) {
      const a = v[i - 1]
      const b = r[i]
      v[i] = stay * a + swap * b
      r[i] = reduce(ofG * b + ofF * a, modulus, inverse)
    }
    v[0] = swap * r[0]
    r[0] = reduce(ofG * r[0], modulus, inverse)
  }
  const factor = inverseOf(f[0], modulus)
  const result = new Float64Array(P)
  for (let i = 0; i < P; i++) result[i] = reduce(factor * v[P - 1 - i], modulus, inverse)
  for (const polynomial of [f, g, v, r]) polynomial.fill(0)
  return delta === 0 ? result : undefined
}

/** 1 / x, as x to the power of modulus − 2. */
const inverseOf = (x, modulus) => {
  let power = 1
  for (let bit = 12; bit >= 0; bit--) {
    power = reduce(power * power, modulus)
    if (((modulus - 2) >> bit) & 1) power = reduce(power * x, modulus)
  }
  return power
}

/** −1 when x is not 0, else 0. */
const nonzeroMask = x => (x | -x) >> 31

/**
 * Coefficients modulo q as coefficients modulo 3.
 * @param {Float64Array} f
 * @returns {Float64Array}
 */
export const modulo3 = f => f.map(x => reduce(x, 3))

/**
 * 3 · f modulo q.
 * @param {Float64Array} f
 * @returns {Float64Array}
 */
export const triple = f => f.map(x => reduce(3 * x, Q))

/**
 * Every coefficient at its nearest multiple of 3.
 * @param {Float64Array} f
 * @returns {Float64Array}
 */
export const round = f => f.map(x => x - reduce(x, 3))

/**
 * The polynomial itself when it has the weight of a short one, else one that has (all its weight in front).
 * @param {Float64Array} f coefficients −1, 0 and 1
 * @returns {Float64Array}
 */
export const shortOrFixed = f => {
  let weight = 0
  for (let i = 0; i < P; i++) weight += f[i] * f[i]
  const wrong = nonzeroMask(weight - WEIGHT) & 1
  return f.map((x, i) => (1 - wrong) * x + wrong * (i < WEIGHT ? 1 : 0))
}

/**
 * A polynomial with coefficients −1, 0 and 1 from 761 random numbers of 32 bits, each equally likely.
 * @param {Uint8Array} bytes 3,044 bytes
 * @returns {Float64Array}
 */
export const smallFrom = bytes =>
  Float64Array.from(words(bytes), word => Math.floor(((word & 0x3fffffff) * 3) / 0x40000000) - 1)

/**
 * A short polynomial from 761 random numbers of 32 bits: 286 of them stand for a coefficient −1 or 1, and sorting by the other
 * bits puts those anywhere.
 * @param {Uint8Array} bytes 3,044 bytes
 * @returns {Float64Array}
 */
export const shortFrom = bytes => {
  // The lowest bits say what the number stands for; turning the highest one round makes signed numbers sort as unsigned ones.
  const list = words(bytes).map((word, i) => (i < WEIGHT ? word & -2 : (word & -3) | 1) ^ 0x80000000)
  sort(list)
  const f = Float64Array.from(list, word => (word & 3) - 1)
  list.fill(0)
  return f
}

const words = bytes => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return new Int32Array(P).map((_, i) => view.getInt32(4 * i, true))
}

/** Batcher's merge exchange: which numbers are compared depends on how many there are, never on what they are. */
const sort = list => {
  const { length } = list
  let top = 1
  while (top < length - top) top += top
  for (let p = top; p > 0; p >>= 1) {
    let q = top
    let first = 0
    let distance = p
    for (;;) {
      for (let i = 0; i < length - distance; i++) if ((i & p) === first) order(list, i, i + distance)
      if (q === p) break
      distance = q - p
      q >>= 1
      first = p
    }
  }
}

/** Puts the smaller one first. */
const order = (list, i, j) => {
  const a = list[i]
  const b = list[j]
  const differing = a ^ b
  let difference = (b - a) | 0
  difference ^= differing & (difference ^ b)
  const exchanged = differing & (difference >> 31)
  list[i] = a ^ exchanged
  list[j] = b ^ exchanged
}
