/** `duologue signal trace`: what a trace file says of one message, step by step. */
import { createReadStream } from 'node:fs'
import { Command } from 'commander'
import { CallError, ConfigError } from '../../errors.js'
import { readLines } from '../../service/lines.js'

interface Flags {
  readonly file: string
  readonly json?: boolean
}

interface Step {
  readonly at: number
  readonly traceId: string
  readonly unit?: string
  readonly id?: string
  readonly event?: string
  readonly facts?: Readonly<Record<string, unknown>>
}

export const traceCommand = (): Command =>
  new Command('trace')
    .description('Print the steps of one message from a trace file (signal monitor --trace).')
    .argument('<message>', 'correlation id, recipientId/messageId, or the message’s timestamp')
    .requiredOption('--file <file>', 'the trace file')
    .option('--json', 'steps as JSON lines')
    .action(async (message: string, flags: Flags) => {
      const steps = await stepsOf(flags.file, message)
      if (steps.length === 0)
        throw new CallError('SIGNAL_TRACE_UNKNOWN', 'the trace has nothing of this message', {
          field: 'message',
          hint: 'the service writes it with --trace',
        })
      for (const step of steps) process.stdout.write(flags.json === true ? `${JSON.stringify(step)}\n` : text(step))
    })

/** Two passes: a message may be named by what only one of its steps says. */
const stepsOf = async (file: string, message: string): Promise<Step[]> => {
  const ids = new Set<string>()
  for await (const step of sendSteps(file)) if (names(step, message)) ids.add(step.traceId)
  const steps: Step[] = []
  for await (const step of sendSteps(file)) if (ids.has(step.traceId)) steps.push(step)
  return steps
}

const names = ({ traceId, id, facts }: Step, message: string): boolean =>
  traceId === message || `${id}/${String(facts?.['messageId'])}` === message || String(facts?.['timestamp']) === message

async function* sendSteps(file: string): AsyncGenerator<Step> {
  try {
    for await (const line of readLines(createReadStream(file), 1_048_576)) {
      if (!('text' in line)) continue
      const step = parse(line.text)
      if (step?.unit === 'signal.send') yield step
    }
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the trace file cannot be read', { field: file, cause })
  }
}

// The last line of a file that is being written may be half a line.
const parse = (line: string): Step | undefined => {
  try {
    return JSON.parse(line) as Step
  } catch {
    return undefined
  }
}

const text = ({ at, event, facts = {} }: Step): string => {
  const { messageId: _, ...rest } = facts
  const told = Object.entries(rest)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return `${new Date(at).toISOString()}  ${(event ?? '').padEnd(10)} ${told.join(', ')}\n`
}
