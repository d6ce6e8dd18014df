/** A chart drawn as SVG. It draws what it is told is lit, selected or marked, and says what was clicked. */
import type { ComponentChildren, JSX } from 'preact'
import { memo } from 'preact/compat'
import { boxPadding, labelPadding, type Layout, type PlacedEdge, type PlacedState } from './layout.js'
import { roundedPath } from './path.js'
import { sizeOf, type TextLine } from './text.js'

/** Marks by state path or transition id; each becomes a class. */
export type Marks = ReadonlyMap<string, string>

export interface DiagramProps {
  readonly layout: Layout
  /** Paths of the states that are entered. */
  readonly active?: ReadonlySet<string>
  readonly selected?: string | undefined
  /** Transitions to stand out, as those just taken. */
  readonly taken?: ReadonlySet<string>
  readonly stateMarks?: Marks
  readonly transitionMarks?: Marks
  readonly onState?: (path: string) => void
  readonly onTransition?: (id: string) => void
}

const nothing: ReadonlySet<string> = new Set()
const noMarks: Marks = new Map()

const classes = (...names: ReadonlyArray<string | false | undefined>): string => names.filter(Boolean).join(' ')

const DiagramSvg = (props: DiagramProps): JSX.Element => {
  const { layout } = props
  const compounds = layout.states.filter(({ state }) => state.children.length > 0)
  const leaves = layout.states.filter(({ state }) => state.children.length === 0)
  return (
    <g class="diagram">
      {compounds.map(placed => (
        <StateBox key={placed.state.path} placed={placed} {...props} />
      ))}
      {layout.edges.map(edge => (
        <EdgeLine key={edge.id} edge={edge} {...props} />
      ))}
      {compounds.map(placed => (
        <CompoundText key={placed.state.path} placed={placed} {...props} />
      ))}
      {layout.dots.map(({ id, x, y }) => (
        <circle key={id} class="dot" cx={x} cy={y} r={5} />
      ))}
      {layout.anyStates.map(({ id, x, y, width, height }) => (
        <g key={id} class="any" transform={`translate(${x} ${y})`}>
          <rect width={width} height={height} rx={height / 2} />
          <text x={width / 2} y={height / 2 + 4} text-anchor="middle" class="word">
            any state
          </text>
        </g>
      ))}
      {leaves.map(placed => (
        <StateBox key={placed.state.path} placed={placed} {...props} />
      ))}
      {layout.edges.map(edge => (
        <EdgeLabel key={edge.id} edge={edge} {...props} />
      ))}
    </g>
  )
}

/** Drawn again only when something that it is told has changed. */
export const Diagram = memo(DiagramSvg)

/** Arrow heads, in the colours of their lines. */
export const Markers = (): JSX.Element => (
  <defs>
    {['edge', 'taken', 'added', 'removed', 'covered', 'uncovered'].map(kind => (
      <marker
        key={kind}
        id={`arrow-${kind}`}
        class={`arrow ${kind}`}
        viewBox="0 0 10 10"
        refX="9"
        refY="5"
        markerWidth="9"
        markerHeight="9"
        markerUnits="userSpaceOnUse"
        orient="auto"
      >
        <path d="M0.5 1L9.5 5L0.5 9z" />
      </marker>
    ))}
  </defs>
)

const StateBox = ({
  placed: { state, box, x, y, width, height },
  active = nothing,
  selected,
  stateMarks = noMarks,
  transitionMarks = noMarks,
  taken = nothing,
  onState,
  onTransition,
}: DiagramProps & { readonly placed: PlacedState }): JSX.Element => {
  const { path, children, key, description } = state
  const isActive = active.has(path)
  const isCompound = children.length > 0
  const choose = (): void => onState?.(path)
  return (
    <g
      class={classes(
        'state',
        isCompound && 'compound',
        path === '' && 'machine',
        isActive && 'active',
        selected === path && 'selected',
        stateMarks.get(path),
      )}
      transform={`translate(${x} ${y})`}
      data-state={path}
      role="button"
      tabindex={path === '' ? -1 : 0}
      {...(isCompound ? { 'aria-label': `${key}. ${description}` } : {})}
      {...(isActive ? { 'aria-current': 'true' as const } : {})}
      aria-pressed={selected === path}
      onClick={event => {
        event.stopPropagation()
        choose()
      }}
      onKeyDown={event => {
        if (event.key !== 'Enter' && event.key !== ' ') return
        event.preventDefault()
        choose()
      }}
    >
      <rect class="box" width={width} height={height} rx={isCompound ? 14 : 10} />
      {isActive && !isCompound && <rect class="glow" x={-4} y={-4} width={width + 8} height={height + 8} rx={13} />}
      {!isCompound && (
        <Sections
          sections={box.sections}
          width={width}
          head={false}
          marks={transitionMarks}
          taken={taken}
          {...(onState === undefined ? {} : { onState })}
          {...(onTransition === undefined ? {} : { onTransition })}
        />
      )}
      {state.kind === 'final' && <rect class="final" x={4} y={4} width={width - 8} height={height - 8} rx={7} />}
    </g>
  )
}

