/** What the demo shows: a progress line while it runs, a table or a JSON object at the end. */
import type { ExchangeResult } from './exchange.js'

export interface DemoResult extends ExchangeResult {
  /** From the call of createConnection until both agents have the connection, in milliseconds. */
  readonly connectMs: number
}

/** Whether everything arrived exactly once and in order. */
export const isPerfect = ({ lost, duplicated, reordered }: ExchangeResult): boolean =>
  lost === 0 && duplicated === 0 && reordered === 0

export const resultJson = (result: DemoResult): string => {
  const { connectMs, messages, lost, duplicated, reordered, perSecond, p50Ms, p99Ms } = result
  return JSON.stringify({ connectMs, messages, lost, duplicated, reordered, perSecond, p50Ms, p99Ms })
}

export const resultTable = (result: DemoResult, maxLength: number): string => {
  const number = (value: number): string => value.toLocaleString('en-US')
  const each = number(result.messages / 2)
  const rows = [
    ['connected in', `${number(result.connectMs)} ms`],
    ['messages', `${number(result.messages)} (${each} each way, up to ${number(maxLength)} bytes)`],
    ['lost', number(result.lost)],
    ['duplicated', number(result.duplicated)],
    ['out of order', number(result.reordered)],
    ['messages/s', number(result.perSecond)],
    ['delivery p50', `${number(result.p50Ms)} ms`],
    ['delivery p99', `${number(result.p99Ms)} ms`],
  ]
  return rows.map(([name = '', value]) => `${name.padEnd(14)}${value}`).join('\n')
}

export interface Progress {
  /** Says what happens now. */
  step(text: string): void
  messages(arrived: number, total: number): void
  /** Removes the line. */
  done(): void
}

const everyMs = 100

/** A line that is written over and over; nothing at all where there is no terminal. */
export const createProgress = (out: NodeJS.WriteStream): Progress => {
  let shownAt = 0
  const show = (text: string): void => {
    if (out.isTTY) out.write(`\r\u001B[K${text}`)
  }
  return {
    step: text => show(text),
    messages: (arrived, total) => {
      const now = performance.now()
      if (now - shownAt < everyMs && arrived < total) return
      shownAt = now
      show(`${bar(arrived / total)} ${arrived} of ${total} messages`)
    },
    done: () => show(''),
  }
}

const bar = (share: number): string => {
  const width = 24
  const full = Math.round(share * width)
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`
}
