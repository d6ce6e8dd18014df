/** The trace of an agent (one record for each unit of work and transition) as JSON lines in a file. */
import { createWriteStream, type WriteStream } from 'node:fs'
import { once } from 'node:events'
import { ConfigError } from '../errors.js'

export interface TraceFile {
  /** Appends a record; when the disk is so slow that 16 MiB wait, records are left out and counted. */
  readonly write: (record: object) => void
  /** Resolves when nothing waits for the disk. */
  drained(): Promise<void>
  close(): Promise<void>
}

const mostWaiting = 16 * 1_048_576

/**
 * Opens the file for appending.
 *
 * @throws ConfigError CONFIG_FILE when it cannot be opened.
 */
export const openTraceFile = async (path: string): Promise<TraceFile> => {
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 })
  try {
    await once(stream, 'open')
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the trace file cannot be opened', { field: path, cause })
  }
  // A disk that is full must not end the agent: the trace ends instead.
  stream.on('error', () => {})
  return { write: recordWriter(stream), drained: () => drained(stream), close: () => end(stream) }
}

const recordWriter = (stream: WriteStream): TraceFile['write'] => {
  let leftOut = 0
  return record => {
    if (stream.destroyed) return
    if (stream.writableLength > mostWaiting) {
      leftOut += 1
      return
    }
    if (leftOut > 0) stream.write(`${JSON.stringify({ leftOut })}\n`)
    leftOut = 0
    stream.write(`${JSON.stringify(record)}\n`)
  }
}

const drained = async (stream: WriteStream): Promise<void> => {
  if (stream.writableNeedDrain) await once(stream, 'drain')
}

const end = async (stream: WriteStream): Promise<void> => {
  if (stream.destroyed) return
  const closed = once(stream, 'close')
  stream.end()
  await closed
}
