/** The mock server’s process, as tests drive it. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Primary {
  readonly aci: string
  readonly pni: string
  readonly e164: string
  readonly profileKey: Uint8Array
}

/** A fault, or an answer, for requests that match; the first rule that matches decides. */
export interface Rule {
  readonly path: string
  readonly verb?: string
  readonly identified?: boolean
  /** Only requests of this device. */
  readonly device?: number
  /** How many requests it is for; all when absent. */
  times?: number
  readonly answer?: {
    readonly status: number
    readonly json?: object
    readonly headers?: Readonly<Record<string, string>>
  }
  /** The request is processed all the same, and then answered as the rule says. */
  readonly process?: boolean
  /** Not processed, not answered. */
  readonly drop?: boolean
  /** Processed, not answered. */
  readonly loseAnswer?: boolean
  /** Processed, then the socket is closed with this code. */
  readonly closeAfter?: number
  readonly delayMs?: number
}

export interface SeenRequest {
  readonly verb: string
  readonly path: string
  readonly identified: boolean
  readonly status: number
  readonly at: number
  /** Of requests that send messages. */
  readonly body?: string
  readonly headers?: readonly string[]
}

export interface MockSignal {
  readonly port: number
  readonly ca: string
  readonly trustRoot: string
  call<T = void>(name: string, args?: object): Promise<T>
  createPrimary(profileName: string): Promise<Primary>
  setRules(...rules: Rule[]): Promise<void>
  /** Requests since the last time, but keepalives and certificates. */
  requests(): Promise<SeenRequest[]>
  messageRequests(): Promise<SeenRequest[]>
  clearRequests(): Promise<void>
  close(): Promise<void>
}

export const startMock = async (): Promise<MockSignal> => {
  const child = fork(fileURLToPath(new URL('./mockServer.mjs', import.meta.url)), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', process.env['SIGNAL_MOCK_LOG'] === undefined ? 'ignore' : 'inherit', 'ipc'],
  })
  const call = caller(child)
  const { port, ca, trustRoot } = await call<{ port: number; ca: string; trustRoot: string }>('listen')
  const requests = () => call<SeenRequest[]>('requests')
  return {
    port,
    ca,
    trustRoot,
    call,
    createPrimary: profileName => call('createPrimary', { profileName }),
    setRules: (...rules) => call('setRules', { rules }),
    requests,
    messageRequests: async () => (await requests()).filter(({ path }) => path.startsWith('/v1/messages/')),
    clearRequests: () => call('clearRequests'),
    close: () =>
      new Promise(resolve => {
        child.once('exit', () => resolve())
        child.kill('SIGKILL')
      }),
  }
}

const caller = (child: ChildProcess): MockSignal['call'] => {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  let lastId = 0
  child.on('message', (message: { id: number; result?: never; error?: string }) => {
    const { resolve, reject } = waiting.get(message.id) ?? {}
    waiting.delete(message.id)
    if (message.error === undefined) resolve?.(message.result as never)
    else reject?.(new Error(`mock server: ${message.error}`))
  })
  child.on('exit', code => {
    for (const { reject } of waiting.values()) reject(new Error(`the mock server has ended: ${code}`))
  })
  return (name, args) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      waiting.set(id, { resolve, reject })
      child.send({ id, call: name, args })
    })
}
