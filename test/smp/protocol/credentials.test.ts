import { describe, expect, it } from 'vitest'
import type { CommandType } from '../../../src/smp/protocol/commands.js'
import { authorizationOf, checkCredentials, checkResponseEntity } from '../../../src/smp/protocol/credentials.js'
import { formatSmpError } from '../../../src/smp/protocol/routerErrors.js'

const NONE = Buffer.alloc(0)
const QUEUE = Buffer.alloc(24, 1)

/** The answers to: nothing, authorization only, entity only, both. */
const answers = (type: CommandType): string[] =>
  [
    [false, NONE],
    [true, NONE],
    [false, QUEUE],
    [true, QUEUE],
  ].map(([authorized, entity]) => {
    const error = checkCredentials({ type }, authorized as boolean, entity as Buffer)
    return error === undefined ? 'ok' : formatSmpError(error)
  })

describe('credentials of a command', () => {
  it.each([
    ['NEW', ['CMD NO_AUTH', 'ok', 'CMD NO_AUTH', 'CMD HAS_AUTH']],
    ['SEND', ['CMD NO_ENTITY', 'CMD NO_ENTITY', 'ok', 'ok']],
    ['LGET', ['CMD NO_ENTITY', 'CMD NO_ENTITY', 'ok', 'CMD HAS_AUTH']],
    ['PFWD', ['CMD NO_ENTITY', 'CMD NO_ENTITY', 'ok', 'CMD HAS_AUTH']],
    ['PING', ['ok', 'CMD HAS_AUTH', 'CMD HAS_AUTH', 'CMD HAS_AUTH']],
    ['PRXY', ['ok', 'CMD HAS_AUTH', 'CMD HAS_AUTH', 'CMD HAS_AUTH']],
    ['RFWD', ['ok', 'CMD HAS_AUTH', 'CMD HAS_AUTH', 'CMD HAS_AUTH']],
    ['SUB', ['CMD NO_AUTH', 'CMD NO_AUTH', 'CMD NO_AUTH', 'ok']],
    ['KEY', ['CMD NO_AUTH', 'CMD NO_AUTH', 'CMD NO_AUTH', 'ok']],
    ['LKEY', ['CMD NO_AUTH', 'CMD NO_AUTH', 'CMD NO_AUTH', 'ok']],
    ['NSUBS', ['CMD NO_AUTH', 'CMD NO_AUTH', 'CMD NO_AUTH', 'ok']],
  ] as const)('%s', (type, expected) => {
    expect(answers(type)).toEqual(expected)
  })

  it('tells clients what to authorize', () => {
    expect([
      authorizationOf({ type: 'SUB' }),
      authorizationOf({ type: 'SEND' }),
      authorizationOf({ type: 'PING' }),
    ]).toEqual(['yes', 'any', 'no'])
  })
})

describe('entity of a response', () => {
  it('is a queue, except for answers that have none', () => {
    expect(checkResponseEntity({ type: 'OK' }, QUEUE)).toBeUndefined()
    expect(checkResponseEntity({ type: 'OK' }, NONE)).toEqual({ type: 'CMD', error: 'NO_ENTITY' })
    expect(checkResponseEntity({ type: 'PONG' }, NONE)).toBeUndefined()
    expect(checkResponseEntity({ type: 'PONG' }, QUEUE)).toEqual({ type: 'CMD', error: 'HAS_AUTH' })
    expect(checkResponseEntity({ type: 'ERR', error: { type: 'AUTH' } }, NONE)).toBeUndefined()
  })
})
