/** Options that the commands of `duologue signal` share. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { AgentOptions } from '../../agent/openAgent.js'
import { ConfigError } from '../../errors.js'
import type { SignalServer } from '../../signal/index.js'
import { logLevelOption } from '../log.js'

export interface StoreFlags {
  readonly db?: string
  readonly databaseUrl?: string
  readonly schema?: string
  readonly control?: string
  readonly json?: boolean
  readonly logLevel: string
}

export interface ServerFlags extends StoreFlags {
  readonly server?: string
  readonly ca?: string
  readonly trustRoot: readonly string[]
  readonly trace?: string
}

/** Where the account is, and where its service listens. */
export const withStoreOptions = (command: Command): Command =>
  command
    .option('--db <dir>', 'the account is in an embedded database in this directory')
    .option('--database-url <url>', 'the account is in this Postgres')
    .option('--schema <name>', 'schema of the Postgres database')
    .option('--control <path>', 'socket of the running service; default: signal.sock in the directory')
    .option('--json', 'nothing but JSON on stdout, and errors as JSON')
    .addOption(logLevelOption())

/** Which server it is: Signal’s own unless told otherwise. */
export const withServerOptions = (command: Command): Command =>
  command
    .option('--server <url>', 'https:// address of the server')
    .option('--ca <file>', 'certificate authority of the server, PEM')
    .option('--trust-root <key>', 'key that signs sender certificates, base64 (repeatable)', collect, [])
    .option('--trace <file>', 'append every unit of work, transition and step of a send to this file, as JSON lines')

const collect = (value: string, previous: readonly string[]): string[] => [...previous, value]

export const count = (text: string): number => {
  const value = /^\d+$/.test(text) ? Number(text) : 0
  if (value < 1 || !Number.isSafeInteger(value)) throw new InvalidArgumentError('a number from 1 on')
  return value
}

export const milliseconds = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('milliseconds')
  return Number(text)
}

export const storeOf = ({ db, databaseUrl, schema }: StoreFlags, command: Command): AgentOptions['store'] => {
  if (databaseUrl !== undefined && db === undefined) return { databaseUrl, ...(schema === undefined ? {} : { schema }) }
  if (schema !== undefined) return command.error('error: --schema goes with --database-url')
  if (db === undefined || databaseUrl !== undefined) return command.error('error: give one of --db and --database-url')
  return { directory: db }
}

/** The socket over which a running service is reached. */
export const controlOf = ({ control, db }: StoreFlags, command: Command): string => {
  if (control !== undefined) return control
  return db === undefined
    ? command.error('error: with --database-url say where the service listens: --control')
    : join(db, 'signal.sock')
}

/** Throws ConfigError CONFIG_FILE for an authority that cannot be read. */
export const serverOf = async ({ server, ca, trustRoot }: ServerFlags): Promise<SignalServer> => {
  const { signalProduction } = await import('../../signal/index.js')
  const known = server === undefined ? signalProduction : { url: server, trustRoots: [] }
  return {
    ...known,
    trustRoots: trustRoot.length === 0 ? known.trustRoots : trustRoot,
    ...(ca === undefined ? {} : { ca: await readAuthority(ca) }),
  }
}

const readAuthority = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the certificate authority cannot be read', { field: path, cause })
  }
}
