import { fromPromise } from 'xstate'
import { describe, expect, it } from 'vitest'
import { signalLinkingMachine, type SignalRegisterOutcome } from '../../machines/index.js'
import { virtualClock } from '../../src/testing/virtualClock.js'
import { controlledWork, startWorker } from './worker.js'

const start = () => {
  const clock = virtualClock(0)
  const [connecting, storing, uploading] = [
    controlledWork<void>(clock),
    controlledWork<void>(clock),
    controlledWork<void>(clock),
  ]
  const registering = controlledWork<SignalRegisterOutcome>(clock)
  const acted: string[] = []
  const machine = signalLinkingMachine.provide({
    actors: {
      connect: fromPromise<void, { deviceName: string }>(() => connecting.run()),
      storeAccount: fromPromise<void, { deviceName: string }>(() => storing.run()),
      register: fromPromise<SignalRegisterOutcome, { deviceName: string }>(() => registering.run()),
      uploadKeys: fromPromise<void, { deviceName: string }>(() => uploading.run()),
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
    await registering.end('registered')
    await uploading.fail()
    expect(state()).toBe('linked')
  })

  it('S01 a link that is not scanned, refused or broken off leaves nothing behind', async () => {
    for (const end of ['linking.cancel', 'socket.lost', 'provision.refused'] as const) {
      const { send, state, connecting, storing } = start()
      await connecting.end()
      send({ type: 'address.received' })
      send({ type: end })
      expect([state(), storing.calls()]).toEqual(['failed', 0])
    }
    const { send, state, connecting, storing, registering, acted } = start()
    await connecting.end()
    send({ type: 'address.received' })
    send({ type: 'provision.received' })
    await storing.end()
    await registering.end('failed')
    expect([state(), acted.at(-1)]).toEqual(['failed', 'forgetAccount'])
  })
})
