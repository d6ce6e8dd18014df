/** A surface to move over and to zoom: by pointer, wheel and keyboard. */
import type { ComponentChildren, JSX } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Markers } from './Diagram.js'
import { Minimap } from './Minimap.js'

export interface Rect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface CanvasProps {
  readonly label: string
  readonly width: number
  readonly height: number
  /** What is in sight at first, where not everything is. */
  readonly start?: Rect | undefined
  /** What the small map shows. */
  readonly landmarks: readonly Rect[]
  /** Moved into sight when it changes. */
  readonly focus?: Rect | undefined
  readonly children: ComponentChildren
  readonly onBackground?: () => void
  /** Buttons that stand beside those for zooming. */
  readonly tools?: ComponentChildren
}

interface View {
  readonly x: number
  readonly y: number
  readonly scale: number
}

const margin = 28
/** A chart that is so many times as wide or high as its surface has a map. */
const mapFrom = 1.5
/** At the bottom, where the map and the buttons are. */
const strip = 112
/** Above the first state: the dot and its arrow. */
const headroom = 84
const scales = { min: 0.15, max: 3 } as const
const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))

/** Where something begins that is so long: in the middle of the room, or with the part that matters most in its middle. */
const placed = (room: number, length: number, centre: number): number =>
  length + 2 * margin <= room ? (room - length) / 2 : clamp(room / 2 - centre, room - length - margin, margin)

/** How far something from here to there must be moved to stand within so much room; its beginning counts most. */
const shift = (from: number, to: number, room: number): number =>
  from < 0 ? margin - from : to > room ? Math.max(room - margin - to, margin - from) : 0

