/** What can happen in a state: events to send, with their payloads to edit and what their guards say; ignored ones with the reason. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { AnyEventObject } from 'xstate'
import { textOf } from '../../model/chart.js'
import { type Branch, branchesFor, type Possible, possibleNow, type Simulation } from '../../model/simulate.js'
import type { KnownMachine } from '../charts.js'

interface PossibilitiesProps {
  readonly simulation: Simulation
  readonly known: KnownMachine
  readonly send: (event: AnyEventObject) => void
}

export const Possibilities = ({ simulation, known, send }: PossibilitiesProps): JSX.Element => {
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

/** An event with this payload; undefined for a text that is no JSON object. */
export const parseEvent = (type: string, text: string): AnyEventObject | undefined => {
  try {
    const payload: unknown = JSON.parse(text)
    return typeof payload === 'object' && payload !== null && !Array.isArray(payload) ? { ...payload, type } : undefined
  } catch {
    return undefined
  }
}
