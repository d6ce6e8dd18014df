import { setTimeout as delay } from 'node:timers/promises'
import { type Kem, systemRandom, ThreadKem } from '../../../src/crypto/index.js'
import { newPqPair, receivePq, send } from '../../ratchet/pair.js'
import { awaitedMicroseconds, type Effort, type Figure, figureOf } from '../measure.js'
import { type AwaitedCase, must } from './cases.js'

const messagePadding = 13_618
const turnsOfBlockTest = 50

/** The operations of the KEM, there and back. */
export const kemCases = async (kem: Kem): Promise<AwaitedCase[]> => {
  const own = await kem.generateKeyPair()
  const { ciphertext } = await kem.encapsulate(own.publicKey)
  return [
    { name: 'KEM in its thread: key pair', run: async () => void (await kem.generateKeyPair()) },
    { name: 'KEM in its thread: encapsulate', run: async () => void (await kem.encapsulate(own.publicKey)) },
    {
      name: 'KEM in its thread: decapsulate',
      run: async () => void (await kem.decapsulate(ciphertext, own.privateKey)),
    },
  ]
}

/** Advance, encrypt and decrypt with a turn of X448 and KEM: the two sides take turns. */
export const pqTurn = async (kem: Kem): Promise<() => Promise<void>> => {
  const plaintext = systemRandom(1100)
  let turning = await newPqPair(kem)
  return async () => {
    const sent = send(turning.joiner, plaintext, messagePadding)
    const received = await receivePq(turning.initiator, sent.message, kem)
    must(received.result.ok && received.pqEncrypted, 'ratchet with a KEM')
    turning = { joiner: received.side, initiator: sent.side }
  }
}

/** The benchmarks of the KEM and of what waits for it. */
export const runKem = async (
  effort: Effort,
  progress: (text: string) => void,
): Promise<{ name: string; us: Figure }[]> => {
  const [onDemand, ahead] = [new ThreadKem({ keyPairsAhead: 0 }), new ThreadKem()]
  try {
    const results = []
    for (const { name, run } of await kemCases(onDemand)) {
      progress(name)
      results.push({ name, us: await awaitedMicroseconds(run, effort) })
    }
    progress('ratchet: turns with a KEM')
    const turn = await pqTurn(ahead)
    results.push({ name: 'ratchet: a PQ turn, one after the other', us: await awaitedMicroseconds(turn, effort) })
    results.push({ name: 'ratchet: a PQ turn, keys made ahead', us: await oneByOne(turn, effort.samples) })
    results.push({
      name: `longest block of the event loop in ${turnsOfBlockTest} PQ turns`,
      us: await longestBlock(turn),
    })
    return results
  } finally {
    await Promise.all([onDemand.close(), ahead.close()])
  }
}

/** Each turn after a pause in which the thread makes its key pairs. */
const oneByOne = async (turn: () => Promise<void>, samples: number): Promise<Figure> => {
  const values: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    await delay(100)
    const start = performance.now()
    await turn()
    values.push((performance.now() - start) * 1000)
  }
  return figureOf(values)
}

/** The longest time between two turns of the event loop while PQ turns follow each other, in µs. */
const longestBlock = async (turn: () => Promise<void>): Promise<Figure> => {
  let [longest, last, running] = [0, performance.now(), true]
  const tick = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(tick)
  }
  setImmediate(tick)
  for (let index = 0; index < turnsOfBlockTest; index++) await turn()
  running = false
  return figureOf([longest * 1000])
}
