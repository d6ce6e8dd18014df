import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StoreError } from '../../src/errors.js'
import { initRouter, isRouterDirectory, loadRouter, readRouterDirectory } from '../../src/router/directory.js'
import { startRouter } from '../../src/router/router.js'
import { parseRouterAddressWithAuth } from '../../src/smp/protocol/routerAddress.js'
import { tlsDialer } from '../../src/smp/transport/tls.js'
import { lockDirectory } from '../../src/store/directoryLock.js'
import { openMemoryStore } from '../../src/store/memory.js'
import { bodyText, errorOf, newQueue, send, startClient } from '../support/router/client.js'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'router-directory-'))
})
afterEach(() => rm(root, { recursive: true, force: true }))

const openQueues = async () => openMemoryStore()

describe('a router directory', () => {
  it('is made once, with an address that names identity, password, hosts and port', async () => {
    const dir = join(root, 'new')
    expect(await isRouterDirectory(dir)).toBe(false)
    const made = await initRouter(dir, { host: ['a.example', '10.0.0.1'], port: 5224, password: 'secret' })
    const { router, basicAuth } = parseRouterAddressWithAuth(made.address)
    expect(Buffer.from(router.keyHash)).toEqual(Buffer.from(made.identity.keyHash))
    expect({ hosts: router.hosts, port: router.port, basicAuth }).toEqual({
      hosts: ['a.example', '10.0.0.1'],
      port: '5224',
      basicAuth: 'secret',
    })
    expect((await readRouterDirectory(dir)).address).toBe(made.address)
    expect(await isRouterDirectory(dir)).toBe(true)
    expect((await stat(join(dir, 'router.json'))).mode & 0o777).toBe(0o600)
    await expect(initRouter(dir, { host: 'b.example' })).rejects.toMatchObject({ code: 'CONFIG_EXISTS' })
    expect((await readRouterDirectory(dir)).address).toBe(made.address)
  })

  it('finishes an init that was killed: a whole identity is kept, a torn one is set aside and never deleted', async () => {
    const dir = join(root, 'killed')
    const made = await initRouter(dir, { host: 'a.example' })
    await rm(join(dir, 'router.json'))
    expect((await initRouter(dir, { host: 'a.example' })).address).toBe(made.address)
    await rm(join(dir, 'router.json'))
    await rm(join(dir, 'fingerprint'))
    const caKey = await readFile(join(dir, 'ca.key'), 'utf8')
    expect((await initRouter(dir, { host: 'a.example' })).address).not.toBe(made.address)
    expect(await readFile(join(dir, 'ca.key.unfinished'), 'utf8')).toBe(caKey)
  })

  it('with wrong settings is not made', async () => {
    const invalid = { code: 'CONFIG_INVALID' }
    await expect(initRouter(root, { host: 'no spaces' })).rejects.toMatchObject({ ...invalid, field: 'host' })
    await expect(initRouter(root, { host: 'a', port: 70_000 })).rejects.toMatchObject({ ...invalid, field: 'port' })
    await expect(initRouter(root, { host: 'a', password: 'a@b' })).rejects.toMatchObject({
      ...invalid,
      field: 'password',
    })
    expect(await isRouterDirectory(root)).toBe(false)
  })

  it('that is missing or broken is refused with what to do', async () => {
    await expect(readRouterDirectory(root)).rejects.toMatchObject({ code: 'CONFIG_FILE', hint: expect.any(String) })
    await initRouter(root, { host: 'localhost' })
    const path = join(root, 'router.json')
    const before = await readFile(path, 'utf8')
    await writeFile(path, '{')
    await expect(readRouterDirectory(root)).rejects.toMatchObject({ code: 'CONFIG_INVALID', field: path })
    await writeFile(path, before.replace('"hosts"', '"guests"'))
    await expect(readRouterDirectory(root)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('is started over TLS and keeps messages over a restart in order', async () => {
    await initRouter(root, { host: 'localhost', port: 0 })
    // The rows of queues outlive the router here as they would in a database.
    let store = openMemoryStore()
    const start = async () =>
      startRouter(await loadRouter(root, { listenHost: '127.0.0.1', openQueues: async () => (store = store.reopen()) }))
    const connect = async (address: string) => {
      const { router } = parseRouterAddressWithAuth(address)
      const place = { ...router, hosts: ['127.0.0.1'] }
      return startClient(await tlsDialer().dial(place, { timeoutMs: 5000 }), { keyHash: router.keyHash })
    }
    const first = await start()
    const alice = await connect(first.address)
    const queue = await newQueue(alice, { subscribe: false })
    for (const text of ['1', '2']) expect(errorOf(await alice.one(send(text), queue.sndId))).toBe('OK')
    await first.close()
    const second = await start()
    const again = await connect(second.address)
    expect(errorOf(await again.one({ type: 'SUB' }, queue.rcvId, queue.key))).toBe('SOK')
    const message = queue.open((await again.event()).response)
    const next = await again.one({ type: 'ACK', messageId: message.messageId }, queue.rcvId, queue.key)
    expect([message, queue.open(next)].map(bodyText)).toEqual(['1', '2'])
    await second.close()
  })

  it('belongs to one process at a time', async () => {
    await initRouter(root, { host: 'localhost', port: 0 })
    const options = await loadRouter(root, { openQueues })
    await expect(loadRouter(root, { openQueues })).rejects.toMatchObject({ code: 'STORE_LOCKED' })
    await options.messages.close()
    await options.ownership?.release()
    const again = await loadRouter(root, { openQueues })
    await again.messages.close()
    await again.ownership?.release()
  })

  it('is free again when opening or listening failed', async () => {
    await initRouter(root, { host: 'localhost', port: 0 })
    const failing = { openQueues: () => Promise.reject(new Error('no database')) }
    await expect(loadRouter(root, failing)).rejects.toThrow('no database')
    const taken = await startRouter(await loadRouter(root, { listenHost: '127.0.0.1', openQueues }))
    const other = join(root, 'other')
    await initRouter(other, { host: 'localhost', port: taken.port })
    const options = await loadRouter(other, { listenHost: '127.0.0.1', openQueues })
    await expect(startRouter(options)).rejects.toMatchObject({ code: 'TRANSPORT_LISTEN' })
    await (await lockDirectory(other)).release()
    await taken.close()
  })
})

describe('a router whose directory another process has taken', () => {
  it('stops', async () => {
    await initRouter(root, { host: 'localhost', port: 0 })
    let lose: (error: StoreError) => void = () => {}
    const options = await loadRouter(root, {
      listenHost: '127.0.0.1',
      openQueues: async (_dir, lost) => {
        lose = lost
        return openMemoryStore()
      },
    })
    const router = await startRouter(options)
    const { router: place } = parseRouterAddressWithAuth(router.address)
    const channel = await tlsDialer().dial({ ...place, hosts: ['127.0.0.1'] }, { timeoutMs: 5000 })
    const closed = new Promise(resolve => channel.onClose(resolve))
    lose(new StoreError('STORE_NOT_OWNER', 'taken'))
    await closed
    await router.close()
    await (await lockDirectory(root)).release()
  })
})
