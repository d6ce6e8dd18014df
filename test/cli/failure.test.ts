import { PassThrough } from 'node:stream'
import { CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { reportFailure } from '../../src/cli/failure.js'
import { StoreError } from '../../src/errors.js'

const report = (error: unknown, json: boolean) => {
  const stderr = new PassThrough()
  const code = reportFailure(error, json, stderr)
  return { code, text: stderr.read()?.toString() ?? '' }
}

const locked = new StoreError('STORE_LOCKED', 'another process has the directory', {
  field: '/data/alice',
  hint: 'stop the other process',
  facts: { pid: 42 },
  cause: new Error('secret'),
})

describe('the failure of a command', () => {
  it('is told with field, facts and hint, without its cause', () => {
    expect(report(locked, false)).toEqual({
      code: 1,
      text: 'error STORE_LOCKED: another process has the directory (/data/alice)\n  pid: 42\n  hint: stop the other process\n',
    })
  })

  it('is one JSON object with --json', () => {
    const { code, text } = report(locked, true)
    expect(code).toBe(1)
    expect(text.endsWith('}\n')).toBe(true)
    expect(JSON.parse(text)).toEqual({
      error: {
        code: 'STORE_LOCKED',
        message: 'another process has the directory',
        field: '/data/alice',
        hint: 'stop the other process',
        facts: { pid: 42 },
      },
    })
  })

  it('has a code for an unknown error too, and shows where a bug is', () => {
    expect(report(new TypeError('x is undefined'), true)).toMatchObject({ code: 1 })
    expect(report(new TypeError('x is undefined'), false).text).toMatch(
      /^error INTERNAL: x is undefined\nTypeError: .*\n +at /,
    )
  })

  it('is not told when the reader of the output has gone', () => {
    expect(report(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }), false)).toEqual({ code: 1, text: '' })
  })

  it('has exit code 2 for wrong usage, of which commander has told, and 0 for help', () => {
    expect(report(new CommanderError(1, 'commander.unknownOption', 'no'), false)).toEqual({ code: 2, text: '' })
    expect(report(new CommanderError(0, 'commander.help', ''), false)).toEqual({ code: 0, text: '' })
  })
})
