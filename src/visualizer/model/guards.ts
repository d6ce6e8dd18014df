/** Why a guard says yes or no: what it has read, and what it would have needed. */
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine } from 'xstate'

/** A guard’s answer with its reasons. */
export interface GuardAnswer {
  readonly holds: boolean
  /** What the guard has read, as `event.form = "info"`. */
  readonly read: readonly string[]
  /** For a guard that says no: fields of the event with values for which it says yes. */
  readonly wouldHold: readonly string[]
}

export interface GuardSubject {
  readonly machine: AnyStateMachine
  readonly snapshot: AnyMachineSnapshot
  readonly event: AnyEventObject
  /** The event in its other variants. */
  readonly others: readonly AnyEventObject[]
}

interface Combined {
  readonly guards: readonly unknown[]
  readonly check: { readonly name: string }
}

type GuardFunction = (args: { context: unknown; event: unknown }, params: unknown) => boolean

/** Asks a guard, and says what its answer rests on. */
export const guardAnswer = (guard: unknown, subject: GuardSubject): GuardAnswer => {
  const read: string[] = []
  const holds = evaluate(guard, subject, subject.event, read)
  return {
    holds,
    read: [...new Set(read)],
    wouldHold: holds ? [] : differences(guard, subject),
  }
}

const evaluate = (guard: unknown, subject: GuardSubject, event: AnyEventObject, read: string[]): boolean => {
  if (typeof guard === 'function' && 'guards' in guard) {
    const { guards, check } = guard as unknown as Combined
    const parts = guards.map(part => evaluate(part, subject, event, read))
    if (check.name === 'checkNot') return parts[0] !== true
    return check.name === 'checkOr' ? parts.includes(true) : !parts.includes(false)
  }
  const { machine, snapshot } = subject
  const named = typeof guard === 'string' ? { type: guard } : (guard as { type?: string; params?: unknown })
  const implementation = typeof guard === 'function' ? guard : machine.implementations.guards[named.type ?? '']
  if (typeof implementation !== 'function') return false
  const args = { context: watched(snapshot.context, 'context', read), event: watched(event, 'event', read) }
  const params = typeof named.params === 'function' ? named.params(args) : named.params
  if (typeof named.params === 'object' && named.params !== null) {
    read.push(...Object.entries(named.params).map(([key, value]) => `${key} = ${JSON.stringify(value)}`))
  }
  return (implementation as unknown as GuardFunction)(args, params) === true
}

/** Notes what is read; plain values only, objects are watched in turn. */
const watched = (value: unknown, path: string, read: string[]): unknown => {
  if (typeof value !== 'object' || value === null) return value
  return new Proxy(value, {
    get: (target, key) => {
      const found = (target as Record<PropertyKey, unknown>)[key]
      if (typeof key === 'symbol' || typeof found === 'function') return found
      if (typeof found === 'object' && found !== null) return watched(found, `${path}.${key}`, read)
      if (key !== 'type') read.push(`${path}.${key} = ${found === undefined ? 'missing' : JSON.stringify(found)}`)
      return found
    },
  })
}

/** How the event would have to differ: the fewest fields, over all variants for which the guard says yes. */
const differences = (guard: unknown, subject: GuardSubject): string[] => {
  const { event, others } = subject
  const changes = others
    .filter(other => evaluate(guard, subject, other, []))
    .map(other => Object.entries(other).filter(([key, value]) => JSON.stringify(event[key]) !== JSON.stringify(value)))
    .filter(change => change.length > 0)
  const fewest = Math.min(...changes.map(change => change.length))
  const texts = changes
    .filter(change => change.length === fewest)
    .map(change => change.map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(' and '))
  return [...new Set(texts)]
}
