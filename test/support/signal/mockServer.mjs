// @ts-nocheck: the mock is plain JavaScript inside, and this reaches into it.
/**
 * Signal’s mock server as a process of its own, driven over IPC: it must not end the tests with what it throws behind their
 * backs. Added here: plain WebSocket, a queue that delivers again what was not acknowledged, what the real service has and the
 * mock has not (account attributes, upload forms, 403, idle close), and faults by rule.
 */
import { mkdtempSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

Promise.withResolvers ??= () => {
  let resolve
  let reject
  const promise = new Promise((res, rej) => {
    resolve = res
    reject = rej
  })
  return { promise, resolve, reject }
}

const require = createRequire(import.meta.url)
const { Server } = require('@signalapp/mock-server')
const { WebSocketServer } = require('ws')
const root = dirname(require.resolve('@signalapp/mock-server/package.json'))
const { Connection } = require(join(root, 'src/server/ws/connection.js'))
const { parseAuthHeader } = require(join(root, 'src/util.js'))
const { ServiceIdKind: Kind } = require(join(root, 'src/types.js'))

process.on('unhandledRejection', () => {})
process.on('disconnect', () => process.exit(0))

const server = new Server({ cdn3Path: mkdtempSync(join(tmpdir(), 'duologue-signal-cdn-')), timeout: 60_000 })
const primaries = new Map()
const requests = []
let rules = []
let idleMs = 0

// A queue as the service has it: what was not acknowledged on a socket is delivered again on the next one.
const queues = new Map()
const queueOf = device => {
  if (!queues.has(device)) queues.set(device, { items: [], emptyFor: undefined })
  return queues.get(device)
}
const pump = device => {
  const queue = queueOf(device)
  const socket = server.webSockets.get(device)
  if (socket === undefined) return
  for (const item of queue.items) {
    if (item.socket === socket) continue
    item.socket = socket
    socket.sendMessage(item.message).then(
      () => {
        queue.items.splice(queue.items.indexOf(item), 1)
        pump(device)
      },
      () => {
        if (item.socket === socket) item.socket = undefined
        setImmediate(() => pump(device))
      },
    )
  }
  if (queue.emptyFor === socket && queue.items.length === 0) {
    queue.emptyFor = undefined
    socket.sendMessage('empty').catch(() => {})
  }
}
server.send = async (device, message) => {
  queueOf(device).items.push({ message, socket: undefined })
  pump(device)
}
server.sendQueue = async (device, socket) => {
  queueOf(device).emptyFor = socket
  pump(device)
}

// The service does not open messages: what the mock’s primary cannot open was taken all the same.
const handleMessage = server.handleMessage.bind(server)
server.handleMessage = async (...args) => {
  try {
    await handleMessage(...args)
  } catch {
    // A repetition that its libsignal knows already, mostly.
  }
}

const answer = (status, json = {}, headers = {}) => ({
  id: 0n,
  status,
  message: null,
  headers: Object.entries(headers).map(([name, value]) => `${name}:${value}`),
  body: Buffer.from(JSON.stringify(json)),
})
const never = () => new Promise(() => {})
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

const handleRequest = Connection.prototype.handleRequest
const builtIn = async (connection, request) => {
  if (request.verb === 'PUT' && request.path.startsWith('/v1/accounts/attributes')) {
    return connection.device === undefined ? answer(401) : answer(200)
  }
  if (request.path === '/v4/attachments/form/upload') {
    return answer(
      200,
      await server.getAttachmentUploadForm('attachments', `file-${Math.random().toString(36).slice(2)}`),
    )
  }
  return handleRequest.call(connection, request)
}
Connection.prototype.handleRequest = async function (request) {
  const identified = this.device !== undefined
  const record = { verb: request.verb, path: request.path, identified, at: Date.now(), status: 0 }
  if (request.path.startsWith('/v1/messages/')) {
    record.body = Buffer.from(request.body ?? []).toString()
    record.headers = (request.headers ?? []).map(header => header.toLowerCase())
  }
  requests.push(record)
  const rule = rules.find(
    rule =>
      (rule.verb === undefined || rule.verb === request.verb) &&
      new RegExp(rule.path).test(request.path) &&
      (rule.identified === undefined || rule.identified === identified) &&
      (rule.device === undefined || this.device?.deviceId === rule.device) &&
      rule.times !== 0,
  )
  if (rule?.times !== undefined) rule.times -= 1
  if (rule?.delayMs !== undefined) await sleep(rule.delayMs)
  if (rule?.drop) return never()
  if (rule?.answer !== undefined && !rule.process) {
    record.status = rule.answer.status
    return answer(rule.answer.status, rule.answer.json, rule.answer.headers)
  }
  const response = await builtIn(this, request)
  record.status = response.status
  if (rule?.loseAnswer) return never()
  if (rule?.closeAfter !== undefined) {
    this.ws.close(rule.closeAfter)
    return never()
  }
  return rule?.answer === undefined ? response : answer(rule.answer.status, rule.answer.json, rule.answer.headers)
}

// The mock’s own list may name the socket before the one that is open.
const open = new Map()
const closeOpen = (device, code) => {
  const sockets = [...open].filter(([ws, connection]) => connection.device === device && ws.readyState === ws.OPEN)
  for (const [ws] of sockets) ws.close(code)
  return sockets.length
}

const listen = async () => {
  await server.listen(0, '127.0.0.1')
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 1_048_576 })
  server.https.on('upgrade', async (request, socket, head) => {
    const { authorization } = request.headers
    if (authorization !== undefined) {
      const { username, password } = parseAuthHeader(authorization)
      if ((await server.auth(username, password)) === undefined) {
        socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
        return
      }
    }
    sockets.handleUpgrade(request, socket, head, ws => {
      let idle
      const busy = () => {
        clearTimeout(idle)
        if (idleMs > 0) idle = setTimeout(() => ws.close(1001), idleMs)
      }
      ws.on('message', busy)
      ws.on('close', () => clearTimeout(idle))
      busy()
      const connection = new Connection(request, ws, server)
      open.set(ws, connection)
      ws.on('close', () => open.delete(ws))
      connection.start(ws).catch(() => ws.close())
    })
  })
  return {
    port: server.address().port,
    ca: readFileSync(join(root, 'certs/ca-cert.pem'), 'utf8'),
    trustRoot: Buffer.from(server.trustRoot.getPublicKey().serialize()).toString('base64'),
  }
}

