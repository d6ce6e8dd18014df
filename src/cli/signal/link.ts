/** `duologue signal link`: becomes a linked device; the link is shown as text and as a QR code. */
import { Command } from 'commander'
import { createLogger } from '../log.js'
import { catchStopSignals } from '../signals.js'
import { type ServerFlags, serverOf, storeOf, withServerOptions, withStoreOptions } from './options.js'

interface Flags extends ServerFlags {
  readonly name: string
}

export const linkCommand = (): Command =>
  withServerOptions(withStoreOptions(new Command('link')))
    .description('Link this database as a new device of a Signal account: scan the code with the primary device.')
    .option('--name <name>', 'how the device is called in the list of linked devices', 'duologue')
    .action(async (flags: Flags, command: Command) => {
      const store = storeOf(flags, command)
      const stop = catchStopSignals()
      const { openSignal } = await import('../../signal/index.js')
      const { renderUnicodeCompact } = await import('uqr')
      const signal = await openSignal({ store, server: await serverOf(flags), logger: createLogger(flags.logLevel) })
      try {
        const account = await signal.link({
          deviceName: flags.name,
          signal: stop.signal,
          onLink: link => {
            if (flags.json === true) process.stdout.write(`${JSON.stringify({ link })}\n`)
            else
              process.stdout.write(
                `${forScreen(renderUnicodeCompact(link, { border: 2 }), process.stdout.isTTY)}\n\n${link}\n\nScan it with the primary device: Settings, Linked devices. It is good for ten minutes; Ctrl-C ends the wait.\n`,
              )
          },
        })
        const { aci, e164, deviceId } = account
        process.stdout.write(
          flags.json === true
            ? `${JSON.stringify(account)}\n`
            : `Linked as device ${deviceId} of ${e164 ?? aci}.\nNext: duologue signal monitor, with the same options, is its service; duologue signal send goes through it.\n`,
        )
      } finally {
        await signal.close()
        stop.release()
      }
    })

/** A code whose blocks are its light modules: on a terminal it must be white on black, whatever colours that has otherwise. */
export const forScreen = (code: string, isTerminal: boolean): string =>
  isTerminal ? code.replace(/^.+$/gm, line => `\u001B[40;97m${line}\u001B[0m`) : code
