/** The transitions that a test file has taken so far, and what is required of it. */
import { expect, it } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { chartOf } from '../../src/visualizer/model/chart.js'

export interface Share {
  readonly taken: number
  readonly of: number
}

/** How often each transition was taken, by machine and id. */
export const taken = new Map<string, number>()

/** What the files that must take all of a machine have come to, by machine. */
export const required = new Map<string, Share>()

export const keyOf = (machine: string, transition: string): string => `${machine}\t${transition}`

/**
 * The last test of a machine's own file: the tests above have taken every transition, those that only say that a guard ignores the
 * event as well. Generated walks stand in other files, so that a transition which nobody has thought of is not taken by luck.
 */
export const takesEveryTransition = (machine: AnyStateMachine): void => {
  // A mutant must be noticed by a test of what the machine does.
  if (process.env['MUTATION_TESTS'] !== undefined) return
  it(`every transition of ${machine.id} is taken by a test of this file`, () => {
    const { of, untaken } = shareOf(machine)
    required.set(machine.id, { taken: of - untaken.length, of })
    expect(of).toBeGreaterThan(0)
    expect(untaken).toEqual([])
  })
}

/** How many transitions a machine has, and those that nothing has taken so far. */
export const shareOf = (machine: AnyStateMachine): { readonly of: number; readonly untaken: readonly string[] } => {
  const ids = chartOf(machine).transitions.map(({ id }) => id)
  const untaken = ids.filter(id => !taken.has(keyOf(machine.id, id)))
  return { of: ids.length, untaken: untaken.map(id => id.replaceAll(' | ', ' × ')) }
}
