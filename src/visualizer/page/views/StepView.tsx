/** A machine walked by hand: what can happen here, what it leads to, and why not. */
import type { JSX } from 'preact'
import { useLayoutEffect, useMemo, useState } from 'preact/hooks'
import type { AnyEventObject } from 'xstate'
import { textOf } from '../../model/chart.js'
import {
  begin,
  enteredPaths,
  replay,
  runtimeGuards,
  type Simulation,
  type Start,
  statePath,
} from '../../model/simulate.js'
import { readWalk, walkText } from '../../model/walkLink.js'
import { type KnownMachine, knownMachines, machineOf } from '../charts.js'
import { Canvas } from '../diagram/Canvas.js'
import { Diagram } from '../diagram/Diagram.js'
import { CopyLink } from '../parts/CopyLink.js'
import { Missing } from '../parts/Missing.js'
import { parseEvent, Possibilities } from '../parts/Possibilities.js'
import { go, hrefOf, type Route } from '../route.js'
import { useLayout } from '../useLayout.js'

export const StepView = ({ route }: { readonly route: Route }): JSX.Element => {
  const known = machineOf(route.subject) ?? (route.subject === '' ? knownMachines[0] : undefined)
  return known === undefined ? (
    <Missing what={`There is no machine ${route.subject}.`} />
  ) : (
    <Stepper key={known.name} known={known} route={route} />
  )
}

interface StepperProps {
  readonly known: KnownMachine
  readonly route: Route
}

/** The walk that an address names; a broken one begins anew and says so. */
const fromRoute = (known: KnownMachine, route: Route): { simulation: Simulation; broken: boolean } => {
  const text = route.query.get('walk') ?? ''
  const walk = readWalk(text)
  const start: Start = route.detail === '' ? {} : { state: route.detail }
  try {
    if (walk !== undefined) return { simulation: replay(known, known.chart, walk.start, walk.events), broken: false }
    return { simulation: begin(known, known.chart, start), broken: text !== '' }
  } catch {
    return { simulation: begin(known, known.chart), broken: true }
  }
}

const Stepper = ({ known, route }: StepperProps): JSX.Element => {
  const { chart, name } = known
  const layout = useLayout(chart)
  const text = route.query.get('walk') ?? ''
  const { simulation, broken } = useMemo(() => fromRoute(known, route), [known, text, route.detail])
  const { steps, start, snapshot } = simulation
  const last = steps.at(-1)
  const entered = enteredPaths(snapshot)
  const path = statePath(snapshot)
  const walkTo = (start: Start, events: readonly AnyEventObject[]): void =>
    go(hrefOf('step', name, '', { walk: walkText({ start, events }) }))
  const events = steps.map(({ event }) => event)
  const send = (event: AnyEventObject): void => walkTo(start, [...events, event])
  const back = (count: number): void => walkTo(start, events.slice(0, count))
  const taken = useMemo(() => new Set(last?.taken ?? []), [last])
  const focus = layout?.states.find(({ state }) => state.path === path.split(',')[0])
  // Before the next key: an effect after the paint would still know the step before.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if ((event.ctrlKey || event.metaKey) && event.key === 'z' && events.length > 0) {
        event.preventDefault()
        back(events.length - 1)
      }
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  })
  return (
    <div class="split wide">
      {layout === undefined ? (
        <div class="canvas" aria-busy="true" />
      ) : (
        <Canvas
          label={`Walk through ${name}`}
          width={layout.width}
          height={layout.height}
          start={layout.start}
          landmarks={layout.leaves}
          focus={focus}
        >
          <Diagram
            layout={layout}
            active={entered}
            taken={taken}
            onState={state => {
              if (chart.states.some(one => one.path === state && one.children.length === 0))
                walkTo({ ...start, state }, [])
            }}
          />
        </Canvas>
      )}
      <aside class="panel" aria-label="The walk">
        <h1>
          <small>{name}</small>
          <span aria-live="polite">{path}</span>
        </h1>
        <p class="lead soft">{chart.states.find(state => state.path === path)?.description}</p>
        <div class="row" style="margin-top:10px">
          <button type="button" disabled={steps.length === 0} onClick={() => back(steps.length - 1)}>
            Undo
          </button>
          <button type="button" disabled={steps.length === 0} onClick={() => walkTo(start, [])}>
            Start again
          </button>
          <CopyLink />
        </div>
        {broken && <p class="note bad">The link holds a walk that this machine cannot take; it begins anew.</p>}
        <RuntimeAnswers known={known} start={start} change={next => walkTo(next, events)} />
        <h2>What can happen here</h2>
        <Possibilities simulation={simulation} known={known} send={send} />
        <h2>History</h2>
        {steps.length === 0 ? (
          <p class="empty">Send an event, or click a state to begin there.</p>
        ) : (
          <ol class="history">
            {steps.map((done, index) => (
              <li key={index}>
                <button type="button" class="plain" onClick={() => back(index + 1)} title="Go back to here">
                  <span class="event">{labelOf(known, done.event)}</span>
                  <Payload event={done.event} />
                  <span class="soft">
                    {' '}
                    → {done.taken.length === 0 ? 'nothing' : done.to === done.from ? 'stays' : done.to}
                  </span>
                </button>
                {done.blocked.map(({ guard, read }) => (
                  <BlockedBy key={guard} guard={guard} read={read} />
                ))}
                {done.actions.length > 0 && (
                  <span class="action">
                    {done.actions
                      .map(({ name, params }) => textOf({ name, params: (params ?? {}) as never }))
                      .join(', ')}
                  </span>
                )}
              </li>
            ))}
          </ol>
        )}
        {Object.keys((snapshot.context ?? {}) as object).length > 0 && (
          <>
            <h2>Context</h2>
            <ContextEditor
              key={JSON.stringify(snapshot.context)}
              context={snapshot.context}
              change={context => walkTo({ ...start, state: path, context: context as never }, [])}
            />
          </>
        )}
      </aside>
    </div>
  )
}