export const Canvas = (props: CanvasProps): JSX.Element => {
  const { label, width, height, start, landmarks, focus, children, onBackground, tools } = props
  const surface = useRef<SVGSVGElement>(null)
  const [size, setSize] = useState({ width: 0, height: 0 })
  const [view, setView] = useState<View>({ x: margin, y: margin, scale: 1 })
  const drag = useRef<{ x: number; y: number; moved: boolean } | undefined>(undefined)
  const moved = useRef(false)

  const place = useCallback(
    (scale: number): void => {
      const box = surface.current?.getBoundingClientRect()
      if (box === undefined) return
      const centre = start === undefined ? 0 : (start.x + start.width / 2) * scale
      const x = placed(box.width, width * scale, centre)
      // Where the title at the left is out of sight, its room at the top is not needed.
      const top = start === undefined || x >= 0 ? 0 : start.y * scale - headroom + box.height / 2
      setView({ x, y: placed(box.height, height * scale, top), scale })
    },
    [width, height, start],
  )
  const whole = useCallback((): void => {
    const box = surface.current?.getBoundingClientRect()
    if (box === undefined) return
    const scale = Math.min((box.width - 2 * margin) / width, (box.height - 2 * margin) / height, 1)
    const by = clamp(scale, scales.min, scales.max)
    setView({ x: (box.width - width * by) / 2, y: Math.max(margin, (box.height - height * by) / 2), scale: by })
  }, [width, height])

  useLayoutEffect(() => place(1), [place])
  useLayoutEffect(() => {
    const svg = surface.current
    if (svg === null) return
    const measure = (): void => setSize({ width: svg.clientWidth, height: svg.clientHeight })
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(svg)
    return () => observer.disconnect()
  }, [])

  const focusKey = focus === undefined ? '' : `${focus.x} ${focus.y} ${focus.width} ${focus.height}`
  useEffect(() => {
    const box = surface.current?.getBoundingClientRect()
    if (focus === undefined || box === undefined) return
    setView(({ x, y, scale }) => {
      const part = {
        left: focus.x * scale + x,
        top: focus.y * scale + y,
        right: (focus.x + focus.width) * scale + x,
        bottom: (focus.y + focus.height) * scale + y,
      }
      const { width, height } = box
      const isOutOfSight = part.right < 0 || part.bottom < 0 || part.left > width || part.top > height
      if (!isOutOfSight) {
        return {
          x: x + shift(part.left, part.right, width),
          y: y + shift(part.top, part.bottom, height - strip),
          scale,
        }
      }
      return {
        x: width / 2 - (focus.x + focus.width / 2) * scale,
        y: height / 2 - (focus.y + focus.height / 2) * scale,
        scale,
      }
    })
  }, [focusKey])

  const zoom = useCallback((by: number, at?: { x: number; y: number }): void => {
    const box = surface.current?.getBoundingClientRect()
    if (box === undefined) return
    const point = at ?? { x: box.width / 2, y: box.height / 2 }
    setView(({ x, y, scale }) => {
      const next = clamp(scale * by, scales.min, scales.max)
      const ratio = next / scale
      return { x: point.x - (point.x - x) * ratio, y: point.y - (point.y - y) * ratio, scale: next }
    })
  }, [])

  useEffect(() => {
    const svg = surface.current
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault()
      const box = svg?.getBoundingClientRect()
      if (box === undefined) return
      if (event.ctrlKey || event.metaKey) {
        zoom(Math.exp(-event.deltaY / 300), { x: event.clientX - box.left, y: event.clientY - box.top })
      } else setView(({ x, y, scale }) => ({ x: x - event.deltaX, y: y - event.deltaY, scale }))
    }
    svg?.addEventListener('wheel', onWheel, { passive: false })
    return () => svg?.removeEventListener('wheel', onWheel)
  }, [zoom])

  // Who goes on with Tab sees where it leads.
  const reveal = (target: EventTarget | null): void => {
    const box = surface.current?.getBoundingClientRect()
    if (!(target instanceof SVGElement) || target === surface.current || box === undefined) return
    const part = target.getBoundingClientRect()
    const dx = shift(part.left - box.left, part.right - box.left, box.width)
    const dy = shift(part.top - box.top, part.bottom - box.top, box.height - strip)
    if (dx !== 0 || dy !== 0) setView(({ x, y, scale }) => ({ x: x + dx, y: y + dy, scale }))
  }

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const step = 60
    const keys: Readonly<Record<string, () => void>> = {
      '+': () => zoom(1.2),
      '=': () => zoom(1.2),
      '-': () => zoom(1 / 1.2),
      '0': () => place(1),
      f: whole,
      ArrowLeft: () => setView(view => ({ ...view, x: view.x + step })),
      ArrowRight: () => setView(view => ({ ...view, x: view.x - step })),
      ArrowUp: () => setView(view => ({ ...view, y: view.y + step })),
      ArrowDown: () => setView(view => ({ ...view, y: view.y - step })),
    }
    const act = keys[event.key]
    if (act === undefined) return
    event.preventDefault()
    act()
  }

  return (
    <div class="canvas">
      <svg
        ref={surface}
        class="surface"
        role="group"
        aria-label={`${label}. Arrow keys move, plus and minus zoom, 0 is full size, f shows all.`}
        tabindex={0}
        onKeyDown={onKeyDown}
        onFocusIn={event => {
          if (event.target instanceof Element && event.target.matches(':focus-visible')) reveal(event.target)
        }}
        onPointerDown={event => {
          if (event.button !== 0) return
          drag.current = { x: event.clientX, y: event.clientY, moved: false }
          moved.current = false
        }}
        onPointerMove={event => {
          const from = drag.current
          if (from === undefined) return
          const [dx, dy] = [event.clientX - from.x, event.clientY - from.y]
          if (!from.moved && Math.hypot(dx, dy) < 4) return
          if (!from.moved) event.currentTarget.setPointerCapture(event.pointerId)
          moved.current = true
          drag.current = { x: event.clientX, y: event.clientY, moved: true }
          setView(({ x, y, scale }) => ({ x: x + dx, y: y + dy, scale }))
        }}
        onPointerUp={() => {
          drag.current = undefined
        }}
        onClickCapture={event => {
          // The end of a drag is no click.
          if (!moved.current) return
          moved.current = false
          event.stopPropagation()
        }}
        onClick={() => onBackground?.()}
      >
        <Markers />
        <g transform={`translate(${view.x} ${view.y}) scale(${view.scale})`}>{children}</g>
      </svg>
      {size.width > 0 && Math.max((width * view.scale) / size.width, (height * view.scale) / size.height) > mapFrom && (
        <Minimap
          width={width}
          height={height}
          landmarks={landmarks}
          sight={{
            x: -view.x / view.scale,
            y: -view.y / view.scale,
            width: size.width / view.scale,
            height: size.height / view.scale,
          }}
          onMove={(x, y) =>
            setView(({ scale }) => ({ x: size.width / 2 - x * scale, y: size.height / 2 - y * scale, scale }))
          }
        />
      )}
      <div class="zoom" role="toolbar" aria-label="Zoom">
        {tools}
        <button type="button" onClick={() => zoom(1 / 1.2)} aria-label="Zoom out">
          −
        </button>
        <button type="button" class="percent" onClick={() => place(1)} title="Full size (0)">
          {Math.round(view.scale * 100)}%
        </button>
        <button type="button" onClick={() => zoom(1.2)} aria-label="Zoom in">
          +
        </button>
        <button type="button" onClick={whole} title="Show all (f)">
          Fit
        </button>
      </div>
    </div>
  )
}
