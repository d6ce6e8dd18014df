/** A chart as a picture that stands alone: styles and fonts are inside. */
import { h, render } from 'preact'
import { Diagram, Markers } from './diagram/Diagram.js'
import type { Layout } from './diagram/layout.js'

const margin = 24

/** The chart as an SVG document, in the colours that the page has now. */
export const svgOf = (layout: Layout): string => {
  const width = Math.ceil(layout.width) + 2 * margin
  const height = Math.ceil(layout.height) + 2 * margin
  const holder = document.createElement('div')
  render(
    h(
      'svg',
      { xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `${-margin} ${-margin} ${width} ${height}` },
      h('style', {}, drawingStyles()),
      h('rect', { x: -margin, y: -margin, width, height, fill: colour('--page') }),
      h(Markers, {}),
      h(Diagram, { layout }),
    ),
    holder,
  )
  const [svg] = holder.children
  if (svg === undefined) return ''
  const text = new XMLSerializer().serializeToString(svg)
  render(null, holder)
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text}\n`
}

/** The largest side and area of a canvas that browsers draw, in dots. */
const most = { side: 16_384, area: 2 ** 27 } as const

/** The chart as a PNG with two dots for each px; with fewer where a canvas has no room for so many. */
export const pngOf = async (layout: Layout): Promise<Blob> => {
  const image = new Image()
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgOf(layout))}`
  await image.decode()
  const { width, height } = image
  const scale = Math.min(2, most.side / Math.max(width, height), Math.sqrt(most.area / (width * height)))
  const canvas = document.createElement('canvas')
  canvas.width = Math.floor(width * scale)
  canvas.height = Math.floor(height * scale)
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('this browser cannot draw a picture')
  context.scale(scale, scale)
  context.drawImage(image, 0, 0)
  return new Promise((resolve, reject) => {
    canvas.toBlob(blob => (blob === null ? reject(new Error('the picture is too large')) : resolve(blob)), 'image/png')
  })
}

/** Hands a file to the user. */
export const save = (name: string, content: Blob): void => {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

const isOfDrawing = (selector: string): boolean =>
  /^\.(diagram|state|edge|arrow|dot|label|line|any|compound-text)/.test(selector) && !/hover|focus/.test(selector)

/** The page's own rules for drawings, with the values of their colours. */
const drawingStyles = (): string =>
  [...document.styleSheets]
    .flatMap(sheet => [...sheet.cssRules])
    .flatMap(rule => {
      if (rule instanceof CSSFontFaceRule) return [rule.cssText]
      if (!(rule instanceof CSSStyleRule) || !rule.selectorText.split(',').some(part => isOfDrawing(part.trim())))
        return []
      return [rule.cssText.replaceAll(/var\((--[a-z-]+)\)/g, (_, name: string) => colour(name))]
    })
    .join('\n')
