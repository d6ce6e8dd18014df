import type { Point } from './layout.js'

const radius = 8

/** An SVG path through points, with round corners. */
export const roundedPath = (points: readonly Point[]): string => {
  const [first, ...rest] = points
  if (first === undefined) return ''
  const parts = [`M${at(first)}`]
  rest.forEach((point, index) => {
    const next = rest[index + 1]
    const before = index === 0 ? first : (rest[index - 1] ?? first)
    if (next === undefined) {
      parts.push(`L${at(point)}`)
      return
    }
    const room = Math.min(radius, distance(before, point) / 2, distance(point, next) / 2)
    parts.push(`L${at(towards(point, before, room))}`, `Q${at(point)} ${at(towards(point, next, room))}`)
  })
  return parts.join('')
}

const round = (value: number): number => Math.round(value * 10) / 10
const at = ({ x, y }: Point): string => `${round(x)} ${round(y)}`
const distance = (a: Point, b: Point): number => Math.hypot(a.x - b.x, a.y - b.y)
const towards = (from: Point, to: Point, by: number): Point => {
  const length = distance(from, to) || 1
  return { x: from.x + ((to.x - from.x) * by) / length, y: from.y + ((to.y - from.y) * by) / length }
}
