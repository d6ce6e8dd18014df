import { describe, expect, it } from 'vitest'
import { getStateNodes } from 'xstate/graph'

/** The others import the machines: this one says so, and by name, when a machine cannot even be made. */
describe('the machines', () => {
  it('can be made, each with an initial state', async () => {
    const { protocolMachines, workerMachines } = await import('../../machines/index.js')
    for (const machine of Object.values({ ...protocolMachines, ...workerMachines })) {
      expect(getStateNodes(machine.root), machine.id).not.toHaveLength(0)
      expect(machine.root.initial.target, machine.id).toHaveLength(1)
    }
  })
})
