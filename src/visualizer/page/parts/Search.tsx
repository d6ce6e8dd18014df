/** Finds machines, states, events and behaviours by any words of theirs. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { wireWordsAt } from '../../model/wire.js'
import { scenarios } from '../../model/world/scenarios.js'
import { behaviourOf, knownMachines } from '../charts.js'
import { hrefOf } from '../route.js'

interface Entry {
  readonly title: string
  readonly about: string
  readonly text: string
  readonly href: string
}

const entries = (): Entry[] => [...ofMachines(), ...ofScenarios()]

const ofScenarios = (): Entry[] =>
  scenarios.map(({ id, title, about, spec }) => ({
    title: `Two sides · ${title}`,
    about,
    text: [title, about, ...spec.flatMap(id => [id, behaviourOf(id)?.title ?? ''])].join(' '),
    href: hrefOf('sides', id),
  }))

const ofMachines = (): Entry[] =>
  knownMachines.flatMap(({ name, chart }) => [
    { title: name, about: chart.description, text: `${name} ${chart.description}`, href: hrefOf('chart', name) },
    ...chart.states
      .filter(({ path }) => path !== '')
      .map(state => {
        const { path, description, spec } = state
        const titles = spec.map(id => behaviourOf(id)?.title ?? '')
        const words = wireWordsAt(chart, state, titles).map(([word]) => word)
        return {
          title: `${name} · ${path}`,
          about: description,
          text: [name, path, description, ...spec, ...titles, ...words].join(' '),
          href: hrefOf('chart', name, path),
        }
      }),
    ...chart.transitions.map(({ label, source, guard, actions, target }) => ({
      title: `${name} · ${label}`,
      about: `${source === '' ? 'in any state' : `in ${source}`}${target === undefined ? '' : ` → ${target}`}`,
      text: [name, label, guard?.name ?? '', ...actions.map(action => action.name)].join(' '),
      href: hrefOf('chart', name, source),
    })),
  ])

const most = 40

export const Search = (): JSX.Element => {
  const input = useRef<HTMLInputElement>(null)
  const box = useRef<HTMLDivElement>(null)
  const [text, setText] = useState('')
  // Gathered when somebody searches: the first paint need not wait for it.
  const all = useMemo(() => (text === '' ? [] : entries()), [text === ''])
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  const found =
    words.length === 0
      ? []
      : all
          .filter(entry => words.every(word => entry.text.toLowerCase().includes(word)))
          .filter(
            (entry, index, list) =>
              list.findIndex(({ title, about }) => title === entry.title && about === entry.about) === index,
          )
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== '/' || event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement)
        return
      event.preventDefault()
      input.current?.focus()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  const links = (): HTMLAnchorElement[] => [...(box.current?.querySelectorAll('a') ?? [])]
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') {
      setText('')
      input.current?.blur()
      return
    }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
    event.preventDefault()
    const list = links()
    const at = list.indexOf(document.activeElement as HTMLAnchorElement)
    const next = at + (event.key === 'ArrowDown' ? 1 : -1)
    if (next < 0) input.current?.focus()
    else list[Math.min(next, list.length - 1)]?.focus()
  }
  return (
    <div class="search" role="search" ref={box} onKeyDown={onKeyDown}>
      <input
        ref={input}
        type="search"
        placeholder="Search states, events, B41"
        aria-label="Search"
        value={text}
        onInput={event => setText(event.currentTarget.value)}
        onKeyDown={event => {
          const [first] = links()
          if (event.key === 'Enter') first?.click()
        }}
      />
      {text === '' && <kbd>/</kbd>}
      {words.length > 0 && (
        <div class="results">
          {found.slice(0, most).map((entry, index) => (
            <a key={index} href={entry.href} onClick={() => setText('')}>
              {entry.title}
              <small>{entry.about}</small>
            </a>
          ))}
          {found.length === 0 && <p class="empty">Nothing has these words.</p>}
          {found.length > most && <p class="empty">and {found.length - most} more</p>}
        </div>
      )}
    </div>
  )
}
