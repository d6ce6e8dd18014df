import { asDuologueError } from '../errors.js'
import { patch } from '../store/index.js'
import { signalAccounts } from '../store/signal/account.js'
import { type AccountRow, requireAccount, type SignalContext } from './context.js'
import { encryptedDeviceName } from './crypto/deviceName.js'

/** Reads the account as it is stored now. */
export const refreshAccount = async (context: SignalContext): Promise<AccountRow | undefined> => {
  const [row] = await context.store.find(signalAccounts, { where: { accountId: context.accountId } })
  context.account = row
  return row
}

/** The value of the Authorization header of a linked device. */
export const authorizationOf = ({ aci, deviceId, password }: AccountRow): string =>
  `Basic ${Buffer.from(`${aci}.${deviceId}:${password}`).toString('base64')}`

/** The server does not know this device any more (403, 4401): it is stored, so that a restart does not knock again. */
export const noteLoggedOut = async (context: SignalContext): Promise<void> => {
  const { runtime, accountId } = context
  await runtime.run({
    name: 'signal.loggedOut',
    internal: true,
    locks: [accountId],
    compute: () => ({ result: undefined, changes: [patch(signalAccounts, { accountId }, { status: 'loggedOut' })] }),
  })
  await refreshAccount(context)
}

/** What the server keeps of this device. */
export const accountAttributes = (account: AccountRow): object => ({
  fetchesMessages: true,
  registrationId: account.registrationId,
  pniRegistrationId: account.pniRegistrationId,
  name: encryptedDeviceName(account.deviceName, account.aciIdentityKey),
  capabilities: { attachmentBackfill: false, spqr: true },
})

/**
 * Tells the server the attributes of this device. A refusal degrades health with its status and changes nothing else: the
 * sockets stay open and messages go on (S09).
 */
export const uploadAttributes = async (context: SignalContext): Promise<'done' | 'unreached' | 'refused'> => {
  const { links, health, log } = context
  try {
    const json = accountAttributes(requireAccount(context))
    const { status } = await links.identified.request({ verb: 'PUT', path: '/v1/accounts/attributes/', json })
    health.degradedBy('ATTRIBUTES', status >= 200 && status < 300 ? undefined : `ATTRIBUTES_${status}`)
    if (status >= 200 && status < 300) return 'done'
    log.warn({ status }, 'the server has refused the attributes of this device')
    return 'refused'
  } catch (error) {
    log.debug({ code: asDuologueError(error).code }, 'attributes could not be sent')
    return 'unreached'
  }
}
