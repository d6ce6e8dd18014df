/** The results as a table for people, and as one object for programs. */
import { cpus, loadavg, totalmem } from 'node:os'
import type { EndToEndResult, OneWayResult } from './endToEnd/scenarios.js'
import { type Figure, round } from './measure.js'
import type { Floor, Results } from './suites.js'

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGb: number
  readonly node: string
  readonly platform: string
  /** Processes that ran or wanted to, over the last minute: above 1 something else is being measured too. */
  readonly loadAtStart: number
}

const loadAtStart = round(loadavg()[0] ?? 0)

export const machine = (): Machine => ({
  cores: cpus().length,
  cpu: cpus()[0]?.model ?? 'unknown',
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.versions.node,
  platform: `${process.platform} ${process.arch}`,
  loadAtStart,
})

/** A one-way rate as a share of each floor of the same run: 1 would be as fast as the floor alone. */
export interface Ratios {
  readonly store: string
  readonly connections: number
  /** Of the TLS blocks that another process echoes per second. */
  readonly tls?: number
  /** Of the messages per second whose cryptography alone one thread could do. */
  readonly crypto?: number
  /** Of one durable transaction after the other, and of merged ones. */
  readonly commits?: number
  readonly mergedCommits?: number
}

export const ratiosOf = (floor: Floor, results: readonly EndToEndResult[]): Ratios[] =>
  results.flatMap(result => (result.scenario === 'one-way' ? [ratioOf(floor, result)] : []))

const ratioOf = (floor: Floor, { store, connections, perSecond }: OneWayResult): Ratios => {
  const rate = perSecond.median
  const { tlsBlocks, messageCryptoUs } = floor
  const commits = store === 'postgres' ? floor.postgresCommits : store === 'pglite' ? floor.pgliteCommits : undefined
  return {
    store,
    connections,
    ...(tlsBlocks === undefined ? {} : { tls: round(rate / tlsBlocks.median) }),
    ...(messageCryptoUs === undefined ? {} : { crypto: round((rate * messageCryptoUs.median) / 1_000_000) }),
    ...(commits === undefined
      ? {}
      : {
          commits: round(rate / commits.single.median),
          mergedCommits: round(rate / commits.batched.median),
        }),
  }
}

/** The whole report as plain data. */
export const asJson = (results: Results, quick: boolean): object => ({
  machine: machine(),
  quick,
  ...results,
  ratios: ratiosOf(results.floor, results.endToEnd),
})

/** The whole report as text. */
export const asText = (results: Results): string => {
  const { cores, cpu, memoryGb, node, loadAtStart } = machine()
  const sections = [
    `${cores} cores (${cpu}), ${memoryGb} GB, Node ${node}, load at the start ${loadAtStart}`,
    section('Microbenchmarks', ['', 'µs', 'per second'], microRows(results)),
    section('Floors', ['', 'median', 'min', 'max'], floorRows(results.floor)),
    section(
      'End to end, one way (1 KB, acknowledged, at most 64 undelivered per connection)',
      ['', 'messages/s', 'min', 'max', 'CPU µs: sender', 'router', 'receiver', 'of TLS', 'of crypto', 'of commits'],
      oneWayRows(results),
    ),
    section('End to end, ping-pong round trip', ['', 'p50 ms', 'p99 ms'], pingPongRows(results)),
    section(
      'The same through a proxy, in turns with directly',
      ['', 'messages/s', 'min', 'max', 'directly', 'min', 'max', 'ratio'],
      privateRows(results),
    ),
    section(
      'One body of 15 KB to many connections: one call, in turns with one for each',
      ['', 'ms', 'min', 'max', 'blocked ms', 'singly ms', 'min', 'max', 'blocked ms', 'ratio'],
      fanOutRows(results),
    ),
    section(
      'Subscribing everything on one router, after a start',
      ['', 'ms', 'min', 'max', 'per second', 'CPU µs each', 'blocked ms', 'held bytes each', 'peak RSS MB'],
      subscribeRows(results),
    ),
    section('Signal', ['', 'median', 'min', 'max', 'of libsignal alone'], signalRows(results)),
    ...results.skipped.map(text => `Skipped: ${text}`),
  ]
  return `${sections.filter(text => text !== '').join('\n\n')}\n`
}

