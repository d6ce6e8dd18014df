import { inlineKem, type Kem } from '../../src/crypto/index.js'
import { KemError } from '../../src/errors.js'

/** A real KEM whose thread a test ends, or holds up. */
export interface HeldKem extends Kem {
  /** Every operation is refused with `KEM_UNAVAILABLE`. */
  failing: boolean
  /** Operations so far, the refused ones too. */
  operations: number
  /** From now on operations wait until what this gives is called. */
  hold(): () => void
}

export const heldKem = (): HeldKem => {
  const kem = inlineKem()
  let held: Promise<void> = Promise.resolve()
  const done = async <T>(operation: () => Promise<T>): Promise<T> => {
    self.operations++
    if (self.failing) throw new KemError('KEM_UNAVAILABLE', 'the thread of the KEM ended or took too long')
    await held
    return operation()
  }
  const self: HeldKem = {
    failing: false,
    operations: 0,
    hold: () => {
      let release = (): void => {}
      held = new Promise(resolve => {
        release = resolve
      })
      return release
    },
    generateKeyPair: () => done(() => kem.generateKeyPair()),
    encapsulate: publicKey => done(() => kem.encapsulate(publicKey)),
    decapsulate: (ciphertext, privateKey) => done(() => kem.decapsulate(ciphertext, privateKey)),
  }
  return self
}
