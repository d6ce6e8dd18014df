import { CallError } from '../errors.js'
import { patch } from '../store/index.js'
import { signalOutbox, signalSyncItems } from '../store/signal/messages.js'
import {
  type LinkedAccount,
  type ParsedSignalParams,
  type SignalCalls,
  signalCallList,
  type SignalParams,
} from './api/calls.js'
import { downloadAttachment, uploadAttachment } from './attachments.js'
import type { Running, SignalServer } from './channel.js'
import { type AccountRow, requireAccount, type SignalContext } from './context.js'
import { addDevice, getDevices, removeDevice, setDevices } from './devices.js'
import { linkDevice } from './linking.js'
import { expectOk } from './preKeys.js'
import { markRead } from './receipts.js'
import { setRecipient } from './recipients.js'
import { sendMessage } from './sendMessage.js'
import type { AttachmentPointer } from './wire/messages.js'

type List = typeof signalCallList

/** Parameters as the list’s schema leaves them. Throws CallError CMD_PARAMS naming the field. */
const parsed = <N extends keyof List>(name: N, params: SignalParams<N>): ParsedSignalParams<N> => {
  const result = signalCallList[name].params.safeParse(params)
  if (result.success) return result.data as ParsedSignalParams<N>
  const [issue] = result.error.issues
  throw new CallError('CMD_PARAMS', issue?.message ?? 'wrong parameters', { field: issue?.path.join('.') || 'params' })
}

/** Every call of the channel, on the context of the one that is open. */
export const signalCalls = (
  context: () => SignalContext,
  running: () => Running,
  server: SignalServer,
): SignalCalls => ({
  link: oneAtATime(async ({ deviceName = 'duologue', ...options }) => {
    const account = await linkDevice(context(), { deviceName, ...options })
    await running().resumeWork()
    return publicAccount(account)
  }),
  account: () => {
    const { account } = context()
    return account === undefined || account.deviceId === null ? undefined : publicAccount(account)
  },
  send: async params => {
    const { attachments, ...message } = parsed('send', params)
    return sendMessage(context(), { ...message, attachments: attachments as AttachmentPointer[] | undefined })
  },
  markRead: async params => {
    const { to, timestamps } = parsed('markRead', params)
    return markRead(context(), to, timestamps)
  },
  uploadAttachment: async params => uploadAttachment(context(), parsed('uploadAttachment', params)),
  downloadAttachment: async params =>
    downloadAttachment(
      context(),
      cdn => server.cdn?.[cdn] ?? `${server.url}/cdn${cdn}`,
      parsed('downloadAttachment', params),
    ),
  setRecipient: async params => {
    const { profileKey, ...ids } = parsed('setRecipient', params)
    const { recipientId, aci, pni, e164 } = await setRecipient(context(), ids, profileKey)
    return { recipientId, aci, pni, e164 }
  },
  getDevices: async params => getDevices(context(), parsed('getDevices', params).aci),
  setDevices: async params => {
    const { aci, deviceIds } = parsed('setDevices', params)
    await setDevices(context(), aci, deviceIds)
  },
  addDevice: async params => {
    const { aci, deviceId } = parsed('addDevice', params)
    await addDevice(context(), aci, deviceId)
  },
  removeDevice: async params => {
    const { aci, deviceId } = parsed('removeDevice', params)
    await removeDevice(context(), aci, deviceId)
  },
  answerChallenge: async params => {
    const { token, captcha } = parsed('answerChallenge', params)
    requireAccount(context())
    const json = { type: 'captcha', token, captcha }
    expectOk(await context().links.identified.request({ verb: 'PUT', path: '/v1/challenge', json }))
    await challengeAnswered(context())
    running().waitOver()
  },
  health: () => context().health.report,
  reconnect: () => running().connect(),
  suspend: () => running().suspend('application'),
  resume: () => running().resume('application'),
})

/** Two links at once would each store an account, and the second take the keys of the first away. */
const oneAtATime = (link: SignalCalls['link']): SignalCalls['link'] => {
  let underWay = false
  return async options => {
    if (underWay)
      throw new CallError('SIGNAL_LINKING', 'a link is shown already', {
        field: 'link',
        hint: 'scan that one, or break it off first',
      })
    underWay = true
    try {
      return await link(options)
    } finally {
      underWay = false
    }
  }
}

const challengeAnswered = async (context: SignalContext): Promise<void> => {
  const { store, runtime, userId } = context
  const [rows, transcripts] = await Promise.all([
    store.find(signalOutbox, { where: { userId, waitReason: 'challenge' } }),
    store.find(signalSyncItems, { where: { userId, waitUntil: { not: null } } }),
  ])
  await runtime.run({
    name: 'signal.challengeAnswered',
    locks: [...new Set(rows.map(row => row.recipientId))],
    compute: () => ({
      result: undefined,
      changes: [
        ...rows.map(({ recipientId, messageId }) =>
          patch(signalOutbox, { recipientId, messageId }, { waitUntil: null, waitReason: null }),
        ),
        ...transcripts.map(({ accountId, itemId }) =>
          patch(signalSyncItems, { accountId, itemId }, { waitUntil: null }),
        ),
      ],
    }),
  })
}

const publicAccount = ({ aci, pni, e164, deviceId, deviceName, status }: AccountRow): LinkedAccount => ({
  aci,
  pni,
  e164,
  deviceId: deviceId ?? 0,
  deviceName,
  status,
})
