/** What is known about a state or a machine. */
import type { JSX } from 'preact'
import { type Chart, type ChartState, type ChartTransition, ignoresAt, textOf } from '../../model/chart.js'
import { wireWordsAt } from '../../model/wire.js'
import { behaviourOf } from '../charts.js'
import { isElse } from '../diagram/boxes.js'
import { hrefOf } from '../route.js'

export const Specs = ({ ids }: { readonly ids: readonly string[] }): JSX.Element => (
  <ul class="facts">
    {ids.map(id => {
      const behaviour = behaviourOf(id)
      return (
        <li key={id} class="spec-row">
          <b>{id}</b>
          <span>
            {behaviour?.title ?? 'not in the list of behaviours'}
            {behaviour?.starred === true && (
              <span class="star" title="easily left out">
                {' '}
                ★
              </span>
            )}
          </span>
        </li>
      )
    })}
  </ul>
)

export const TransitionText = ({
  chart,
  transition,
  target = true,
}: {
  readonly chart: Chart
  readonly transition: ChartTransition
  readonly target?: boolean
}): JSX.Element => (
  <>
    <span class="event">{transition.label}</span>{' '}
    {transition.guard !== undefined && <span class="guard">[{textOf(transition.guard)}] </span>}
    {isElse(chart, transition) && <span class="guard">[else] </span>}
    {transition.actions.length > 0 && <span class="action">/ {transition.actions.map(textOf).join(', ')} </span>}
    {target && transition.target !== undefined && (
      <>
        → <a href={hrefOf('chart', chart.name, transition.target)}>{transition.target}</a>
      </>
    )}
    {transition.target === undefined && transition.actions.length === 0 && <span class="soft">nothing</span>}
  </>
)

export const Inspector = ({ chart, state }: { readonly chart: Chart; readonly state: ChartState }): JSX.Element => {
  const transitions = chart.transitions.filter(({ source }) => source === state.path)
  const incoming = chart.transitions.filter(({ target, source }) => target === state.path && source !== state.path)
  const titles = state.spec.map(id => behaviourOf(id)?.title ?? '')
  const words = wireWordsAt(chart, state, titles)
  const ignores = Object.entries(ignoresAt(chart, state.path))
  return (
    <>
      <h1>
        {state.path !== '' && <small>{chart.name}</small>}
        {state.path || state.key}
      </h1>
      <p class="lead">{state.description}</p>
      <p class="row" style="margin-top:10px">
        <a href={hrefOf('step', chart.name, state.path)}>{state.path === '' ? 'Step through it' : 'Step from here'}</a>
        {state.path !== '' && (
          <>
            <span class="soft">·</span>
            <a href={hrefOf('chart', chart.name, state.path)}>Link to this state</a>
          </>
        )}
      </p>
      {state.spec.length > 0 && (
        <>
          <h2>Behaviours</h2>
          <Specs ids={state.spec} />
        </>
      )}
      {state.invokes.length > 0 && (
        <>
          <h2>Work that runs here</h2>
          <p class="action">{state.invokes.join(', ')}</p>
        </>
      )}
      {(state.path !== '' || transitions.length > 0) && <h2>{state.path === '' ? 'In any state' : 'Leads to'}</h2>}
      {transitions.length === 0 && state.path === '' ? null : transitions.length === 0 ? (
        <p class="empty">Nothing leads out of here.</p>
      ) : (
        <ul class="facts">
          {transitions.map(transition => (
            <li key={transition.id}>
              <TransitionText chart={chart} transition={transition} />
            </li>
          ))}
        </ul>
      )}
      {state.path === '' && <MachineFacts chart={chart} />}
      {incoming.length > 0 && (
        <>
          <h2>Comes from</h2>
          <ul class="facts">
            {incoming.map(transition => (
              <li key={transition.id}>
                {transition.source === '' ? (
                  'any state'
                ) : (
                  <a href={hrefOf('chart', chart.name, transition.source)}>{transition.source}</a>
                )}{' '}
                on <TransitionText chart={chart} transition={transition} target={false} />
              </li>
            ))}
          </ul>
        </>
      )}
      {ignores.length > 0 && (
        <>
          <h2>Ignored here, and why</h2>
          <ul class="facts soft">
            {ignores.map(([event, reason]) => (
              <li key={event}>
                <span class="event">{event}</span>: {reason}
              </li>
            ))}
          </ul>
        </>
      )}
      {words.length > 0 && (
        <>
          <h2>Words of the wire</h2>
          <dl class="wire">
            {words.map(([word, meaning]) => (
              <>
                <dt key={word}>{word}</dt>
                <dd>{meaning}</dd>
              </>
            ))}
          </dl>
        </>
      )}
    </>
  )
}

const MachineFacts = ({ chart }: { readonly chart: Chart }): JSX.Element => (
  <>
    <h2>States</h2>
    <ul class="facts">
      {chart.states
        .filter(({ path }) => path !== '')
        .map(({ path, description }) => (
          <li key={path}>
            <a href={hrefOf('chart', chart.name, path)}>{path}</a> <span class="soft">{description}</span>
          </li>
        ))}
    </ul>
    <h2>Behaviours</h2>
    <Specs ids={[...new Set(chart.states.flatMap(({ spec }) => spec))].sort()} />
  </>
)
