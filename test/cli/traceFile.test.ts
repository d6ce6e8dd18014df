import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openTraceFile } from '../../src/cli/traceFile.js'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duologue-trace-'))
})
afterEach(() => rm(directory, { recursive: true }))

describe('the trace file', () => {
  it('has a line for each record and is appended to', async () => {
    const path = join(directory, 'trace.jsonl')
    for (const unit of ['one', 'two']) {
      const trace = await openTraceFile(path)
      trace.write({ unit })
      await trace.close()
    }
    expect(await readFile(path, 'utf8')).toBe('{"unit":"one"}\n{"unit":"two"}\n')
  })

  it('leaves records out and counts them while the disk does not keep up', async () => {
    const path = join(directory, 'trace.jsonl')
    const trace = await openTraceFile(path)
    const large = { text: 'x'.repeat(1_048_576) }
    for (let n = 0; n < 40; n++) trace.write(large)
    await trace.drained()
    trace.write({ unit: 'after' })
    await trace.close()
    const lines = (await readFile(path, 'utf8')).trim().split('\n')
    const kept = lines.length - 2
    expect(kept).toBeLessThan(20)
    expect(lines.slice(-2).map(line => JSON.parse(line))).toEqual([{ leftOut: 40 - kept }, { unit: 'after' }])
  })

  it('that cannot be opened is a typed error', async () => {
    const path = join(directory, 'missing', 'trace.jsonl')
    await expect(openTraceFile(path)).rejects.toMatchObject({ code: 'CONFIG_FILE', field: path })
  })
})
