import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A TCP proxy before a database, which can break the connections that go through it at a chosen moment. */
export interface Proxy {
  readonly url: string
  /** Cuts every connection when it next answers (the answer is lost), or when it next asks (the question is). */
  cutAt(moment: 'answer' | 'question'): void
  /** Cuts every connection now. */
  cut(): void
  /** While refused, new connections end at once. */
  refuse(refused: boolean): void
  close(): Promise<void>
}

export const startProxy = async (databaseUrl: string): Promise<Proxy> => {
  const target = new URL(databaseUrl)
  const pairs = new Set<readonly [Socket, Socket]>()
  let moment: 'answer' | 'question' | undefined
  let refused = false
  const cut = (): void => {
    moment = undefined
    for (const sockets of pairs) for (const socket of sockets) socket.destroy()
    pairs.clear()
  }
  const server = createServer(client => {
    if (refused) {
      client.destroy()
      return
    }
    const database = connect(Number(target.port || 5432), target.hostname)
    const pair = [client, database] as const
    pairs.add(pair)
    const pass = (from: Socket, to: Socket, kind: 'answer' | 'question'): void => {
      from.on('data', bytes => (moment === kind ? cut() : to.write(bytes)))
      from.on('error', () => {})
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
      })
    }
    pass(client, database, 'question')
    pass(database, client, 'answer')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cutAt: next => {
      moment = next
    },
    cut,
    refuse: next => {
      refused = next
    },
    close: async () => {
      cut()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