/** The text of a state around others stands over the lines that lead into it. */
const CompoundText = ({
  placed: { state, box, x, y, width },
  transitionMarks = noMarks,
  taken = nothing,
  onState,
  onTransition,
}: DiagramProps & { readonly placed: PlacedState }): JSX.Element => (
  <g
    class={classes('compound-text', state.path === '' && 'machine')}
    transform={`translate(${x} ${y})`}
    aria-hidden="true"
  >
    <rect {...textBack(box)} />
    <Sections
      sections={box.sections}
      width={width}
      head
      marks={transitionMarks}
      taken={taken}
      {...(onState === undefined ? {} : { onState })}
      {...(onTransition === undefined ? {} : { onTransition })}
    />
  </g>
)

// Lines that lead into the state end behind its text and begin again below it.
const textBack = ({ sections }: PlacedState['box']) => {
  const lines = sections.flatMap(section => section.lines)
  const rules = sections.filter(({ ruled }) => ruled).length * boxPadding.rule
  const { width, height } = sizeOf(lines)
  return { x: boxPadding.x - 6, y: boxPadding.y - 3, width: width + 12, height: height + rules + 6, rx: 6 }
}

interface SectionsProps {
  readonly sections: PlacedState['box']['sections']
  readonly width: number
  readonly head: boolean
  readonly marks: Marks
  readonly taken: ReadonlySet<string>
  readonly onState?: (path: string) => void
  readonly onTransition?: (id: string) => void
}

const Sections = ({ sections, width, head, marks, taken, onState, onTransition }: SectionsProps): JSX.Element => {
  const drawn: ComponentChildren[] = []
  let y: number = boxPadding.y
  sections.forEach(({ lines, ruled }, index) => {
    if (ruled) {
      const at = y + boxPadding.rule / 2
      const x = head ? boxPadding.x : 0
      drawn.push(<line key={`rule ${index}`} class="rule" x1={x} x2={width - x} y1={at} y2={at} />)
      y += boxPadding.rule
    }
    for (const [at, line] of lines.entries()) {
      drawn.push(
        <Line
          key={`${index} ${at}`}
          line={line}
          x={boxPadding.x}
          y={y}
          marks={marks}
          taken={taken}
          onState={onState}
          onTransition={onTransition}
        />,
      )
      y += line.height
    }
  })
  return <>{drawn}</>
}

interface LineProps {
  readonly line: TextLine
  readonly x: number
  readonly y: number
  readonly marks: Marks
  readonly taken: ReadonlySet<string>
  readonly onState?: ((path: string) => void) | undefined
  readonly onTransition: ((id: string) => void) | undefined
}

const Line = ({ line, x, y, marks, taken, onState, onTransition }: LineProps): JSX.Element => {
  const { transition } = line
  const mark = transition === undefined ? undefined : marks.get(transition)
  return (
    <text
      class={classes(
        'line',
        transition !== undefined && 'transition',
        transition !== undefined && taken.has(transition) && 'taken',
        mark,
      )}
      y={y + line.height * 0.72}
      onClick={event => {
        if (transition === undefined || onTransition === undefined) return
        event.stopPropagation()
        onTransition(transition)
      }}
    >
      {line.runs.map((run, index) => (
        <tspan
          key={index}
          class={run.look}
          x={x + run.x}
          onClick={event => {
            if (run.to === undefined || onState === undefined) return
            event.stopPropagation()
            onState(run.to)
          }}
        >
          {run.text}
        </tspan>
      ))}
    </text>
  )
}

const edgeKind = ({ transitions }: PlacedEdge, taken: ReadonlySet<string>, marks: Marks): string => {
  if (transitions.some(({ id }) => taken.has(id))) return 'taken'
  const found = transitions.map(({ id }) => marks.get(id))
  const [first] = found
  if (first !== undefined && found.every(mark => mark === first)) return first
  return found.includes('covered') ? 'covered' : 'edge'
}

const EdgeLine = ({
  edge,
  taken = nothing,
  transitionMarks = noMarks,
}: DiagramProps & { readonly edge: PlacedEdge }): JSX.Element => {
  const kind = edgeKind(edge, taken, transitionMarks)
  return (
    <path
      class={classes('edge', kind)}
      d={roundedPath(edge.points)}
      marker-end={`url(#arrow-${['taken', 'added', 'removed', 'covered', 'uncovered'].includes(kind) ? kind : 'edge'})`}
    />
  )
}

const EdgeLabel = ({
  edge: { label, transitions, source, target },
  taken = nothing,
  transitionMarks = noMarks,
  onState,
  onTransition,
}: DiagramProps & { readonly edge: PlacedEdge }): JSX.Element | null => {
  if (label === undefined) return null
  let y: number = labelPadding.y
  return (
    <g
      class={classes(
        'label',
        source !== '' && isInside(source, target) && 'inner',
        transitions.some(({ id }) => taken.has(id)) && 'taken',
      )}
      transform={`translate(${label.x} ${label.y})`}
    >
      <rect width={label.width} height={label.height} rx={6} />
      {label.lines.map((line, index) => {
        const at = y
        y += line.height
        return (
          <Line
            key={index}
            line={line}
            x={labelPadding.x}
            y={at}
            marks={transitionMarks}
            taken={taken}
            onState={onState}
            onTransition={onTransition}
          />
        )
      })}
    </g>
  )
}

/** Whether both ends stand in the same state within the machine. */
const isInside = (source: string, target: string): boolean => {
  const [first] = source.split('.')
  return source.includes('.') && target.split('.')[0] === first && target.includes('.')
}
