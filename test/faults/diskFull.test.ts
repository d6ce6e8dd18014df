/**
 * A router process whose disk takes nothing more, and takes it again later. The disk is full by the process’s limit of the size of its
 * files (RLIMIT_FSIZE, set from outside by prlimit): every write fails at once, EFBIG instead of ENOSPC. So it shows what the router
 * makes of a failed write, on any machine and without rights; it does not show what a file system does when it is full.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TlsAgent, type TlsWorld, tlsWorld } from '../support/tlsWorld.js'
import { Exchange, kept } from './exchange.js'
import type { RestartedProcess } from './harness.js'
import { type PrivatePostgres, startPostgres } from './privatePostgres.js'
import { report } from './report.js'
import { startRouter } from './world.js'

/** A full disk looks like a full queue, which is tried again after five minutes by default. */
const config = { slowRetry: { initial: 300, growAfter: 60_000, max: 1_000 } }

let postgres: PrivatePostgres
let directory: string
let router: RestartedProcess
let world: TlsWorld
let alice: TlsAgent
let bob: TlsAgent
beforeAll(async () => {
  postgres = await startPostgres()
  directory = await mkdtemp(join(tmpdir(), 'duologue-disk-'))
  // Its queues are in Postgres: what the limit reaches is the journal of messages.
  const started = await startRouter(directory, ['--database-url', postgres.url, '--schema', 'router'])
  router = started.process
  world = await tlsWorld({ databaseUrl: postgres.url, routerAddress: started.address })
  alice = await world.startAgent({ config })
  bob = await world.startAgent({ config })
})
afterAll(async () => {
  await world?.close()
  if (router?.running) await router.kill()
  await postgres?.remove()
  if (directory !== undefined) await rm(directory, { recursive: true, force: true })
})

const limitFiles = async (pid: number, bytes: number | 'unlimited'): Promise<void> => {
  await promisify(execFile)('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`])
}

const warnings = (agent: TlsAgent) => agent.events.filter(({ type }) => type === 'MWARN')
const interruptions = () => [alice, bob].flatMap(({ events }) => events.filter(({ type }) => type === 'DOWN')).length

it('B32 B41 the disk of the router takes nothing more: senders keep their messages and are told, and all arrives when there is room, over the same sessions', async () => {
  const { initiatorId, joinerId } = await world.connect(alice, bob)
  const exchange = new Exchange([alice, bob], [initiatorId, joinerId])
  await exchange.moved()
  const before = interruptions()
  await limitFiles(router.pid, 0)
  await exchange.until('the senders are told', () => [alice, bob].every(agent => warnings(agent).length > 0))
  expect(warnings(alice)[0]).toMatchObject({ error: { code: 'QUOTA' } })
  await limitFiles(router.pid, 'unlimited')
  const recovered = await exchange.moved()
  expect(interruptions()).toBe(before)
  // What was accepted is on the disk.
  await router.kill()
  router.start()
  const [ofAlice, ofBob] = await exchange.finish()
  expect(ofAlice).toEqual(kept(ofAlice.sent))
  expect(ofBob).toEqual(kept(ofBob.sent))
  report('the disk of the router takes nothing more', {
    recovered,
    messages: ofAlice.sent + ofBob.sent,
    told: 'MWARN',
  })
}, 180_000)
