/** Text that knows its place: runs of one look each, wrapped into lines. */

/** How a run of text looks; also its class in the drawing. */
export type Look = 'title' | 'name' | 'prose' | 'event' | 'guard' | 'action' | 'spec' | 'word' | 'jump'

export interface Run {
  readonly text: string
  readonly look: Look
  /** Path of the state that it names. */
  readonly to?: string
}

export interface PlacedRun extends Run {
  readonly x: number
  readonly width: number
}

export interface TextLine {
  readonly runs: readonly PlacedRun[]
  readonly width: number
  readonly height: number
  /** The transition that the line tells of. */
  readonly transition?: string
}

const sans = '"Inter Variable", "Inter", system-ui, sans-serif'
const mono = '"JetBrains Mono Variable", "JetBrains Mono", ui-monospace, monospace'

export const looks: Readonly<Record<Look, { readonly font: string; readonly height: number }>> = {
  title: { font: `650 17px ${sans}`, height: 24 },
  name: { font: `620 14.5px ${sans}`, height: 21 },
  prose: { font: `400 12.5px ${sans}`, height: 17.5 },
  event: { font: `560 12px ${sans}`, height: 17 },
  guard: { font: `450 11px ${mono}`, height: 17 },
  action: { font: `450 11px ${mono}`, height: 17 },
  spec: { font: `500 10.5px ${mono}`, height: 17 },
  word: { font: `400 11px ${sans}`, height: 17 },
  jump: { font: `560 11.5px ${sans}`, height: 17 },
}

let canvas: CanvasRenderingContext2D | null | undefined
const widths = new Map<string, number>()

/** Width of a text in px, as the page's fonts draw it. */
export const widthOf = (text: string, look: Look): number => {
  const key = `${look} ${text}`
  const known = widths.get(key)
  if (known !== undefined) return known
  canvas ??= document.createElement('canvas').getContext('2d')
  if (canvas === null) return text.length * 7
  canvas.font = looks[look].font
  const { width } = canvas.measureText(text)
  widths.set(key, width)
  return width
}

/** Forgets what was measured before the fonts were there. */
export const forgetWidths = (): void => widths.clear()

/** Wraps runs into lines of at most `max` px; continued lines are indented. A word that is longer stands alone. */
export const wrap = (runs: readonly Run[], max: number, indent = 0, transition?: string): TextLine[] => {
  const lines: TextLine[] = []
  let placed: PlacedRun[] = []
  let x = 0
  const close = (): void => {
    const last = placed.at(-1)
    if (last === undefined) return
    const height = Math.max(...placed.map(({ look }) => looks[look].height))
    lines.push({
      runs: placed,
      width: last.x + last.width,
      height,
      ...(transition === undefined ? {} : { transition }),
    })
    placed = []
    x = indent
  }
  for (const { text, look, to } of runs) {
    const target = to === undefined ? {} : { to }
    const space = widthOf(' ', look)
    for (const word of text.split(' ').filter(part => part !== '')) {
      const width = widthOf(word, look)
      const at = placed.length === 0 ? x : x + space
      if (placed.length > 0 && at + width > max) {
        close()
        placed.push({ text: word, look, x, width, ...target })
        x += width
        continue
      }
      const last = placed.at(-1)
      if (last !== undefined && last.look === look) {
        const text = `${last.text} ${word}`
        placed[placed.length - 1] = { ...last, text, width: widthOf(text, look) }
      } else placed.push({ text: word, look, x: at, width, ...target })
      const end = placed.at(-1)
      x = end === undefined ? x : end.x + end.width
    }
  }
  close()
  return lines
}

/** Places a block of lines; returns where each stands and how large the block is. */
export const sizeOf = (lines: readonly TextLine[]): { width: number; height: number } => ({
  width: Math.max(0, ...lines.map(({ width }) => width)),
  height: lines.reduce((sum, { height }) => sum + height, 0),
})
