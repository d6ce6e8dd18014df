import { render } from 'preact'
import { App } from './App.js'
import { forgetWidths } from './diagram/text.js'
import { applyTheme } from './theme.js'

// Boxes are as wide as their text, so the fonts must be there before anything is measured.
const fonts = ['400 12px "Inter Variable"', '650 17px "Inter Variable"', '450 11px "JetBrains Mono Variable"']

const start = async (): Promise<void> => {
  applyTheme()
  await Promise.all(fonts.map(font => document.fonts.load(font)))
  forgetWidths()
  const root = document.getElementById('app')
  if (root !== null) render(<App />, root)
}

void start()
