/** What two parties and a router say to each other, row by row, and what their machines make of it. */
import type { JSX } from 'preact'
import type { Entry, Place, SideName, Wire } from '../../model/world/types.js'
import { nameOf } from '../../model/world/actors.js'
import { durationText } from '../../model/world/world.js'
import { widthOf } from '../diagram/text.js'

const width = 720
const x: Readonly<Record<Place, number>> = { alice: 112, router: 360, bob: 608 }
const rowHeight = 30
const head = 8
const heads = 36
const places = ['alice', 'router', 'bob'] as const

export interface SequenceProps {
  readonly entries: readonly Entry[]
  readonly wires: readonly Wire[]
  /** Steps of worker machines are shown too. */
  readonly workers: boolean
}

/** Whether a row is worth its place. */
const isShown = (entry: Entry, workers: boolean): boolean =>
  entry.kind !== 'machine' || workers || !workerMachines.has(entry.machine)

const workerMachines = new Set(['sndQueueDelivery', 'commandWorker'])

const rowsFor = (entry: Entry): number => (entry.kind === 'machine' && entry.intents.length > 0 ? 1.35 : 1)

export const Sequence = ({ entries, wires, workers }: SequenceProps): JSX.Element => {
  const rows: JSX.Element[] = []
  let y = head
  for (const [index, entry] of entries.entries()) {
    if (!isShown(entry, workers)) continue
    rows.push(<Row key={index} entry={entry} y={y} />)
    y += rowHeight * rowsFor(entry)
  }
  for (const wire of wires) {
    rows.push(<Arrow key={`wire ${wire.id}`} wire={wire} y={y + 18} fate={wire.held ? 'held' : 'way'} />)
    y += rowHeight
  }
  const height = y + 24
  return (
    <>
      <svg class="sequence heads" viewBox={`0 0 ${width} ${heads}`} aria-hidden="true">
        {places.map(place => (
          <g key={place} class={`lifeline ${place}`}>
            <rect x={x[place] - 46} y={6} width={92} height={26} rx={8} />
            <text x={x[place]} y={23.5} text-anchor="middle">
              {place === 'router' ? 'router' : nameOf(place)}
            </text>
          </g>
        ))}
      </svg>
      <svg class="sequence" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={spoken(entries)}>
        <defs>
          {places.map(place => (
            <marker
              key={place}
              id={`head-${place}`}
              viewBox="0 0 10 10"
              refX="9"
              refY="5"
              markerWidth="8"
              markerHeight="8"
              markerUnits="userSpaceOnUse"
              orient="auto"
            >
              <path class={`fill-${place}`} d="M0.5 1L9.5 5L0.5 9z" />
            </marker>
          ))}
        </defs>
        {places.map(place => (
          <g key={place} class={`lifeline ${place}`}>
            <line x1={x[place]} x2={x[place]} y1={0} y2={height - 8} />
          </g>
        ))}
        {rows}
      </svg>
    </>
  )
}

const spoken = (entries: readonly Entry[]): string => {
  const sent = entries.flatMap(entry =>
    entry.kind === 'wire' ? [`${entry.wire.from} to ${entry.wire.to}: ${entry.wire.word}`] : [],
  )
  return `Sequence diagram. ${sent.join('. ')}`
}

const Row = ({ entry, y }: { readonly entry: Entry; readonly y: number }): JSX.Element => {
  switch (entry.kind) {
    case 'wire':
      return <Arrow wire={entry.wire} y={y + 18} fate={entry.fate} />
    case 'machine':
      return <MachineRow entry={entry} y={y} />
    case 'told':
      return <Told side={entry.side} word={entry.word} about={entry.about} y={y} />
    case 'does':
      return <Does side={entry.side} text={entry.text} y={y} />
    case 'time':
      return (
        <g class="time">
          <line x1={24} x2={width - 24} y1={y + 15} y2={y + 15} />
          <rect x={width / 2 - 60} y={y + 5} width={120} height={20} rx={10} />
          <text x={width / 2} y={y + 19} text-anchor="middle">
            {durationText(entry.ms)} later
          </text>
        </g>
      )
  }
}

interface ArrowProps {
  readonly wire: Pick<Wire, 'from' | 'to' | 'word' | 'about' | 'outside'>
  readonly y: number
  readonly fate: 'arrived' | 'lost' | 'copied' | 'held' | 'way'
}

