/** `duologue signal`: a Signal account as a linked device. Nothing of it is loaded by the other commands. */
import { Command } from 'commander'
import { linkCommand } from './signal/link.js'
import { monitorCommand } from './signal/monitor.js'
import { sendCommand, sendLoopCommand } from './signal/send.js'
import { traceCommand } from './signal/trace.js'

export const signalCommand = (): Command =>
  new Command('signal')
    .description('Link a Signal account, run its service, send through it (docs/SIGNAL.md).')
    .addCommand(linkCommand())
    .addCommand(monitorCommand())
    .addCommand(sendCommand())
    .addCommand(sendLoopCommand())
    .addCommand(traceCommand())
