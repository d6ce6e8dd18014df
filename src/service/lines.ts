/** Text lines over byte streams, with a bound on what is kept in either direction. */
import type { Readable, Writable } from 'node:stream'
import { TransportError } from '../errors.js'

/** A line without its end, or what stands for a line that cannot be used. */
export type Line = { readonly text: string } | { readonly problem: 'tooLong' | 'notUtf8' }

const newline = 0x0a
const carriageReturn = 0x0d
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The lines of a stream. A line longer than `maxLength` bytes is dropped as it comes in, and reported once it has ended;
 * reading goes on after it. Empty lines are left out; a last line needs no end.
 */
export async function* readLines(input: Readable, maxLength: number): AsyncGenerator<Line> {
  let parts: Buffer[] = []
  let length = 0
  const take = (): Line | undefined => {
    const line = length > maxLength ? ({ problem: 'tooLong' } as const) : decode(Buffer.concat(parts))
    parts = []
    length = 0
    return line
  }
  const add = (part: Buffer): void => {
    length += part.length
    if (length > maxLength) parts = []
    else parts.push(part)
  }
  for await (const chunk of input as AsyncIterable<Buffer | string>) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline)) {
      add(rest.subarray(0, end))
      rest = rest.subarray(end + 1)
      const line = take()
      if (line !== undefined) yield line
    }
    add(rest)
  }
  const last = take()
  if (last !== undefined) yield last
}

const decode = (bytes: Buffer): Line | undefined => {
  const line = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes
  if (line.length === 0) return undefined
  try {
    return { text: strictUtf8.decode(line) }
  } catch {
    return { problem: 'notUtf8' }
  }
}

/** Writes whole lines and tells when the reader has room again. */
export interface LineWriter {
  /**
   * Writes a line; resolves when the stream takes more, so that a writer that waits keeps at most one line and the
   * stream's own buffer.
   *
   * @throws TransportError TRANSPORT_BROKEN when the stream has failed or ended, as when its reader is gone.
   */
  write(line: string): Promise<void>
  /** Aborted when the stream fails or ends. */
  readonly ended: AbortSignal
}

export const createLineWriter = (output: Writable): LineWriter => {
  const ended = new AbortController()
  let room: { promise: Promise<void>; resolve: () => void } | undefined
  const release = (): void => {
    room?.resolve()
    room = undefined
  }
  const end = (): void => {
    ended.abort()
    release()
  }
  output.on('drain', release).on('close', end).on('error', end)
  const waitForRoom = (): Promise<void> => {
    if (room === undefined) {
      let resolve = (): void => {}
      const promise = new Promise<void>(done => {
        resolve = done
      })
      room = { promise, resolve }
    }
    return room.promise
  }
  return {
    ended: ended.signal,
    write: async line => {
      if (!ended.signal.aborted && !output.write(`${line}\n`)) await waitForRoom()
      if (ended.signal.aborted || output.destroyed) {
        throw new TransportError('TRANSPORT_BROKEN', 'the reader of the output is gone', { field: 'output' })
      }
    },
  }
}
