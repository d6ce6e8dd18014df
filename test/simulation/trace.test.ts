/** What a failed run writes is what the visualizer replays. */
import { expect, it } from 'vitest'
import { TraceReader } from '../../src/visualizer/model/traceFile.js'
import { shortPlan } from './draw.js'
import { run } from './run.js'

it('the trace of a run is read by Replay without a bad line, with the machines of all agents', async () => {
  const reader = new TraceReader()
  let lines = 0
  await run(shortPlan(7), {
    line: line => {
      lines += 1
      reader.push(`${line}\n`)
    },
  })
  const { table, bad, leftOut } = reader.end()
  expect(bad).toEqual([])
  expect(leftOut).toBe(0)
  expect(table.length).toBe(lines)
  expect(table.connections.length).toBeGreaterThan(1)
})
