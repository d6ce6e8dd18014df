/** `duologue signal monitor`: the long-running service. It holds the sockets, prints events, and serves send and send-loop. */
import { Command } from 'commander'
import { CallError } from '../../errors.js'
import { toJson } from '../../service/json.js'
import type { Signal, SignalEvent } from '../../signal/index.js'
import { createLogger } from '../log.js'
import { catchStopSignals } from '../signals.js'
import { openTraceFile } from '../traceFile.js'
import { serveControl } from './control.js'
import { controlOf, type ServerFlags, serverOf, storeOf, withServerOptions, withStoreOptions } from './options.js'

interface Flags extends ServerFlags {
  readonly consumer: string
  readonly certificate: string
}

export const monitorCommand = (): Command =>
  withServerOptions(withStoreOptions(new Command('monitor')))
    .description('Run the Signal service: keep the sockets open, print every event as a JSON line, take sends.')
    .option('--consumer <name>', 'name under which events are read and acknowledged', 'default')
    .option('--certificate <kind>', 'sender certificate: e164 or uuidOnly', 'e164')
    .action(async (flags: Flags, command: Command) => {
      const store = storeOf(flags, command)
      const control = controlOf(flags, command)
      if (flags.certificate !== 'e164' && flags.certificate !== 'uuidOnly')
        command.error('error: --certificate is e164 or uuidOnly')
      const stop = catchStopSignals()
      const trace = flags.trace === undefined ? undefined : await openTraceFile(flags.trace)
      try {
        const { openSignal } = await import('../../signal/index.js')
        const signal = await openSignal({
          store,
          server: await serverOf(flags),
          logger: createLogger(flags.logLevel),
          config: { certificate: flags.certificate },
          ...(trace === undefined ? {} : { trace: trace.write }),
        })
        try {
          await serve(signal, control, flags.consumer, stop.signal)
        } finally {
          await signal.close()
        }
      } finally {
        await trace?.close()
        stop.release()
      }
    })

const serve = async (signal: Signal, path: string, consumer: string, stop: AbortSignal): Promise<void> => {
  const account = signal.account()
  if (account === undefined)
    throw new CallError('SIGNAL_NOT_LINKED', 'no account is linked', { field: 'db', hint: 'duologue signal link' })
  if (account.status !== 'linked') throw loggedOut()
  const control = await serveControl(signal, path)
  try {
    for await (const one of signal.events({ consumer, signal: stop })) {
      const event = one as unknown as SignalEvent
      control.heard(event)
      if (!process.stdout.write(`${JSON.stringify(toJson(event))}\n`)) await drained()
      await signal.ackEvents({ consumer, cursor: event.cursor })
      // An event of before it was linked again says nothing of now.
      if (event.type === 'HEALTH' && event.state === 'loggedOut' && signal.health().state === 'loggedOut')
        throw loggedOut()
    }
  } finally {
    await control.close()
  }
}

const loggedOut = (): CallError =>
  new CallError('SIGNAL_LOGGED_OUT', 'the server does not know this device any more', {
    field: 'account',
    hint: 'link it again: duologue signal link',
  })

const drained = (): Promise<void> => new Promise(resolve => process.stdout.once('drain', () => resolve()))
