/** A walk as text in a link, and back. */
import type { AnyEventObject } from 'xstate'
import type { Start } from './simulate.js'

export interface WalkLink {
  readonly start: Start
  readonly events: readonly AnyEventObject[]
}

/** The longest text of a walk that is read. */
const longest = 100_000

export const walkText = ({ start, events }: WalkLink): string => {
  const bytes = new TextEncoder().encode(JSON.stringify([start, events.map(withoutErrors)]))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')
}

/** Undefined for a text that is no walk. */
export const readWalk = (text: string): WalkLink | undefined => {
  if (text === '' || text.length > longest) return undefined
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), char => char.charCodeAt(0))
    const [start, events] = JSON.parse(new TextDecoder().decode(bytes)) as [unknown, unknown]
    if (!isRecord(start) || !Array.isArray(events)) return undefined
    if (!events.every(event => isRecord(event) && typeof event['type'] === 'string')) return undefined
    return { start: start as Start, events: events as AnyEventObject[] }
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const withoutErrors = (event: AnyEventObject): AnyEventObject =>
  event['error'] instanceof Error ? { ...event, error: event['error'].message } : event
