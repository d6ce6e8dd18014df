/** `duologue visualize`: the statecharts in a browser, served on loopback or written as files. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { ConfigError } from '../errors.js'
import { openVisualizerHost, readPage } from '../service/visualizerHost.js'
import { aborted, catchStopSignals } from './signals.js'

interface Options {
  readonly out?: string
  readonly port?: number
  readonly json?: boolean
}

export const visualizeCommand = (): Command =>
  new Command('visualize')
    .description('Show the statecharts in a browser: serve the page on loopback, or write it as static files.')
    .option('--out <dir>', 'write the page and the charts (Mermaid, SCXML, JSON) to this directory and end')
    .option('--port <port>', 'port on 127.0.0.1; 0 takes a free one (default: 4747)', portNumber)
    .option('--json', 'print the result as JSON, and an error too')
    .action((options: Options) =>
      options.out === undefined ? servePage(options) : writePage(options.out, options.json === true),
    )

/** An argument that is a port. */
export const portNumber = (text: string): number => {
  const port = /^\d+$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw new InvalidArgumentError('a number from 0 to 65535')
  return port
}

export const defaultVisualizerPort = 4747

const servePage = async ({ port = defaultVisualizerPort, json }: Options): Promise<void> => {
  const stop = catchStopSignals()
  try {
    const host = await openVisualizerHost({ port })
    console.log(json === true ? JSON.stringify({ url: host.url }) : host.url)
    await aborted(stop.signal)
    await host.close()
  } finally {
    stop.release()
  }
}

const writePage = async (directory: string, json: boolean): Promise<void> => {
  const { html } = await readPage()
  const files = new Map([['index.html', html], ...(await chartFiles())])
  try {
    await mkdir(directory, { recursive: true })
    for (const [name, content] of files) await writeFile(join(directory, name), content)
  } catch (cause) {
    throw new ConfigError('CONFIG_FILE', 'the page cannot be written', { field: directory, cause })
  }
  console.log(json ? JSON.stringify({ files: [...files.keys()] }) : join(directory, 'index.html'))
}

const chartFiles = async (): Promise<Array<[string, string]>> => {
  // Loaded here, so that the other commands start without it.
  const [{ machines }, { chartOf }, { mermaidOf }, { scxmlOf }] = await Promise.all([
    import('../visualizer/model/machines.js'),
    import('../visualizer/model/chart.js'),
    import('../visualizer/model/exports/mermaid.js'),
    import('../visualizer/model/exports/scxml.js'),
  ])
  return machines.flatMap(({ name, machine }): Array<[string, string]> => {
    const chart = chartOf(machine)
    return [
      [`${name}.mmd`, mermaidOf(chart)],
      [`${name}.scxml`, scxmlOf(chart)],
      [`${name}.json`, `${JSON.stringify(chart, null, 2)}\n`],
    ]
  })
}
