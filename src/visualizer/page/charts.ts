/** The charts of all machines, made once, and what the page knows about behaviours. */
import { behaviours, type Behaviour } from '../../../machines/behaviours.js'
import { type Chart, chartOf } from '../model/chart.js'
import { type NamedMachine, machines } from '../model/machines.js'

export interface KnownMachine extends NamedMachine {
  readonly chart: Chart
}

export const knownMachines: readonly KnownMachine[] = machines.map(machine => ({
  ...machine,
  chart: chartOf(machine.machine),
}))

export const machineOf = (name: string): KnownMachine | undefined => knownMachines.find(known => known.name === name)

export const behaviourOf = (id: string): Behaviour | undefined => behaviours.find(behaviour => behaviour.id === id)
