/** The page as one file that works offline and from disk: script, styles and fonts are inside it. */
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'

const inline = (): Plugin => ({
  name: 'inline',
  enforce: 'post',
  generateBundle(_options, bundle) {
    const page = bundle['index.html']
    if (page?.type !== 'asset') return
    let html = String(page.source)
    const put = (tag: RegExp, content: string): void => {
      // A function, since `$&` in a script must stay what it is.
      html = html.replace(tag, () => content)
    }
    for (const [name, part] of Object.entries(bundle)) {
      if (part.type === 'chunk') {
        put(/<script type="module"[^>]*><\/script>/, '')
        put(/<\/body>/, `<script type="module">${part.code.replaceAll('</script', '<\\/script')}</script></body>`)
        delete bundle[name]
      } else if (name.endsWith('.css')) {
        put(/<link rel="stylesheet"[^>]*>/, `<style>${String(part.source)}</style>`)
        delete bundle[name]
      }
    }
    page.source = html
  },
})

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  plugins: [inline()],
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: fileURLToPath(new URL('../../../dist/visualizer', import.meta.url)),
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: false,
    assetsInlineLimit: 1_000_000,
    cssCodeSplit: false,
    chunkSizeWarningLimit: 4_000,
  },
})
