/** Where the page is, as the part of its address behind `#`: `#/sndQueue/waiting.slow`, `#/step/sndQueue?walk=…`. */
import { useEffect, useState } from 'preact/hooks'

export const views = ['step', 'sides', 'live', 'replay', 'review'] as const
export type ViewName = 'chart' | (typeof views)[number]

export interface Route {
  readonly view: ViewName
  /** Machine, scenario or whatever the view is about. */
  readonly subject: string
  /** Path of a state. */
  readonly detail: string
  readonly query: ReadonlyMap<string, string>
}

export const parseRoute = (hash: string): Route => {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2)
  const parts = path.split('/').map(part => decodeText(part))
  const [first = ''] = parts
  const isView = (views as readonly string[]).includes(first)
  const [subject = '', detail = ''] = isView ? parts.slice(1) : parts
  return {
    view: isView ? (first as ViewName) : 'chart',
    subject,
    detail,
    query: new Map(new URLSearchParams(query).entries()),
  }
}

const decodeText = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const hrefOf = (
  view: ViewName,
  subject = '',
  detail = '',
  query: Readonly<Record<string, string>> = {},
): string => {
  const parts = [...(view === 'chart' ? [] : [view]), ...[subject, detail].filter(part => part !== '')]
  const search = new URLSearchParams(query).toString()
  return `#/${parts.map(encodeURIComponent).join('/')}${search === '' ? '' : `?${search}`}`
}

/** Goes somewhere; `replace` leaves no entry in the history. */
export const go = (href: string, replace = false): void => {
  if (location.hash === href) return
  if (!replace) {
    location.hash = href
    return
  }
  history.replaceState(undefined, '', href)
  dispatchEvent(new HashChangeEvent('hashchange'))
}

export const useRoute = (): Route => {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const onChange = (): void => setHash(location.hash)
    addEventListener('hashchange', onChange)
    return () => removeEventListener('hashchange', onChange)
  }, [])
  return parseRoute(hash)
}
