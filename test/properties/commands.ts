/** Calls of an application as fast-check draws them, each with what the model says of its answer. */
import * as fc from 'fast-check'
import { type Model, type ModelConnection, type Name, other } from './model.js'
import { codeOf, type RealConnection, type System } from './system.js'

type Command = fc.AsyncCommand<Model, System>

/** A command in a few words. */
const command = (
  text: string,
  check: (model: Model) => boolean,
  run: (model: Model, system: System) => Promise<void>,
): Command => ({ check, run, toString: () => text })

const at = (model: Model, index: number): ModelConnection | undefined =>
  model.connections[index % Math.max(1, model.connections.length)]
const real = (model: Model, system: System, index: number): RealConnection =>
  system.connections[index % model.connections.length] as RealConnection

/** The call is answered as the model says: refused while the agent is suspended, else done. */
const answered = async (model: Model, name: Name, call: Promise<unknown>): Promise<boolean> => {
  const code = await call.then(
    () => undefined,
    (error: unknown) => codeOf(error),
  )
  if (model.suspended[name]) {
    if (code !== 'AGENT_SUSPENDED') throw new Error(`a suspended agent answered ${code ?? 'OK'}`)
    return false
  }
  if (code !== undefined) throw new Error(`refused with ${code}`)
  return true
}

const create = (user: number): Command =>
  command(
    `create(${user})`,
    model => model.connections.length < 3 && model.users.has(user),
    async (model, system) => {
      const call = system.agent('alice').createConnection({ userId: system.users.get(user) as number })
      void call.catch(() => {})
      if (!(await answered(model, 'alice', call))) return
      const { connectionId, link } = await call
      system.newConnection(connectionId, link)
      model.connections.push({ stage: 'created', user, accepted: { alice: [], bob: [] } })
    },
  )

const join = (index: number): Command =>
  command(
    `join(${index})`,
    model => at(model, index)?.stage === 'created',
    async (model, system) => {
      const connection = real(model, system, index)
      const call = system.agent('bob').joinConnection({ link: connection.link })
      void call.catch(() => {})
      if (!(await answered(model, 'bob', call))) return
      connection.ids.bob = (await call).connectionId
      ;(at(model, index) as ModelConnection).stage = 'joined'
    },
  )

/** The readers allow by themselves, as soon as CONF comes. */
const complete = (index: number): Command =>
  command(
    `complete(${index})`,
    model => at(model, index)?.stage === 'joined' && !model.suspended.alice && !model.suspended.bob,
    async (model, system) => {
      await system.until(() => real(model, system, index).complete.size === 2, 'CON on both sides')
      ;(at(model, index) as ModelConnection).stage = 'connected'
    },
  )

const send = (index: number, name: Name, count: number, batch: boolean): Command =>
  command(
    `${batch ? 'batch' : 'send'}(${index}, ${name}, ${count})`,
    model => at(model, index)?.stage === 'connected',
    async (model, system) => {
      const { accepted } = at(model, index) as ModelConnection
      const connection = real(model, system, index)
      const connectionId = connection.ids[name] as string
      const bodies = Array.from({ length: count }, (_, n) => `${name} ${index} ${accepted[name].length + n}`)
      // No message is taken while the ratchet is made anew (B84).
      if (connection.syncing.size > 0 && !model.suspended.alice && !model.suspended.bob)
        await system.until(() => connection.syncing.size === 0, 'the end of the synchronisation')
      if (connection.syncing.size > 0) return
      const agent = system.agent(name)
      const call = batch
        ? agent.sendMessages({ items: bodies.map(body => ({ connectionId, body })) })
        : Promise.all(bodies.map(body => agent.sendMessage({ connectionId, body })))
      if (await answered(model, name, call)) accepted[name].push(...bodies)
    },
  )

/** May be refused by the state of the connection, which the model does not know. */
const maybe = (text: 'rotate' | 'abort', index: number, name: Name): Command =>
  command(
    `${text}(${index}, ${name})`,
    model => at(model, index)?.stage === 'connected',
    async (model, system) => {
      const connectionId = real(model, system, index).ids[name] as string
      const agent = system.agent(name)
      const call = text === 'rotate' ? agent.switchConnection({ connectionId }) : agent.abortSwitch({ connectionId })
      const prohibited = (error: unknown) => {
        if (codeOf(error) !== 'CMD_PROHIBITED') throw error
      }
      await answered(model, name, call.catch(prohibited))
    },
  )

const sync = (index: number, name: Name): Command =>
  command(
    `sync(${index}, ${name})`,
    model => at(model, index)?.stage === 'connected',
    async (model, system) => {
      const connection = real(model, system, index)
      if (connection.syncing.size > 0) return
      const connectionId = connection.ids[name] as string
      if (await answered(model, name, system.agent(name).synchronizeRatchet({ connectionId, force: true }))) {
        connection.syncing.add('alice').add('bob')
      }
    },
  )

const suspend = (name: Name): Command =>
  command(
    `suspend(${name})`,
    model => !model.suspended[name],
    async (model, system) => {
      await system.agent(name).suspendAgent({ maxDelayMs: 0 })
      model.suspended[name] = true
    },
  )

