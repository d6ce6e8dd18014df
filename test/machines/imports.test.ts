import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const directory = fileURLToPath(new URL('../../machines/', import.meta.url))
const files = readdirSync(directory).filter(name => name.endsWith('.ts'))
const specifier = /^(?:(?:import|export|\})[^'"\n]*\bfrom|import)\s*['"]([^'"]+)['"]/gm

describe('machines', () => {
  it.each(files)('%s imports only xstate and its neighbours, so that it runs in a browser as it is', file => {
    const source = readFileSync(`${directory}${file}`, 'utf8')
    const imported = [...source.matchAll(specifier)].map(match => match[1] as string)
    const neighbours = new Set(files.map(name => `./${name.replace(/\.ts$/, '.js')}`))
    if (/^import\b/m.test(source)) expect(imported).not.toHaveLength(0)
    expect(imported.filter(name => name !== 'xstate' && !neighbours.has(name))).toEqual([])
    expect(source).not.toMatch(/\bimport\s*\(/)
    expect(source).not.toMatch(/\b(?:process|Buffer|require|setTimeout|setInterval|Date)\b\s*[.(]/)
  })
})
