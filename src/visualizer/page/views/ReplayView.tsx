/** A trace file, read in the page and looked at moment by moment. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { LoadedTrace } from '../../model/traceFile.js'
import { type LoadProgress, loadTrace } from '../loadTrace.js'
import { Scrubber } from '../parts/Scrubber.js'

interface Loaded {
  readonly name: string
  readonly trace: LoadedTrace
}

// What was loaded stays while the reader looks at other views.
let loaded: Loaded | undefined

type Loading = { readonly name: string } & LoadProgress

export const ReplayView = (): JSX.Element => {
  const [file, setFile] = useState(loaded)
  const [loading, setLoading] = useState<Loading | undefined>(undefined)
  const [problem, setProblem] = useState('')
  const work = useRef<AbortController | undefined>(undefined)
  useEffect(() => () => work.current?.abort(), [])
  const stop = (): void => {
    work.current?.abort()
    setLoading(undefined)
  }
  const load = async (chosen: File | undefined): Promise<void> => {
    if (chosen === undefined) return
    stop()
    const { signal } = (work.current = new AbortController())
    const { name } = chosen
    setProblem('')
    setLoading({ name, share: 0, records: 0 })
    try {
      const trace = await loadTrace(chosen, progress => !signal.aborted && setLoading({ name, ...progress }), signal)
      if (trace === undefined || signal.aborted) return
      setLoading(undefined)
      if (trace.table.length === 0) setProblem(noRecords(name, trace))
      else setFile((loaded = { name, trace }))
    } catch (error) {
      if (signal.aborted) return
      setLoading(undefined)
      setProblem(`${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const close = (): void => {
    loaded = undefined
    setFile(undefined)
  }
  return (
    <div
      class="drop"
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault()
        void load(event.dataTransfer?.files[0])
      }}
    >
      {file !== undefined && loading === undefined ? (
        <Scrubber key={file.name} name={file.name} trace={file.trace} close={close} />
      ) : (
        <div class="page ready">
          <h1>Replay a trace</h1>
          <p class="soft">
            <code>duologue agent --trace file.jsonl …</code> writes one JSON line for each unit of work and transition;
            a simulation that fails writes one too. The file stays in this page.
          </p>
          {loading === undefined ? (
            <label class="file">
              <input
                type="file"
                aria-label="Trace file"
                accept=".jsonl,.json,.ndjson,.log,.txt"
                onChange={event => void load(event.currentTarget.files?.[0])}
              />
              Choose a file, or drop it here
            </label>
          ) : (
            <Progress loading={loading} stop={stop} />
          )}
          {problem !== '' && (
            <p class="note bad" role="alert">
              {problem}
            </p>
          )}
        </div>
      )}
    </div>
  )
}

const noRecords = (name: string, { bad: [first] }: LoadedTrace): string =>
  `${name} holds no trace records${first === undefined ? '' : `: line ${first.line}, ${first.why}`}.`

const Progress = ({
  loading: { name, share, records },
  stop,
}: {
  readonly loading: Loading
  readonly stop: () => void
}): JSX.Element => (
  <div class="file" role="status">
    <p>
      Reading {name}: {Math.floor(share * 100)} %, {records.toLocaleString('en')} records
    </p>
    <progress value={share} aria-label="Read so far" />
    <p>
      <button type="button" onClick={stop}>
        Cancel
      </button>
    </p>
  </div>
)
