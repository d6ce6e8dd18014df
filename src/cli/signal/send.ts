/** `duologue signal send` and `send-loop`: through the running service, so that it is its sockets that are tried. */
import { setTimeout as wait } from 'node:timers/promises'
import { Command } from 'commander'
import { CallError } from '../../errors.js'
import { catchStopSignals } from '../signals.js'
import { type ControlClient, connectControl, type SendResult } from './control.js'
import { controlOf, count, milliseconds, type StoreFlags, withStoreOptions } from './options.js'

interface SendFlags extends StoreFlags {
  readonly to: string
  readonly text: string
}

interface LoopFlags extends SendFlags {
  readonly count: number
  readonly interval: number
}

const withMessage = (command: Command): Command =>
  withStoreOptions(command)
    .requiredOption('--to <recipient>', 'recipient: ACI, PNI:…, a known number, or a recipientId')
    .requiredOption('--text <text>', 'the text')

export const sendCommand = (): Command =>
  withMessage(new Command('send'))
    .description('Send a message through the running service; the exit code is 0 when the server has it.')
    .action(async (flags: SendFlags, command: Command) => {
      const client = await connectControl(controlOf(flags, command))
      try {
        const result = await client.call<SendResult>('send', { to: flags.to, text: flags.text })
        process.stdout.write(line(result, flags))
        if (result.outcome === 'failed') throw failedSend([result])
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
        const results = await loop(client, flags, stop.signal)
        process.stdout.write(summary(results, flags))
        const failed = results.filter(({ outcome }) => outcome === 'failed')
        if (failed.length > 0) throw failedSend(failed)
      } finally {
        client.close()
        stop.release()
      }
    })

const loop = async (client: ControlClient, flags: LoopFlags, stop: AbortSignal): Promise<SendResult[]> => {
  const results: SendResult[] = []
  for (let index = 1; index <= flags.count && !stop.aborted; index++) {
    const result = await client.call<SendResult>('send', { to: flags.to, text: `${flags.text} ${index}` })
    results.push(result)
    process.stdout.write(line(result, flags))
    if (index < flags.count) await wait(flags.interval, undefined, { signal: stop }).catch(() => {})
  }
  return results
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
  const sent = results.filter(({ outcome }) => outcome === 'sent').length
  const facts = { sent, failed: results.length - sent, p50Ms: at(0.5), p99Ms: at(0.99) }
  return json === true
    ? `${JSON.stringify(facts)}\n`
    : `${sent} sent, ${facts.failed} failed; half within ${facts.p50Ms} ms, 99 % within ${facts.p99Ms} ms\n`
}

const failedSend = (results: readonly SendResult[]): CallError => {
  const {
    code = 'SIGNAL_FAILED',
    message = 'the message was not sent',
    hint,
  } = (results[0]?.error ?? {}) as {
    code?: string
    message?: string
    hint?: string
  }
  return new CallError(code, message, { facts: { failed: results.length }, ...(hint === undefined ? {} : { hint }) })
}
