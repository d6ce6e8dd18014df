/** The log of a command: pino, to stderr, so that stdout holds nothing but data. */
import { Option } from 'commander'
import { destination, type Logger, pino } from 'pino'

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** `--log-level`, or the environment's DUOLOGUE_LOG. */
export const logLevelOption = (): Option =>
  new Option('--log-level <level>', 'what to log on stderr').choices(levels).default('warn').env('DUOLOGUE_LOG')

/** A logger that writes at once, so that the last words of a process that fails are there. */
export const createLogger = (level: string): Logger => pino({ level, base: null }, destination({ fd: 2, sync: true }))