const signalRows = ({ signal }: Results): string[][] => {
  if (signal === undefined) return []
  const { ceilingPerSecond, sends, requestsPerSend, bytesPerRecipient, deadSocketMs, deadSocketBoundMs } = signal
  const row = (name: string, value: Figure, more: readonly string[] = []): string[] => [
    name,
    ...[value.median, value.min, value.max].map(figure),
    ...more,
  ]
  return [
    row('libsignal alone, messages/s to 4 devices, sealed', ceilingPerSecond),
    ...sends.map(({ store, perSecond, ofCeiling }) =>
      row(`sends/s to 4 devices, sealed, ${store}`, perSecond, [figure(ofCeiling)]),
    ),
    ['requests of a send with known devices: message, transcript, keys', Object.values(requestsPerSend).join(' + ')],
    ['bytes of memory for a recipient with 4 devices', figure(bytesPerRecipient)],
    row(`dead socket found, ms (at most ${deadSocketBoundMs})`, deadSocketMs),
  ]
}

const microRows = ({ micro }: Results): string[][] =>
  micro.map(({ name, us, perSecond }) => [name, figure(us.median), figure(perSecond)])

const floorRows = (floor: Floor): string[][] => {
  const row = (name: string, value: Figure | undefined): string[][] =>
    value === undefined ? [] : [[name, figure(value.median), figure(value.min), figure(value.max)]]
  return [
    ...row('TLS blocks/s, echo, 64 in flight', floor.tlsBlocks),
    ...row('crypto of one message in all three processes, µs', floor.messageCryptoUs),
    ...row('Postgres, messages/s, a commit each', floor.postgresCommits?.single),
    ...row('Postgres, messages/s, 100 a commit', floor.postgresCommits?.batched),
    ...row('PGlite, messages/s, a commit each', floor.pgliteCommits?.single),
    ...row('PGlite, messages/s, 100 a commit', floor.pgliteCommits?.batched),
  ]
}

const oneWayRows = ({ endToEnd, floor }: Results): string[][] =>
  endToEnd.flatMap(result => {
    if (result.scenario !== 'one-way') return []
    const { store, connections, perSecond, cpuUs } = result
    const { tls, crypto, commits } = ratioOf(floor, result)
    const cpu = ['sender', 'router', 'receiver'].map(name => cpuUs[name])
    const cells = [perSecond.median, perSecond.min, perSecond.max, ...cpu, tls, crypto, commits]
    return [[`${store}, ${connections} connections`, ...cells.map(figure)]]
  })

const pingPongRows = ({ endToEnd }: Results): string[][] =>
  endToEnd.flatMap(result =>
    result.scenario === 'ping-pong' ? [[result.store, figure(result.p50Ms.median), figure(result.p99Ms.median)]] : [],
  )

const privateRows = ({ endToEnd }: Results): string[][] =>
  endToEnd.flatMap(result => {
    if (result.scenario !== 'private') return []
    const { store, connections, proxiedPerSecond: proxied, directPerSecond: direct, ratio } = result
    const cells = [proxied.median, proxied.min, proxied.max, direct.median, direct.min, direct.max, ratio]
    return [[`${store}, ${connections} connections`, ...cells.map(figure)]]
  })

const fanOutRows = ({ endToEnd }: Results): string[][] =>
  endToEnd.flatMap(result => {
    if (result.scenario !== 'fan-out') return []
    const { store, connections, ratio } = result
    const cells = [result.together, result.singly].flatMap(({ ms, blockedMs }) => [
      ms.median,
      ms.min,
      ms.max,
      blockedMs.median,
    ])
    return [[`${store}, ${connections} connections`, ...[...cells, ratio].map(figure)]]
  })

const subscribeRows = ({ subscribe }: Results): string[][] =>
  subscribe.map(({ store, connections, ms, perSecond, cpuUs, blockedMs, heldBytes, peakRssMb }) => {
    const cells = [ms.median, ms.min, ms.max, perSecond, cpuUs, blockedMs.median, heldBytes.median, peakRssMb.median]
    return [`${store}, ${connections.toLocaleString('en-US')} connections`, ...cells.map(figure)]
  })

const figure = (value: number | undefined): string => (value === undefined ? '' : value.toLocaleString('en-US'))

/** A headed table; empty without rows. */
export const section = (title: string, header: readonly string[], rows: readonly string[][]): string => {
  if (rows.length === 0) return ''
  const lines = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length)))
  const text = lines.map(line =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
  return [title, ...text].join('\n')
}