const Arrow = ({ wire: { from, to, word, about, outside }, y, fate }: ArrowProps): JSX.Element => {
  const [start, end] = [x[from], x[to]]
  const forward = end > start
  const middle = (start + end) / 2
  const tip = fate === 'lost' ? start + (end - start) * 0.6 : end - (forward ? 2 : -2)
  const label = fate === 'copied' ? `${word} twice` : fate === 'held' ? `${word} held back` : word
  const wide = widthOf(label, 'action') + (about === '' ? 0 : widthOf(about, 'word') + 8)
  const at = outside === true ? x.router : middle
  return (
    <g class={`arrow-row ${from === 'router' ? to : from} ${fate} ${outside === true ? 'outside' : ''}`}>
      <line
        x1={start + (forward ? 2 : -2)}
        x2={tip}
        y1={y}
        y2={y}
        {...(fate === 'lost' ? {} : { 'marker-end': `url(#head-${from === 'router' ? to : from})` })}
      />
      {fate === 'lost' && (
        <path class="cross" d={`M${tip - 6} ${y - 6}L${tip + 6} ${y + 6}M${tip + 6} ${y - 6}L${tip - 6} ${y + 6}`} />
      )}
      <rect class="back" x={at - wide / 2 - 6} y={y - 18} width={wide + 12} height={15} />
      <text x={at} y={y - 6} text-anchor="middle">
        <tspan class="word">{label}</tspan>
        {about !== '' && (
          <tspan class="about" dx="7">
            {about}
          </tspan>
        )}
      </text>
    </g>
  )
}

const inward = (side: SideName): { readonly at: number; readonly anchor: 'start' | 'end' } =>
  side === 'alice' ? { at: x.alice + 12, anchor: 'start' } : { at: x.bob - 12, anchor: 'end' }

const MachineRow = ({
  entry,
  y,
}: {
  readonly entry: Extract<Entry, { kind: 'machine' }>
  readonly y: number
}): JSX.Element => {
  const { side, machine, event, from, to, intents, ignored } = entry
  const { at, anchor } = inward(side)
  return (
    <g class={`machine-row ${side} ${ignored === undefined ? '' : 'ignored'}`}>
      <circle cx={x[side]} cy={y + 15} r={3.5} />
      <text x={at} y={y + 19} text-anchor={anchor}>
        <tspan class="machine">{machine}</tspan>
        <tspan dx="6">{from === to ? from : `${from} → ${to}`}</tspan>
        {intents.length === 0 && (
          <tspan class="about" dx="6">
            {shownEvent(event)}
            {ignored !== undefined && ` ignored: ${short(ignored, 40)}`}
          </tspan>
        )}
      </text>
      {intents.length > 0 && (
        <text class="intents" x={at} y={y + 33} text-anchor={anchor}>
          <tspan class="about">{shownEvent(event)}</tspan>
          <tspan dx="6">/ {short(intents.join(', '), 52)}</tspan>
        </text>
      )}
    </g>
  )
}

// Results of invoked work have long names.
const shownEvent = (event: string): string =>
  event.replace(/^xstate\.(done|error)\..*$/, '$1').replace(/^xstate\.after\.(\w+)\..*$/, 'after $1')

const short = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)

const Told = ({
  side,
  word,
  about,
  y,
}: {
  readonly side: SideName
  readonly word: string
  readonly about: string
  readonly y: number
}): JSX.Element => {
  const wide = Math.max(38, widthOf(word, 'action') + 18)
  const left = side === 'alice' ? x.alice - 12 - wide : x.bob + 12
  return (
    <g class={`told ${side} ${word === 'ERR' || word === 'MERR' ? 'bad' : ''}`}>
      <title>{`The application of ${nameOf(side)} is told ${word}${about === '' ? '' : `: ${about}`}`}</title>
      <line x1={x[side]} x2={side === 'alice' ? left + wide : left} y1={y + 15} y2={y + 15} />
      <rect x={left} y={y + 5} width={wide} height={20} rx={10} />
      <text x={left + wide / 2} y={y + 18.8} text-anchor="middle">
        {word}
      </text>
      <text class="about" x={inward(side).at} y={y + 19} text-anchor={inward(side).anchor}>
        {short(about, 44)}
      </text>
    </g>
  )
}

const Does = ({ side, text, y }: { readonly side: Place; readonly text: string; readonly y: number }): JSX.Element => {
  const wide = widthOf(text, 'event') + 22
  const left = side === 'router' ? x.router - wide / 2 : side === 'alice' ? x.alice - 20 : x.bob + 20 - wide
  return (
    <g class={`does ${side}`}>
      <rect x={left} y={y + 4} width={wide} height={22} rx={6} />
      <text x={left + wide / 2} y={y + 19} text-anchor="middle">
        {text}
      </text>
    </g>
  )
}
