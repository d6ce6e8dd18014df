import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { signalLinkingMachine } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'
import { takesEveryTransition } from '../transitions/taken.js'

const start = () => {
  const clock = virtualClock(0)
  const [connecting, storing, registering, uploading] = [
    controlledWork<void>(clock),
    controlledWork<void>(clock),
    controlledWork<void>(clock),
    controlledWork<void>(clock),
  ]
  const acted: string[] = []
  const machine = signalLinkingMachine.provide({
    actors: {
      connect: fromPromise<void>(() => connecting.run()),
      storeAccount: fromPromise<void, { deviceName: string }>(({ input }) => {
        acted.push(`store ${input.deviceName}`)
        return storing.run()
      }),
      register: fromPromise<void>(() => registering.run()),
      uploadKeys: fromPromise<void>(() => uploading.run()),
    },
    actions: {
      showLink: () => void acted.push('showLink'),
      closeSocket: () => void acted.push('closeSocket'),
      forgetAccount: () => void acted.push('forgetAccount'),
    },
  })
  return { ...startWorker(machine, { deviceName: 'd' }, clock), connecting, storing, registering, uploading, acted }
}

describe('signalLinking', () => {
  it('S01 connects, shows the link, stores keys before the server hears of them, registers, uploads', async () => {
    const { send, state, connecting, storing, registering, uploading, acted } = start()
    await connecting.end()
    send({ type: 'address.received' })
    expect([state(), acted]).toEqual(['shown', ['showLink']])
    send({ type: 'provision.received' })
    expect([state(), registering.calls()]).toEqual(['storing', 0])
    await storing.end()
    expect(state()).toBe('registering')
    // From here on the server may know the device: a cancel does not break it off.
    send({ type: 'linking.cancel' })
    send({ type: 'socket.lost' })
    await registering.end()
    await uploading.fail()
    expect(state()).toBe('linked')
  })

  it('S01 a link that is not scanned, refused or broken off leaves nothing behind', async () => {
    for (const [end, closed] of [
      ['linking.cancel', ['closeSocket']],
      ['socket.lost', []],
      ['provision.refused', ['closeSocket']],
    ] as const) {
      const { send, state, connecting, storing, acted } = start()
      await connecting.end()
      send({ type: 'address.received' })
      send({ type: end })
      expect([state(), storing.calls(), acted], end).toEqual(['failed', 0, ['showLink', ...closed]])
    }
    const { send, state, connecting, storing, registering, acted } = start()
    await connecting.end()
    send({ type: 'address.received' })
    send({ type: 'provision.received' })
    await storing.end()
    await registering.fail()
    expect([state(), acted.at(-1)]).toEqual(['failed', 'forgetAccount'])
  })

  it('S01 a socket that cannot be opened, or is not wanted any more, ends the attempt', async () => {
    const unreached = start()
    await unreached.connecting.fail()
    expect([unreached.state(), unreached.acted]).toEqual(['failed', []])
    const cancelled = start()
    cancelled.send({ type: 'linking.cancel' })
    expect([cancelled.state(), cancelled.acted]).toEqual(['failed', ['closeSocket']])
    // The socket that opens too late is not taken.
    await cancelled.connecting.end()
    expect(cancelled.state()).toBe('failed')
  })

  it('S01 a socket that ends before the address is known shows no link', async () => {
    for (const [end, closed] of [
      ['provision.refused', ['closeSocket']],
      ['socket.lost', []],
      ['linking.cancel', ['closeSocket']],
    ] as const) {
      const { send, state, connecting, acted } = start()
      await connecting.end()
      send({ type: end })
      send({ type: 'address.received' })
      expect([state(), acted], end).toEqual(['failed', closed])
    }
  })

  it('S01 keys that cannot be stored are told to nobody; a registration that breaks off leaves no account', async () => {
    const scanned = async () => {
      const linking = start()
      await linking.connecting.end()
      linking.send({ type: 'address.received' })
      linking.send({ type: 'provision.received' })
      return linking
    }
    const unstored = await scanned()
    await unstored.storing.fail()
    expect([unstored.state(), unstored.registering.calls()]).toEqual(['failed', 0])
    const unregistered = await scanned()
    await unregistered.storing.end()
    await unregistered.registering.fail()
    expect([unregistered.state(), unregistered.acted.at(-1)]).toEqual(['failed', 'forgetAccount'])
    const linked = await scanned()
    await linked.storing.end()
    await linked.registering.end()
    expect(linked.state()).toBe('uploading')
    await linked.uploading.end()
    expect([linked.state(), linked.acted]).toEqual(['linked', ['showLink', 'closeSocket', 'store d']])
  })
})

describe('signalLinking by itself', () => {
  it('S01 does nothing of its own: whoever forgets to provide a part is told its name', () => {
    const { actors, actions } = signalLinkingMachine.implementations
    expect(Object.keys(actors).sort()).toEqual(['connect', 'register', 'storeAccount', 'uploadKeys'])
    for (const [name, action] of Object.entries(actions)) expect(action as () => void, name).toThrow(name)
  })
})

takesEveryTransition(signalLinkingMachine)