const primaryOf = aci => primaries.get(aci)
const deviceOf = async (aci, deviceId) => {
  const device = await server.getDeviceByServiceId(aci, deviceId)
  if (device === undefined) throw new Error(`no device ${aci}.${deviceId}`)
  return device
}
const plain = value =>
  JSON.parse(
    JSON.stringify(value, (_key, item) => {
      if (typeof item === 'bigint') return Number(item)
      if (item instanceof Uint8Array) return { base64: Buffer.from(item).toString('base64') }
      return item?.type === 'Buffer' && Array.isArray(item.data)
        ? { base64: Buffer.from(item.data).toString('base64') }
        : item
    }),
  )
const within = (promise, ms) => Promise.race([promise, sleep(ms).then(() => undefined)])

const calls = {
  listen,
  createPrimary: async ({ profileName }) => {
    const primary = await server.createPrimaryDevice({ profileName })
    const { aci, pni, number } = primary.device
    primaries.set(aci, primary)
    return { aci, pni, e164: number, profileKey: Buffer.from(primary.profileKey.serialize()) }
  },
  provision: async ({ aci, link }) => {
    const pending = await server.waitForProvision()
    const device = await pending.complete({ provisionURL: link, primaryDevice: primaryOf(aci) })
    // The mock keeps waiting for the first keys of a device that it has, and refuses its next ones.
    server.provisionResultQueueByKey.clear()
    return device.deviceId
  },
  addGhost: async ({ aci }) => (await server.createSecondaryDevice(primaryOf(aci))).deviceId,
  removeDevice: async ({ aci, deviceId }) => server.removeDeviceByServiceId(aci, deviceId),
  setRegistrationId: async ({ aci, deviceId, registrationId }) => {
    ;(await deviceOf(aci, deviceId)).registrationId = registrationId
  },
  unregister: ({ aci }) => server.unregister(primaryOf(aci)),
  rateLimit: pair => server.rateLimit(pair),
  stopRateLimit: pair => server.stopRateLimiting(pair),
  /** Waits for a socket to close. */
  closeSocket: async ({ aci, deviceId, code }) => {
    const device = await deviceOf(aci, deviceId)
    while (closeOpen(device, code) === 0) await sleep(10)
  },
  /** Closes what is open now: a client that was just coming back must be closed once more. */
  closeOpenSockets: async ({ aci, deviceId, code }) => closeOpen(await deviceOf(aci, deviceId), code),
  setPassword: async ({ aci, deviceId, password }) => {
    server.devicesByAuth.get(`${aci}.${deviceId}`).password = password
  },
  keyCounts: async ({ aci, deviceId }) => {
    const device = await deviceOf(aci, deviceId)
    const counts = {}
    for (const kind of [Kind.ACI, Kind.PNI]) {
      const keys = device.keys.get(kind)
      counts[kind] = {
        ec: await device.getPreKeyCount(kind),
        kyber: await device.getKyberPreKeyCount(kind),
        signed: keys.signedPreKey.keyId,
        lastResort: keys.lastResortKey.keyId,
      }
    }
    return counts
  },
  takeKeys: async ({ aci, deviceId, count, kind }) => {
    const device = await deviceOf(aci, deviceId)
    for (let taken = 0; taken < count; taken++) await device.popSingleUseKey(kind)
  },
  sendText: async ({
    from,
    to,
    deviceId,
    text,
    sealed = false,
    timestamp,
    toPni = false,
    pniSignature = false,
    profileKey = false,
  }) => {
    const primary = primaryOf(from)
    const device = await deviceOf(to, deviceId)
    const serviceIdKind = toPni ? Kind.PNI : Kind.ACI
    if (!primary.knownSessions?.has(`${to}.${deviceId}.${serviceIdKind}`)) {
      await primary.addSingleUseKey(device, await device.popSingleUseKey(serviceIdKind), serviceIdKind)
      ;(primary.knownSessions ??= new Set()).add(`${to}.${deviceId}.${serviceIdKind}`)
    }
    await primary.sendText(device, text, {
      timestamp: timestamp ?? Date.now(),
      sealed,
      serviceIdKind,
      withPniSignature: pniSignature,
      withProfileKey: profileKey,
    })
  },
  sendRawEnvelope: async ({ to, deviceId, bytes }) => server.send(await deviceOf(to, deviceId), Buffer.from(bytes)),
  queued: async ({ aci, deviceId }) => queueOf(await deviceOf(aci, deviceId)).items.length,
  nextMessage: async ({ aci, waitMs = 10_000 }) => {
    const message = await within(primaryOf(aci).waitForMessage(), waitMs)
    return message === undefined
      ? undefined
      : {
          body: message.body,
          envelopeType: message.envelopeType,
          deviceId: message.source.deviceId,
          data: plain(message.dataMessage),
        }
  },
  nextSync: async ({ aci, waitMs = 10_000 }) => {
    const sync = await within(primaryOf(aci).waitForSyncMessage(), waitMs)
    return sync === undefined ? undefined : { deviceId: sync.source.deviceId, sync: plain(sync.syncMessage) }
  },
  nextReceipt: async ({ aci, waitMs = 10_000 }) => {
    const receipt = await within(primaryOf(aci).waitForReceipt(), waitMs)
    return receipt === undefined ? undefined : plain(receipt.receiptMessage)
  },
  setRules: ({ rules: next }) => {
    rules = next
  },
  setIdle: ({ ms }) => {
    idleMs = ms
  },
  requests: () => requests.slice(),
  clearRequests: () => {
    requests.length = 0
  },
}

process.on('message', async ({ id, call, args }) => {
  try {
    process.send({ id, result: await calls[call](args ?? {}) })
  } catch (error) {
    process.send({ id, error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) })
  }
})
