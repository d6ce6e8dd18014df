/** The floor of the transport: blocks per second through one TLS connection to another process and back. */
import { connect, type TLSSocket } from 'node:tls'
import { tcpParameters, tlsParameters } from '../../../src/smp/transport/tlsConnection.js'
import { BLOCK_BYTES } from '../../../src/smp/protocol/block.js'
import type { Effort, Figure } from '../measure.js'
import { repeated } from '../measure.js'
import { type ChildOptions, startChild } from '../processes.js'

const inFlight = 64

/** Blocks echoed per second with 64 in flight, under the cipher and curves of SMP. */
export const tlsBlocksPerSecond = async ({ repeats, floorMs }: Effort, options: ChildOptions): Promise<Figure> => {
  const child = startChild(new URL('./echoProcess.js', import.meta.url), options)
  try {
    const port = await child.call<number>('listen')
    const socket = await dial(port)
    const rate = await repeated(Math.max(2, repeats), () => echoRate(socket, floorMs))
    socket.destroy()
    return rate
  } finally {
    await child.stop()
  }
}

const dial = (port: number): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ ...tlsParameters, ...tcpParameters, host: '127.0.0.1', port, rejectUnauthorized: false })
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
  })

const echoRate = (socket: TLSSocket, ms: number): Promise<number> =>
  new Promise(resolve => {
    const block = Buffer.alloc(BLOCK_BYTES, 1)
    const start = performance.now()
    let bytes = 0
    let sent = 0
    const received = (chunk: Buffer): void => {
      bytes += chunk.length
      const back = Math.floor(bytes / BLOCK_BYTES)
      const elapsed = performance.now() - start
      if (elapsed >= ms) {
        if (back < sent) return
        socket.removeListener('data', received)
        resolve((back * 1000) / elapsed)
        return
      }
      for (; sent < back + inFlight; sent++) socket.write(block)
    }
    socket.on('data', received)
    for (; sent < inFlight; sent++) socket.write(block)
  })
