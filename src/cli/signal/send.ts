/** `duologue signal send` and `send-loop`: through the running service, so that it is its sockets that are tried. */
import { setTimeout as wait } from 'node:timers/promises'
import { Command } from 'commander'
import { CallError } from '../../errors.js'
import { catchStopSignals } from '../signals.js'
import { type ControlClient, type ControlSend, connectControl, type SendResult } from './control.js'
import { controlOf, count, milliseconds, type StoreFlags, withStoreOptions } from './options.js'

interface SendFlags extends StoreFlags {
  readonly to: string
  readonly text: string
  readonly wait: number
}

interface LoopFlags extends SendFlags {
  readonly count: number
  readonly interval: number
}

const withMessage = (command: Command): Command =>
  withStoreOptions(command)
    .requiredOption('--to <recipient>', 'recipient: ACI, PNI:…, a known number, or a recipientId')
    .requiredOption('--text <text>', 'the text')
    .option('--wait <seconds>', 'how long to wait until the server has it; it is sent later all the same', count, 60)

export const sendCommand = (): Command =>
  withMessage(new Command('send'))
    .description('Send a message through the running service; the exit code is 0 when the server has it.')
    .action(async (flags: SendFlags, command: Command) => {
      const client = await connectControl(controlOf(flags, command))
      try {
        const result = await send(client, flags, flags.text)
        process.stdout.write(line(result, flags))
        if (result.outcome !== 'sent') throw notSent([result])
      } finally {
        client.close()
      }
    })

export const sendLoopCommand = (): Command =>
  withMessage(new Command('send-loop'))
    .description('Send numbered messages through the running service, one after the other, and say how it went.')
    .option('--count <n>', 'how many', count, 10)
    .option('--interval <ms>', 'pause between two, in milliseconds', milliseconds, 1_000)
    .action(async (flags: LoopFlags, command: Command) => {
      const stop = catchStopSignals()
      const client = await connectControl(controlOf(flags, command))
      try {
        const results: SendResult[] = []
        try {
          await loop(client, flags, stop.signal, results)
        } finally {
          // Also when the service ends in the middle.
          process.stdout.write(summary(results, flags))
        }
        const others = results.filter(({ outcome }) => outcome !== 'sent')
        if (others.length > 0) throw notSent(others)
      } finally {
        client.close()
        stop.release()
      }
    })

const send = (client: ControlClient, { to, wait: seconds }: SendFlags, text: string): Promise<SendResult> =>
  client.call<SendResult>('send', { to, text, waitMs: seconds * 1_000 } satisfies ControlSend)

const loop = async (
  client: ControlClient,
  flags: LoopFlags,
  stop: AbortSignal,
  results: SendResult[],
): Promise<void> => {
  for (let index = 1; index <= flags.count && !stop.aborted; index++) {
    const result = await send(client, flags, `${flags.text} ${index}`)
    results.push(result)
    process.stdout.write(line(result, flags))
    if (index < flags.count) await wait(flags.interval, undefined, { signal: stop }).catch(() => {})
  }
}

const line = (result: SendResult, { json }: StoreFlags): string => {
  if (json === true) return `${JSON.stringify(result)}\n`
  const { recipientId, messageId, timestamp, outcome, sealed, tookMs } = result
  const way = sealed === true ? ' sealed' : sealed === false ? ' identified' : ''
  return `${recipientId}/${messageId} at ${timestamp}: ${outcome}${way} in ${tookMs} ms\n`
}

const summary = (results: readonly SendResult[], { json }: StoreFlags): string => {
  const took = results.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(share * took.length))] ?? 0
  const count = (which: SendResult['outcome']): number => results.filter(({ outcome }) => outcome === which).length
  const [sent, failed, waiting] = [count('sent'), count('failed'), count('waiting')]
  const facts = { sent, failed, waiting, p50Ms: at(0.5), p99Ms: at(0.99) }
  return json === true
    ? `${JSON.stringify(facts)}\n`
    : `${sent} sent, ${failed} failed, ${waiting} waiting; half within ${facts.p50Ms} ms, 99 % within ${facts.p99Ms} ms\n`
}

const notSent = (results: readonly SendResult[]): CallError => {
  const failed = results.find(({ outcome }) => outcome === 'failed')
  const { code, message, hint } = ((failed ?? results[0])?.error as Partial<Record<string, string>> & object) ?? {}
  const facts = { failed: results.filter(({ outcome }) => outcome === 'failed').length }
  if (failed === undefined)
    return new CallError('SIGNAL_WAITING', `the message waits: ${message ?? 'the server cannot be reached'}`, {
      facts: { waiting: results.length, ...(code === undefined ? {} : { reason: code }) },
      hint: 'it is stored, and sent as soon as it can be; the events of duologue signal monitor tell of it',
    })
  return new CallError(code ?? 'SIGNAL_FAILED', message ?? 'the message was not sent', {
    facts,
    ...(hint === undefined ? {} : { hint }),
  })
}
