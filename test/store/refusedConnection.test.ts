/** A database that refuses a connection and never closes it: whoever asked must not wait for that. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { openStore } from '../../src/store/open.js'

const migrations = fileURLToPath(new URL('migrations', import.meta.url))

/** FATAL 53300, as Postgres says that it has no connection left. */
const tooMany = (): Buffer => {
  const fields = Buffer.from('SFATAL\0VFATAL\0C53300\0Mtoo many clients\0\0')
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

it('is given up at once, with its error', async () => {
  const sockets: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => socket.write(tooMany()))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    const databaseUrl = `postgres://nobody@127.0.0.1:${port}/none`
    const opening = openStore({ databaseUrl, schema: 'refused', scope: 'agent', migrations })
    await expect(opening).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  } finally {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  }
}, 20_000)