const labelOf = ({ chart }: KnownMachine, event: AnyEventObject): string =>
  chart.transitions.find(transition => transition.event === event.type)?.label ?? event.type

const Payload = ({ event }: { readonly event: AnyEventObject }): JSX.Element => {
  const { type: _, ...payload } = event
  const fields = Object.entries(payload)
  return (
    <span class="payload">
      {fields.map(([key, value]) => ` ${key}=${value instanceof Error ? value.message : String(value)}`).join('')}
    </span>
  )
}

const BlockedBy = ({ guard, read }: { readonly guard: string; readonly read: readonly string[] }): JSX.Element => (
  <span class="because">
    <span class="guard">[{guard}]</span> does not hold{read.length > 0 && `: it read ${read.join(', ')}`}
  </span>
)

interface RuntimeAnswersProps {
  readonly known: KnownMachine
  readonly start: Start
  readonly change: (start: Start) => void
}

/** Guards that the runtime answers: here the reader does. */
const RuntimeAnswers = ({ known, start, change }: RuntimeAnswersProps): JSX.Element | null => {
  const names = runtimeGuards(known.machine)
  if (names.length === 0) return null
  return (
    <>
      <h2>What the runtime would say</h2>
      {names.map(name => (
        <label key={name} class="row">
          <input
            type="checkbox"
            checked={start.answers?.[name] ?? false}
            onChange={event => change({ ...start, answers: { ...start.answers, [name]: event.currentTarget.checked } })}
          />
          <span class="guard">{name}</span>
        </label>
      ))}
    </>
  )
}

interface ContextEditorProps {
  readonly context: unknown
  readonly change: (context: Record<string, unknown>) => void
}

const ContextEditor = ({ context, change }: ContextEditorProps): JSX.Element => {
  const [text, setText] = useState(JSON.stringify(context, undefined, 2))
  const parsed = parseEvent('', text)
  const changed = text !== JSON.stringify(context, undefined, 2)
  return (
    <div class="event-form">
      <textarea
        aria-label="Context"
        spellcheck={false}
        rows={Math.min(12, text.split('\n').length)}
        value={text}
        onInput={event => setText(event.currentTarget.value)}
      />
      {changed && parsed === undefined && <p class="note bad">This is not JSON.</p>}
      {changed && parsed !== undefined && (
        <button
          type="button"
          onClick={() => {
            const { type: _, ...next } = parsed
            change(next)
          }}
        >
          Begin here with this context
        </button>
      )}
    </div>
  )
}
