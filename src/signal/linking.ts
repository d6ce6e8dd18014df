import { createActor, fromPromise, waitFor } from 'xstate'
import { type SignalRegisterOutcome, signalLinkingMachine } from '../../machines/signalLinking.js'
import { asDuologueError, CallError, type DuologueError } from '../errors.js'
import { patch, put, removeWhere } from '../store/index.js'
import { signalAccounts, signalPreKeys, signalSessions } from '../store/signal/account.js'
import { signalOutbox, signalSyncItems } from '../store/signal/messages.js'
import { accountAttributes, refreshAccount } from './account.js'
import type { AccountRow, SignalContext } from './context.js'
import { type ProvisioningKey, provisioningKey } from './crypto/provisioning.js'
import { type FrameChannel, signalTransportError } from './net/port.js'
import { jsonOf, SignalSession } from './net/session.js'
import { type MadeKeys, makeKeys } from './preKeys.js'
import { decode, type MessageOf } from './wire/codec.js'
import { provisioningAddress, type provisionMessage } from './wire/messages.js'
import { pniOf, serviceIdOf } from './wire/serviceId.js'

export interface LinkOptions {
  readonly deviceName: string
  /** Told of the link that the primary device must scan, as text for a QR code. */
  readonly onLink: (link: string) => void
  readonly signal?: AbortSignal | undefined
}

type Provision = MessageOf<typeof provisionMessage>

/** How long a link can be scanned, in ms. */
const scanMs = 10 * 60_000

/**
 * Links this user as a new device of a Signal account (S01). Resolves when the device is linked. Throws CallError
 * `SIGNAL_LINKED_ALREADY`, `SIGNAL_LINK_FAILED` with the reason, TransportError.
 */
export const linkDevice = async (context: SignalContext, options: LinkOptions): Promise<AccountRow> => {
  if (context.account?.status === 'linked')
    throw new CallError('SIGNAL_LINKED_ALREADY', 'this user has a linked Signal account', { field: 'userId' })
  const linking = new Linking(context, options)
  return linking.run()
}

class Linking {
  readonly #context: SignalContext
  readonly #options: LinkOptions
  readonly #key: ProvisioningKey = provisioningKey()
  #session: SignalSession | undefined
  #address = ''
  #provision: Provision | undefined
  #keys: { readonly aci: MadeKeys; readonly pni: MadeKeys | undefined } | undefined
  #failure: DuologueError | undefined
  #forgetting: Promise<void> | undefined

  constructor(context: SignalContext, options: LinkOptions) {
    this.#context = context
    this.#options = options
  }

