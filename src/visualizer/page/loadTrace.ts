/** Reads a trace file of any size without holding up the page. */
import { type LoadedTrace, TraceReader } from '../model/traceFile.js'

export interface LoadProgress {
  /** From 0 to 1. */
  readonly share: number
  readonly records: number
}

/** Work at a stretch, in ms; then the page has its turn. */
const stretchMs = 12
/** Characters that are looked at before the clock. */
const pieceLength = 65_536

/** Undefined when it was called off. Throws what the browser says of a file that it cannot read. */
export const loadTrace = async (
  file: Blob,
  progressed: (progress: LoadProgress) => void,
  signal: AbortSignal,
): Promise<LoadedTrace | undefined> => {
  const trace = new TraceReader()
  const chunks = file.stream().getReader()
  const decoder = new TextDecoder()
  let bytes = 0
  let since = performance.now()
  const take = async (text: string): Promise<void> => {
    for (let from = 0; from < text.length; from += pieceLength) {
      trace.push(text.slice(from, from + pieceLength))
      if (performance.now() - since < stretchMs) continue
      progressed({ share: file.size === 0 ? 1 : bytes / file.size, records: trace.count })
      await new Promise(resolve => setTimeout(resolve))
      if (signal.aborted) return
      since = performance.now()
    }
  }
  try {
    for (;;) {
      const { done, value } = await chunks.read()
      if (signal.aborted) return undefined
      if (done) break
      bytes += value.length
      await take(decoder.decode(value, { stream: true }))
      if (signal.aborted) return undefined
    }
  } finally {
    void chunks.cancel()
  }
  trace.push(decoder.decode())
  return trace.end()
}
