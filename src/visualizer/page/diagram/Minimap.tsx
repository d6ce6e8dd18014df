/** A large chart in small: which part of it is in sight. Dragging moves there; the keyboard moves over the chart itself. */
import type { JSX } from 'preact'
import type { Rect } from './Canvas.js'

export interface MinimapProps {
  readonly width: number
  readonly height: number
  readonly landmarks: readonly Rect[]
  /** What is in sight, in the chart's own measures. */
  readonly sight: Rect
  /** Brings a point of the chart into the middle. */
  readonly onMove: (x: number, y: number) => void
}

const most = { width: 150, height: 130 } as const

export const Minimap = ({ width, height, landmarks, sight, onMove }: MinimapProps): JSX.Element => {
  const scale = Math.min(most.width / width, most.height / height)
  const move = (event: PointerEvent & { readonly currentTarget: SVGSVGElement }): void => {
    const box = event.currentTarget.getBoundingClientRect()
    onMove((event.clientX - box.left) / scale, (event.clientY - box.top) / scale)
  }
  return (
    <svg
      class="minimap"
      aria-hidden="true"
      width={Math.round(width * scale)}
      height={Math.round(height * scale)}
      viewBox={`0 0 ${width} ${height}`}
      onPointerDown={event => {
        event.currentTarget.setPointerCapture(event.pointerId)
        move(event)
      }}
      onPointerMove={event => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) move(event)
      }}
    >
      {landmarks.map(({ x, y, width, height }, index) => (
        <rect key={index} class="landmark" x={x} y={y} width={width} height={height} rx={10} />
      ))}
      <rect
        class="sight"
        x={sight.x}
        y={sight.y}
        width={sight.width}
        height={sight.height}
        rx={12}
        style={`stroke-width:${1.6 / scale}px`}
      />
    </svg>
  )
}
