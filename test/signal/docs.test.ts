import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { signalCallList } from '../../src/signal/api/calls.js'
import type { SignalEventPayload } from '../../src/signal/api/events.js'
import { defaultSignalConfig } from '../../src/signal/config.js'
import { answersTable } from './answersTable.js'

const path = fileURLToPath(new URL('../../docs/SIGNAL.md', import.meta.url))
const page = (): string => readFileSync(path, 'utf8')
const [begin, end] = ['<!-- answers: made from the signalSend machine -->', '<!-- /answers -->']

/** The type keeps this list complete. */
const eventTypes: Record<SignalEventPayload['type'], true> = {
  MSG: true,
  SENT: true,
  MWARN: true,
  MERR: true,
  RECEIPT: true,
  CAUGHT_UP: true,
  HEALTH: true,
  DECRYPTION_FAILED: true,
  RETRY_REQUESTED: true,
  DROPPED: true,
  IDENTITY_CHANGED: true,
  RECIPIENT_MERGED: true,
  UNEXPECTED_SERVICE_ID: true,
  SENT_ELSEWHERE: true,
  READ_ELSEWHERE: true,
}

describe('docs/SIGNAL.md', () => {
  it('S07 S08 has the table of answers that the signalSend machine makes (UPDATE_DOCS=1 writes it)', () => {
    const table = `${begin}\n${answersTable()}\n${end}`
    const block = new RegExp(`${begin}[\\s\\S]*${end}`)
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, page().replace(block, table))
    expect(block.exec(page())?.[0]).toBe(table)
  })

  it('tells of every call, event and setting', () => {
    for (const name of Object.keys(signalCallList)) expect(page()).toContain(`\`${name}\``)
    for (const type of Object.keys(eventTypes)) expect(page()).toContain(`\`${type}\``)
    for (const name of Object.keys(defaultSignalConfig)) expect(page(), name).toContain(`\`${name}\``)
  })
})

describe('libsignal', () => {
  const source = fileURLToPath(new URL('../../src', import.meta.url))
  const files = (readdirSync(source, { recursive: true }) as string[]).filter(name => name.endsWith('.ts'))
  const importsOf = (name: string): string[] =>
    [...readFileSync(join(source, name), 'utf8').matchAll(/(?:from|import\()\s*'([^']+)'/g)].map(
      match => match[1] as string,
    )

  it('is loaded in src/signal only, and src/signal by nobody but its own entry and the commands that need it', () => {
    const loading = files.filter(name => importsOf(name).some(one => one.startsWith('@signalapp/')))
    expect(loading.filter(name => !name.startsWith('signal/'))).toEqual([])
    for (const name of files.filter(name => !name.startsWith('signal/') && !name.startsWith('cli/signal'))) {
      expect(
        importsOf(name).filter(one => /\/signal\//.test(one) && !one.includes('/store/signal/')),
        name,
      ).toEqual([])
    }
    // The commands load it when they run, not when they are listed.
    for (const name of files.filter(name => name.startsWith('cli/signal'))) {
      const text = readFileSync(join(source, name), 'utf8')
      const eager = [...text.matchAll(/^import (?!type)[^;]*?from '([^']*)'/gm)].map(match => match[1] as string)
      expect(
        eager.filter(one => one.includes('/signal/index.js')),
        name,
      ).toEqual([])
    }
  })
})
