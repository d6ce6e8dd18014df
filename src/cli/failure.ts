/** How a command says that it failed: the error and its hint on stderr, and the exit code. */
import { CommanderError } from 'commander'
import { asDuologueError } from '../errors.js'

/** Exit codes of every command. */
export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const

/**
 * The exit code for an error, after it was written to stderr: one JSON object with `--json`, a readable text otherwise.
 * Wrong usage was told of by commander already.
 */
export const reportFailure = (error: unknown, json: boolean, stderr: NodeJS.WritableStream): number => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  // Who reads the output has gone, as `head` does: there is nobody to tell.
  if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return exitCodes.failed
  const typed = asDuologueError(error)
  stderr.write(json ? `${JSON.stringify({ error: typed })}\n` : failureText(typed))
  // A bug shows where it happened; other errors say what to do instead.
  if (!json && typed.code === 'INTERNAL' && error instanceof Error) stderr.write(`${error.stack}\n`)
  return exitCodes.failed
}

const failureText = ({ code, message, field, hint, facts }: ReturnType<typeof asDuologueError>): string => {
  const about = field === undefined ? '' : ` (${field})`
  const known = Object.entries(facts).map(([name, value]) => `  ${name}: ${value}\n`)
  return `error ${code}: ${message}${about}\n${known.join('')}${hint === undefined ? '' : `  hint: ${hint}\n`}`
}
