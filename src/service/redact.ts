/**
 * What of a trace may leave the process: names, ids and numbers, each in the form that it must have. Traces hold no secrets
 * anyway; here that is made sure of, field by field, so that no later field and no wrong value can carry one out.
 */
import type { TraceRecord } from '../runtime/ports.js'

/** Stands for a value that has not the form of its field. */
export const redacted = 'redacted'

const nameForm = /^[A-Za-z][\w.:\- ]{0,95}$/
const idForm = /^[\w.:\-[\] ]{1,200}$/
/** Longer than any id of ours (24 characters) and shorter than any key of 32 bytes in base64 or hex. */
const secretForm = /[A-Za-z0-9+/_=-]{33,}/

/** A name as machines, states, events and intents have it. */
export const safeName = (value: unknown): string =>
  typeof value === 'string' && nameForm.test(value) && !hasSecret(value) ? value : redacted

/** An id; the address of a router in it is shortened to host and port, since it may be part of a link. */
export const safeId = (value: unknown): string => {
  if (typeof value !== 'string') return redacted
  const short = value.replaceAll(/smp:\/\/[^@\s]*@/g, '')
  return idForm.test(short) && !hasSecret(short) ? short : redacted
}

// Dotted names of machines are long without being secrets: each part is looked at by itself.
const hasSecret = (text: string): boolean => text.split(/[.: ]/).some(part => secretForm.test(part))

const safeNumber = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0)

const most = 64
const safeList = (values: unknown, safe: (value: unknown) => string): string[] =>
  Array.isArray(values) ? values.slice(0, most).map(safe) : []

/** A copy of a record that holds nothing but what a reader of the live view may see. */
export const redactRecord = (record: TraceRecord): TraceRecord => {
  const { at, traceId, unit, machine, id, event, from, to, intents, events, wakes, aggregates, durations, error } =
    record
  return {
    at: safeNumber(at),
    traceId: traceId === '' ? '' : safeId(traceId),
    unit: safeName(unit),
    ...(machine === undefined ? {} : { machine: safeName(machine) }),
    ...(id === undefined ? {} : { id: safeId(id) }),
    ...(event === undefined ? {} : { event: safeName(event) }),
    ...(from === undefined ? {} : { from: from === '' ? '' : safeName(from) }),
    ...(to === undefined ? {} : { to: safeName(to) }),
    ...(intents === undefined ? {} : { intents: safeList(intents, safeName) }),
    ...(events === undefined ? {} : { events: safeList(events, safeName) }),
    ...(wakes === undefined ? {} : { wakes: safeList(wakes, safeName) }),
    ...(aggregates === undefined ? {} : { aggregates: safeList(aggregates, safeId) }),
    ...(durations === undefined
      ? {}
      : {
          durations: {
            lock: safeNumber(durations.lock),
            compute: safeNumber(durations.compute),
            commit: safeNumber(durations.commit),
          },
        }),
    ...(error === undefined ? {} : { error: safeName(error) }),
  }
}