  async run(): Promise<AccountRow> {
    const { clock } = this.#context
    const { deviceName, signal } = this.#options
    const actor = createActor(
      this.#machine(event => actor.send(event)),
      { input: { deviceName } },
    )
    const cancel = (): void => actor.send({ type: 'linking.cancel' })
    const timer = clock.setTimeout(cancel, scanMs)
    signal?.addEventListener('abort', cancel, { once: true })
    actor.start()
    try {
      const end = await waitFor(actor, ({ value }) => value === 'linked' || value === 'failed')
      await this.#forgetting
      const account = await refreshAccount(this.#context)
      if (end.value === 'linked' && account !== undefined) return account
      throw (
        this.#failure ??
        new CallError('SIGNAL_LINK_FAILED', 'the device was not linked', {
          field: 'link',
          hint: 'ask for a new link and scan it within ten minutes',
        })
      )
    } finally {
      actor.stop()
      clock.clearTimeout(timer)
      signal?.removeEventListener('abort', cancel)
      this.#session?.destroy()
    }
  }

  #machine(send: (event: Parameters<ReturnType<typeof createActor<typeof signalLinkingMachine>>['send']>[0]) => void) {
    return signalLinkingMachine.provide({
      actors: {
        connect: fromPromise<void, { deviceName: string }>(async () => {
          const channel = await this.#attempt(() => this.#dial('provisioning', '/v1/websocket/provisioning/'))
          this.#session = new SignalSession(channel, this.#context.clock, 'provisioning')
          this.#session.onClose = () => send({ type: 'socket.lost' })
          this.#session.onRequest = request => {
            request.respond(200)
            // The state that takes it is entered in the next microtask at the latest.
            if (request.path === '/v1/address') {
              this.#address = decode(provisioningAddress, request.body).address ?? ''
              setImmediate(() => send({ type: 'address.received' }))
            } else if (request.path === '/v1/message') send({ type: this.#open(request.body) })
          }
        }),
        storeAccount: fromPromise<void, { deviceName: string }>(() => this.#attempt(() => this.#store())),
        register: fromPromise<SignalRegisterOutcome, { deviceName: string }>(() =>
          this.#attempt(() => this.#register()),
        ),
        uploadKeys: fromPromise<void, { deviceName: string }>(async () => {
          const { links, config } = this.#context
          links.identified.start()
          links.unidentified.start()
          if (await links.identified.ensureAlive(config.probeQuietMs, config.connectTimeoutMs))
            await this.#context.upkeep()
        }),
      },
      actions: {
        showLink: () => this.#options.onLink(this.#key.link(this.#address)),
        closeSocket: () => this.#session?.destroy(),
        forgetAccount: () => {
          this.#forgetting = this.#forget()
        },
      },
    })
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.#failure = asDuologueError(error)
      throw error
    }
  }

  async #dial(socket: 'provisioning' | 'unidentified', path: string): Promise<FrameChannel> {
    const { clock, config, dialer } = this.#context
    const deadline = new AbortController()
    const timer = clock.setTimeout(
      () => deadline.abort(signalTransportError('SIGNAL_TIMEOUT', 'no connection in time', { field: socket })),
      config.connectTimeoutMs,
    )
    try {
      return await dialer.dial({ socket, path }, deadline.signal)
    } finally {
      clock.clearTimeout(timer)
    }
  }

