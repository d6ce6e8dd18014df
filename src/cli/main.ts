#!/usr/bin/env node
/** The command `duologue`: each command is a file of this folder. */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { agentCommand } from './agent.js'
import { demoCommand } from './demo.js'
import { reportFailure } from './failure.js'
import { reviewCommand } from './review.js'
import { routerCommand } from './router.js'
import { signalCommand } from './signal.js'
import { visualizeCommand } from './visualize.js'

const createProgram = (): Command => {
  const program = new Command('duologue')
    .description('Private, end-to-end encrypted, durable, duplex connections over SMP routers and Signal.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('(add --help for the options)')
  const commands = [
    demoCommand(),
    agentCommand(),
    routerCommand(),
    signalCommand(),
    visualizeCommand(),
    reviewCommand(),
  ]
  for (const command of commands) program.addCommand(command)
  for (const command of allCommands(program)) command.exitOverride()
  return program
}

const version = (): string => {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

const allCommands = (command: Command): Command[] => [command, ...command.commands.flatMap(allCommands)]

const fail = (error: unknown): number => reportFailure(error, process.argv.includes('--json'), process.stderr)

process.on('uncaughtException', error => {
  process.exit(fail(error))
})
try {
  await createProgram().parseAsync()
} catch (error) {
  process.exitCode = fail(error)
}
// Everything is closed by now; a handle that is left over must not keep the process.
setTimeout(() => process.exit(), 2000).unref()
