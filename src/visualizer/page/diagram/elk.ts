/** ELK in a worker: a large chart takes it a while, and the page neither waits for its code nor stands still meanwhile. */
import ElkApi, { type ELK } from 'elkjs/lib/elk-api.js'
import source from 'elkjs/lib/elk-worker.min.js?raw'

const startWorker = (): Worker => {
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
  const worker = new Worker(url)
  // The script has been read by the time that the worker says anything, and it says so as its first word.
  worker.addEventListener('message', () => URL.revokeObjectURL(url), { once: true })
  return worker
}

/** Lives as long as the page; started at once, so that it reads its code while the page reads its fonts. */
export const elk: ELK = new ElkApi({ workerFactory: startWorker })
