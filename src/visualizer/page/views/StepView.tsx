/** A machine walked by hand: what can happen here, what it leads to, and why not. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { AnyEventObject } from 'xstate'
import { textOf } from '../../model/chart.js'
import {
  type Branch,
  begin,
  branchesFor,
  enteredPaths,
  type Possible,
  possibleNow,
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
  useEffect(() => {
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
                  <span class="soft"> → {done.to === done.from ? 'stays' : done.to}</span>
                </button>
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

interface PossibilitiesProps {
  readonly simulation: Simulation
  readonly known: KnownMachine
  readonly send: (event: AnyEventObject) => void
}

const Possibilities = ({ simulation, known, send }: PossibilitiesProps): JSX.Element => {
  const [open, setOpen] = useState('')
  const possible = possibleNow(simulation, known)
  return (
    <ul class="possible">
      {possible.map(one => (
        <li key={one.type} class={one.ignored === undefined ? '' : 'ignored'}>
          <div class="row spread">
            <button
              type="button"
              class="send"
              disabled={one.ignored !== undefined}
              onClick={() => (one.variants.length === 1 ? send(one.variants[0] as AnyEventObject) : setOpen(one.type))}
            >
              {one.label}
            </button>
            {one.ignored === undefined && (
              <button
                type="button"
                class="plain more"
                aria-expanded={open === one.type}
                onClick={() => setOpen(open === one.type ? '' : one.type)}
              >
                {one.variants.length > 1 ? `${one.variants.length} variants` : 'payload'}
              </button>
            )}
          </div>
          {one.ignored !== undefined && <p class="soft why">ignored: {one.ignored}</p>}
          {one.ignored === undefined && open === one.type && (
            <EventForm simulation={simulation} known={known} possible={one} send={send} />
          )}
        </li>
      ))}
    </ul>
  )
}

const EventForm = ({
  simulation,
  known,
  possible,
  send,
}: PossibilitiesProps & { readonly possible: Possible }): JSX.Element => {
  const [text, setText] = useState(payloadText(possible.variants[0] ?? { type: possible.type }))
  const event = parseEvent(possible.type, text)
  return (
    <div class="event-form">
      {possible.variants.length > 1 && (
        <div class="variants" role="group" aria-label="Variants">
          {possible.variants.map(variant => {
            const shown = payloadText(variant)
            return (
              <button key={shown} type="button" aria-pressed={shown === text} onClick={() => setText(shown)}>
                {Object.entries(variant)
                  .filter(([key]) => key !== 'type')
                  .map(([key, value]) => (typeof value === 'boolean' ? `${value ? '' : 'not '}${key}` : String(value)))
                  .join(', ')}
              </button>
            )
          })}
        </div>
      )}
      <textarea
        aria-label={`Payload of ${possible.label}`}
        spellcheck={false}
        rows={Math.min(6, text.split('\n').length)}
        value={text}
        onInput={event => setText(event.currentTarget.value)}
      />
      {event === undefined ? (
        <p class="note bad">This is not JSON.</p>
      ) : (
        <>
          <Branches branches={branchesFor(simulation, event, known)} />
          <button type="button" class="primary" onClick={() => send(event)}>
            Send {possible.label}
          </button>
        </>
      )}
    </div>
  )
}

const Branches = ({ branches }: { readonly branches: readonly Branch[] }): JSX.Element => (
  <ol class="branches">
    {branches.map(({ transition, answer, taken, behind }) => (
      <li key={transition.id} class={taken ? 'taken' : 'blocked'}>
        <span class={`chip ${taken ? 'lit' : ''}`}>{taken ? 'taken' : behind ? 'not asked' : 'blocked'}</span>{' '}
        {transition.guard === undefined ? (
          <span class="guard">[else]</span>
        ) : (
          <span class="guard">[{textOf(transition.guard)}]</span>
        )}{' '}
        <span class="soft">→ {transition.target ?? 'stays'}</span>
        {answer !== undefined && !behind && (
          <span class="because">
            {answer.holds ? 'holds' : 'does not hold'}
            {answer.read.length > 0 && <>: it read {answer.read.join(', ')}</>}
            {answer.wouldHold.length > 0 && <>. It would with {answer.wouldHold.slice(0, 3).join(', or ')}</>}
          </span>
        )}
      </li>
    ))}
  </ol>
)

const payloadText = (event: AnyEventObject): string => {
  const { type: _, ...payload } = event
  return JSON.stringify(payload, (_key, value: unknown) => (value instanceof Error ? value.message : value), 2)
}

const parseEvent = (type: string, text: string): AnyEventObject | undefined => {
  try {
    const payload: unknown = JSON.parse(text)
    return typeof payload === 'object' && payload !== null && !Array.isArray(payload) ? { ...payload, type } : undefined
  } catch {
    return undefined
  }
}

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
