/** Both parties side by side, with what is on its way between them. */
import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { nameOf } from '../../model/world/actors.js'
import { scenarios } from '../../model/world/scenarios.js'
import {
  type ActorView,
  type Input,
  otherSide,
  type Scenario,
  type SideName,
  type Wire,
} from '../../model/world/types.js'
import { inputsText, readInputs, type World, worldAfter } from '../../model/world/world.js'
import { CopyLink } from '../parts/CopyLink.js'
import { Specs } from '../parts/Inspector.js'
import { Missing } from '../parts/Missing.js'
import { Sequence } from '../parts/Sequence.js'
import { SmallChart } from '../parts/SmallChart.js'
import { go, hrefOf, type Route } from '../route.js'

export const SidesView = ({ route }: { readonly route: Route }): JSX.Element => {
  const scenario = scenarios.find(({ id }) => id === route.subject) ?? (route.subject === '' ? scenarios[0] : undefined)
  return scenario === undefined ? (
    <Missing what={`There is no scenario ${route.subject}.`} />
  ) : (
    <Player key={scenario.id} scenario={scenario} route={route} />
  )
}

/** Steps that playing to the end takes at the most. */
const mostSteps = 400

const Player = ({ scenario, route }: { readonly scenario: Scenario; readonly route: Route }): JSX.Element => {
  const text = route.query.get('inputs') ?? ''
  const inputs = useMemo(() => readInputs(text), [text])
  const world = useMemo(() => worldAfter(scenario, inputs), [scenario, text])
  const [workers, setWorkers] = useState(false)
  const play = (next: readonly Input[]): void =>
    go(hrefOf('sides', scenario.id, '', { inputs: inputsText(next) }), true)
  const apply = (input: Input): void => play([...inputs, input])
  const toEnd = (): void => {
    const played = worldAfter(scenario, inputs)
    const steps: Input[] = []
    // Where nothing but time would pass, it has come to rest.
    while (played.next !== undefined && !played.next.startsWith('time passes') && steps.length < mostSteps) {
      played.step()
      steps.push({ do: 'step' })
    }
    play([...inputs, ...steps])
  }
  const end = useRef<HTMLDivElement>(null)
  useEffect(() => end.current?.scrollIntoView({ block: 'end' }), [world.entries.length, world.wires.length])
  // Before the next key: an effect after the paint would still know the step before.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return
      if (event.key === 'n' && world.next !== undefined) apply({ do: 'step' })
      if (event.key === 'p' && inputs.length > 0) play(inputs.slice(0, -1))
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  })
  return (
    <div class="sides">
      <header class="bar">
        <select
          aria-label="Scenario"
          value={scenario.id}
          onChange={event => go(hrefOf('sides', event.currentTarget.value))}
        >
          {scenarios.map(({ id, title }) => (
            <option key={id} value={id}>
              {title}
            </option>
          ))}
        </select>
        <button type="button" disabled={inputs.length === 0} onClick={() => play(inputs.slice(0, -1))} title="p">
          Back
        </button>
        <button
          type="button"
          class="primary"
          disabled={world.next === undefined}
          onClick={() => apply({ do: 'step' })}
          title="n"
        >
          Step
        </button>
        <button type="button" disabled={world.next === undefined} onClick={toEnd}>
          Play to the end
        </button>
        <button type="button" disabled={inputs.length === 0} onClick={() => play([])}>
          Start again
        </button>
        <CopyLink />
        <label class="row soft">
          <input type="checkbox" checked={workers} onChange={event => setWorkers(event.currentTarget.checked)} />
          worker machines
        </label>
        <span class="next" aria-live="polite">
          {world.next === undefined ? 'Nothing is left to happen.' : `Next: ${world.next}`}
        </span>
      </header>
      <Side side="alice" world={world} />
      <div class="between">
        <p class="about">{scenario.about}</p>
        <Sequence entries={world.entries} wires={world.wires} workers={workers} />
        <OnTheWay wires={world.wires} apply={apply} />
        <div ref={end} />
        {world.entries.length === 0 && (
          <div class="serves">
            <h2>Behaviours</h2>
            <Specs ids={scenario.spec} />
          </div>
        )}
      </div>
      <Side side="bob" world={world} />
    </div>
  )
}

const placeName = (place: Wire['from']): string => (place === 'router' ? 'Router' : nameOf(place))

const OnTheWay = ({
  wires,
  apply,
}: {
  readonly wires: readonly Wire[]
  readonly apply: (input: Input) => void
}): JSX.Element | null =>
  wires.length === 0 ? null : (
    <section class="on-the-way" aria-label="On its way">
      <h2>On its way</h2>
      <ul>
        {wires.map(wire => {
          const { id, from, to, word, about, outside, held } = wire
          const name = `${word} from ${placeName(from)} to ${placeName(to)}`
          return (
            <li key={id}>
              <span>
                {placeName(from)} → {placeName(to)} <b class="mono">{word}</b> <span class="soft">{about}</span>
                {held && <span class="chip warn">held back</span>}
              </span>
              <span class="row">
                <button type="button" onClick={() => apply({ do: 'deliver', wire: id })} aria-label={`Deliver ${name}`}>
                  Deliver
                </button>
                {outside !== true && (
                  <>
                    <button type="button" onClick={() => apply({ do: 'drop', wire: id })} aria-label={`Drop ${name}`}>
                      Drop
                    </button>
                    <button
                      type="button"
                      onClick={() => apply({ do: 'duplicate', wire: id })}
                      aria-label={`Duplicate ${name}`}
                    >
                      Duplicate
                    </button>
                    <button
                      type="button"
                      aria-pressed={held}
                      onClick={() => apply({ do: 'hold', wire: id })}
                      aria-label={`Delay ${name}`}
                    >
                      Delay
                    </button>
                  </>
                )}
              </span>
            </li>
          )
        })}
      </ul>
    </section>
  )

const Side = ({ side, world }: { readonly side: SideName; readonly world: World }): JSX.Element => {
  const actors = world.actors.filter(actor => actor.side === side)
  const [chosen, setChosen] = useState('connection connection')
  return (
    <aside class={`party ${side}`} aria-label={nameOf(side)}>
      <h1>
        {nameOf(side)} <small>{side === 'alice' ? 'creates' : 'joins'}</small>
      </h1>
      <ul>
        {actors.map(actor => {
          const key = `${actor.machine} ${actor.actor}`
          return (
            <li key={key}>
              <button
                type="button"
                class="plain actor"
                aria-expanded={key === chosen}
                onClick={() => setChosen(key === chosen ? '' : key)}
              >
                <span>
                  {actor.machine}
                  <small>{aboutActor(actor)}</small>
                </span>
                <span class="chip lit">{actor.state}</span>
              </button>
              {key === chosen && <SmallChart machine={actor.machine} state={actor.state} taken={actor.taken} />}
            </li>
          )
        })}
      </ul>
    </aside>
  )
}

const aboutActor = ({ side, machine, actor }: ActorView): string => {
  if (machine === 'connection') return `with ${nameOf(otherSide(side))}`
  return actor
}