const foreground = (name: Name): Command =>
  command(
    `foreground(${name})`,
    model => model.suspended[name],
    async (model, system) => {
      await system.agent(name).foregroundAgent({})
      model.suspended[name] = false
    },
  )

const remove = (index: number, name: Name): Command =>
  command(
    `delete(${index}, ${name})`,
    model => at(model, index)?.stage === 'connected',
    async (model, system) => {
      const connectionId = real(model, system, index).ids[name] as string
      const call = system.agent(name).deleteConnection({ connectionId })
      if (await answered(model, name, call)) (at(model, index) as ModelConnection).stage = 'deleted'
    },
  )

const newUser = (): Command =>
  command(
    'newUser',
    model => model.usersMade < 2,
    async (model, system) => {
      const call = system.agent('alice').createUser({ name: 'another' })
      void call.catch(() => {})
      if (!(await answered(model, 'alice', call))) return
      const user = ++model.usersMade
      system.users.set(user, (await call).userId)
      model.users.add(user)
    },
  )

const deleteUser = (user: number): Command =>
  command(
    `deleteUser(${user})`,
    model => model.users.has(user),
    async (model, system) => {
      const call = system.agent('alice').deleteUser({ userId: system.users.get(user) as number })
      if (!(await answered(model, 'alice', call))) return
      model.users.delete(user)
      for (const connection of model.connections) if (connection.user === user) connection.stage = 'deleted'
    },
  )

const pass = (ms: number): Command =>
  command(
    `pass(${ms})`,
    () => true,
    async (_model, system) => system.pass(ms),
  )

const index = fc.nat({ max: 2 })
const name = fc.constantFrom<Name>('alice', 'bob')

export const commandArbitraries: Array<fc.Arbitrary<Command>> = [
  fc.nat({ max: 2 }).map(create),
  index.map(join),
  index.map(join),
  index.map(complete),
  index.map(complete),
  fc.tuple(index, name, fc.integer({ min: 1, max: 4 }), fc.boolean()).map(args => send(...args)),
  fc.tuple(index, name, fc.integer({ min: 1, max: 4 }), fc.boolean()).map(args => send(...args)),
  fc
    .tuple(fc.constantFrom('rotate' as const, 'rotate' as const, 'abort' as const), index, name)
    .map(args => maybe(...args)),
  fc.tuple(index, name).map(args => sync(...args)),
  name.map(suspend),
  name.map(foreground),
  name.map(foreground),
  fc.tuple(index, name).map(args => remove(...args)),
  fc.constant(0).map(newUser),
  fc.integer({ min: 1, max: 2 }).map(deleteUser),
  fc.constantFrom(0, 20, 3_000, 60_000).map(pass),
]

/** Everything goes on and comes to its end, and then the system is as the model says. */
export const settleAndCompare = async (model: Model, system: System): Promise<void> => {
  for (const party of ['alice', 'bob'] as const) await system.agent(party).foregroundAgent({})
  for (const [at, { stage }] of model.connections.entries()) {
    const connection = system.connections[at] as RealConnection
    if (stage === 'joined') await system.until(() => connection.complete.size === 2, 'CON on both sides')
    if (stage === 'connected') await sayLast(system, model.connections[at] as ModelConnection, connection)
  }
  await system.pass(120_000)
  if (system.wrong.length > 0) throw new Error(system.wrong.join('\n'))
  for (const [at, { stage, accepted }] of model.connections.entries()) {
    const connection = system.connections[at] as RealConnection
    for (const from of ['alice', 'bob'] as const) {
      const heard = connection.heard[other(from)]
      const expected = stage === 'connected' ? accepted[from] : accepted[from].slice(0, heard.length)
      if (JSON.stringify(heard) !== JSON.stringify(expected)) {
        throw new Error(`${from} said ${accepted[from].join()}, and heard was ${heard.join()}`)
      }
    }
    if (stage === 'connected' && connection.failed.length > 0) throw new Error(`failed: ${connection.failed.join()}`)
  }
  await cleanUp(model, system)
}

// Both ends agree on the ratchet: a message goes each way.
const sayLast = async (system: System, { accepted }: ModelConnection, connection: RealConnection): Promise<void> => {
  await system.until(() => connection.syncing.size === 0, 'the end of the synchronisation')
  for (const from of ['alice', 'bob'] as const) {
    const body = `${from} at last`
    await system.agent(from).sendMessage({ connectionId: connection.ids[from] as string, body })
    accepted[from].push(body)
  }
  await system.until(() => {
    const arrived = (from: Name): boolean => connection.heard[other(from)].length >= accepted[from].length
    return arrived('alice') && arrived('bob')
  }, 'all messages')
}

const cleanUp = async (_model: Model, system: System): Promise<void> => {
  for (const { ids } of system.connections) {
    for (const from of ['alice', 'bob'] as const) {
      const connectionId = ids[from]
      if (connectionId !== undefined) await system.agent(from).deleteConnection({ connectionId }).catch(gone)
    }
  }
  await system.pass(2 * 3_600_000)
  const left = await system.leftovers()
  if (left.length > 0) throw new Error(left.join('\n'))
}

const gone = (error: unknown): void => {
  if (codeOf(error) !== 'CONN_NOT_FOUND') throw error
}
