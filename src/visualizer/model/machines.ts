/** Every machine that the product exports, found and not listed: the page can never show another one than runs. */
import type { AnyStateMachine } from 'xstate'
import * as exported from '../../../machines/index.js'
import { type Walk, walks } from '../../../machines/walks.js'

export interface NamedMachine {
  readonly name: string
  /** Protocol machines are asked for one decision at a time; worker machines are live actors. */
  readonly kind: 'protocol' | 'worker'
  readonly machine: AnyStateMachine
  /** Events in every variant that the guards tell apart, results of invoked work, contexts. */
  readonly walk: Walk | undefined
}

const isMachine = (value: unknown): value is AnyStateMachine =>
  typeof value === 'object' && value !== null && 'root' in value && 'config' in value && 'getTransitionData' in value

/** Machines of a module by their ids, protocol machines first. */
export const machinesOf = (module: Readonly<Record<string, unknown>>, known: readonly Walk[] = []): NamedMachine[] => {
  const protocol = new Set<unknown>(Object.values((module['protocolMachines'] ?? {}) as object))
  const machines = Object.values(module)
    .flatMap(value => (isMachine(value) ? [value] : groupOf(value)))
    .filter((machine, index, all) => all.findIndex(other => other.id === machine.id) === index)
    .map(machine => ({
      name: machine.id,
      kind: protocol.has(machine) ? ('protocol' as const) : ('worker' as const),
      machine,
      walk: known.find(walk => walk.name === machine.id),
    }))
  const order = Object.values(groupedOrder(module))
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length)
  return machines.sort((a, b) => rank(a.name) - rank(b.name))
}

const groupOf = (value: unknown): AnyStateMachine[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.values(value).filter(isMachine) : []

const groupedOrder = (module: Readonly<Record<string, unknown>>): string[] =>
  ['protocolMachines', 'workerMachines'].flatMap(group =>
    groupOf(module[group]).map((machine: AnyStateMachine) => machine.id),
  )

export const machines: readonly NamedMachine[] = machinesOf(exported, walks)

export const machineNamed = (name: string): NamedMachine | undefined => machines.find(machine => machine.name === name)