  #open(body: Uint8Array): 'provision.received' | 'provision.refused' {
    try {
      this.#provision = this.#key.open(body)
      const { aciIdentityKeyPrivate, provisioningCode } = this.#provision
      if (aciIdentityKeyPrivate !== undefined && provisioningCode !== undefined && aciOf(this.#provision) !== undefined)
        return 'provision.received'
    } catch (error) {
      this.#failure = asDuologueError(error)
    }
    return 'provision.refused'
  }

  // Keys and password are stored before the server hears of them: whatever it has, this side has too.
  async #store(): Promise<void> {
    const { runtime, accountId, userId, random, clock } = this.#context
    const provision = this.#provision as Provision
    const aciKey = provision.aciIdentityKeyPrivate as Uint8Array
    const pniKey = provision.pniIdentityKeyPrivate
    const now = clock.now()
    const batch = { oneTime: 0, rotate: true }
    const aci = await makeKeys(this.#context, 'aci', aciKey, { firstKeyId: 1, now }, batch)
    const pni =
      pniKey === undefined
        ? undefined
        : await makeKeys(this.#context, 'pni', pniKey, { firstKeyId: aci.nextKeyId, now }, batch)
    this.#keys = { aci, pni }
    const registrationId = (): number => (Buffer.from(random(4)).readUInt32BE() % 16_380) + 1
    const row: AccountRow = {
      accountId,
      userId,
      status: 'linking',
      aci: aciOf(provision) as string,
      pni: provision.pniBinary === undefined ? null : pniOf(provision.pniBinary),
      e164: provision.number ?? null,
      deviceId: null,
      deviceName: this.#options.deviceName,
      password: Buffer.from(random(18)).toString('base64url'),
      registrationId: registrationId(),
      pniRegistrationId: registrationId(),
      aciIdentityKey: aciKey,
      pniIdentityKey: pniKey ?? null,
      profileKey: provision.profileKey ?? null,
      nextKeyId: (pni ?? aci).nextKeyId,
      keysRotatedAt: now,
      createdAt: now,
    }
    await forgetSessions(this.#context)
    await runtime.run({
      name: 'signal.link',
      locks: [accountId],
      compute: () => ({
        result: undefined,
        changes: [
          removeWhere(signalPreKeys, { accountId }),
          put(signalAccounts, row),
          ...aci.changes,
          ...(pni === undefined ? [] : pni.changes),
        ],
      }),
    })
    await refreshAccount(this.#context)
  }

  async #register(): Promise<SignalRegisterOutcome> {
    const { config, clock, accountId, runtime } = this.#context
    const account = this.#context.account as AccountRow
    const { aci, pni } = this.#keys as { aci: MadeKeys; pni: MadeKeys | undefined }
    const channel = await this.#dial('unidentified', '/v1/websocket/')
    const session = new SignalSession(channel, clock, 'provisioning')
    try {
      const response = await session.request(
        {
          verb: 'PUT',
          path: '/v1/devices/link',
          headers: { authorization: `Basic ${Buffer.from(`${account.aci}:${account.password}`).toString('base64')}` },
          json: {
            verificationCode: (this.#provision as Provision).provisioningCode,
            accountAttributes: accountAttributes(account),
            aciSignedPreKey: aci.signed?.upload,
            aciPqLastResortPreKey: aci.lastResort?.upload,
            ...(pni === undefined
              ? {}
              : { pniSignedPreKey: pni.signed?.upload, pniPqLastResortPreKey: pni.lastResort?.upload }),
          },
        },
        config.requestTimeoutMs,
      )
      const { deviceId, pni: ownPni } = jsonOf(response)
      if (response.status !== 200 || typeof deviceId !== 'number') {
        this.#failure = new CallError('SIGNAL_LINK_FAILED', 'the server does not link the device', {
          field: 'link',
          facts: { status: response.status },
          hint:
            response.status === 411
              ? 'the account has too many linked devices'
              : 'ask for a new link and scan it again',
        })
        return 'failed'
      }
      const pniText = typeof ownPni === 'string' ? `PNI:${ownPni.replace('PNI:', '')}` : account.pni
      await runtime.run({
        name: 'signal.linked',
        internal: true,
        locks: [accountId],
        compute: () => ({
          result: undefined,
          changes: [put(signalAccounts, { ...account, status: 'linked', deviceId, pni: pniText })],
        }),
      })
      await refreshAccount(this.#context)
      this.#context.health.linked(true)
      return 'registered'
    } finally {
      session.destroy()
    }
  }

  async #forget(): Promise<void> {
    const { runtime, accountId } = this.#context
    await runtime
      .run({
        name: 'signal.notLinked',
        internal: true,
        locks: [accountId],
        compute: () => ({
          result: undefined,
          changes: [removeWhere(signalPreKeys, { accountId }), removeWhere(signalAccounts, { accountId })],
        }),
      })
      .catch(() => {})
    await refreshAccount(this.#context)
  }
}

/** Sessions of an earlier link, and what was encrypted under them: the other side knows them under another device. */
const forgetSessions = async ({ store, runtime, userId }: SignalContext): Promise<void> => {
  const stored = { userId, encrypted: { not: null } }
  const [outbox, transcripts] = await Promise.all([
    store.find(signalOutbox, { where: stored }),
    store.find(signalSyncItems, { where: stored }),
  ])
  await runtime.run({
    name: 'signal.forgetCiphertexts',
    internal: true,
    locks: [],
    compute: () => ({
      result: undefined,
      changes: [
        ...outbox.map(({ recipientId, messageId }) =>
          patch(signalOutbox, { recipientId, messageId }, { encrypted: null }),
        ),
        ...transcripts.map(({ accountId, itemId }) =>
          patch(signalSyncItems, { accountId, itemId }, { encrypted: null }),
        ),
      ],
    }),
  })
  const rows = await store.find(signalSessions, { where: { userId } })
  for (const peer of new Set(rows.map(row => row.peer))) {
    await runtime.run({
      name: 'signal.forgetSessions',
      internal: true,
      locks: [peer],
      compute: () => ({ result: undefined, changes: [removeWhere(signalSessions, { peer })] }),
    })
  }
}

const aciOf = ({ aciBinary, aci }: Provision): string | undefined =>
  aciBinary === undefined ? aci : serviceIdOf(aciBinary)
