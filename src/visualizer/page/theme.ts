/** Light, dark, or as the system is. */
export type Theme = 'system' | 'light' | 'dark'

const key = 'duologue.theme'
const isTheme = (value: unknown): value is Theme => value === 'system' || value === 'light' || value === 'dark'

// A page from a file may have no storage.
const stored = (): string | null => {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

export const currentTheme = (): Theme => {
  const value = stored()
  return isTheme(value) ? value : 'system'
}

export const applyTheme = (theme: Theme = currentTheme()): void => {
  document.documentElement.dataset['theme'] = theme
}

export const chooseTheme = (theme: Theme): void => {
  try {
    localStorage.setItem(key, theme)
  } catch {
    // It holds until the page is closed.
  }
  applyTheme(theme)
}
