import { getStateNodes } from 'xstate/graph'
import { describe, expect, it } from 'vitest'
import { behaviours, protocolMachines, type StateMeta, workerMachines } from '../../machines/index.js'

const ids = behaviours.map(({ id }) => id)

describe('the list of behaviours', () => {
  it('has each id once, in order, with a title of one sentence', () => {
    expect(ids).toEqual([...new Set(ids)].sort())
    for (const { id, title } of behaviours) {
      expect(id).toMatch(/^[BS]\d\d$/)
      expect(title, id).toMatch(/^[A-Z\d].{10,140}[^.]$/)
    }
  })

  it('holds every behaviour that a state serves', () => {
    const served = Object.values({ ...protocolMachines, ...workerMachines }).flatMap(machine =>
      getStateNodes(machine.root).flatMap(node => (node.meta as StateMeta | undefined)?.spec ?? []),
    )
    expect(served.filter(id => !ids.includes(id))).toEqual([])
  })
})
