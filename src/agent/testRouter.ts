import { generateKeyPair } from '../crypto/index.js'
import type { RouterRequest, RouterSession } from '../smp/client.js'
import { formatRouterAddress, parseRouterAddressWithAuth } from '../smp/protocol/routerAddress.js'
import { RouterError } from '../errors.js'
import type { Response } from '../smp/protocol/responses.js'
import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { errorFact } from './events.js'

type Step = NonNullable<ResultOf<'testRouter'>['step']>

/**
 * testRouter: what a user needs of a router, step by step and over a session of its own (B23): connect, NEW with the password of the
 * address, KEY, DEL. Answers with the step that failed, and never leaves a queue behind where it can help it.
 */
export const testRouter = async (
  context: AgentContext,
  { address }: ParsedParamsOf<'testRouter'>,
): Promise<ResultOf<'testRouter'>> => {
  const { router, basicAuth } = parseRouterAddressWithAuth(address)
  const { config, random } = context
  let step: Step = 'connect'
  let session: RouterSession | undefined
  try {
    const opened = await context.connect(formatRouterAddress(router), config.interactiveConnectMs)
    session = opened
    const send = (request: RouterRequest) => opened.send(request, { timeoutMs: config.interactiveCommandMs })
    step = 'create'
    const own = generateKeyPair('ed25519', random)
    const key = { algorithm: 'ed25519', privateKey: own.privateKey } as const
    const created = await send({
      command: {
        type: 'NEW',
        authKey: { algorithm: 'ed25519', raw: own.publicKey },
        dhKey: generateKeyPair('x25519', random).publicKey,
        ...(basicAuth === undefined ? {} : { basicAuth }),
        subscribe: false,
        request: { mode: 'messaging' },
      },
      entityId: Buffer.alloc(0),
      key,
    })
    if (created.type !== 'IDS') throw unexpected('NEW', created)
    step = 'secure'
    const entityId = created.recipientId
    const senderKey = { algorithm: 'ed25519', raw: generateKeyPair('ed25519', random).publicKey } as const
    const [secured, deleted] = await opened.sendMany(
      [
        { command: { type: 'KEY', key: senderKey }, entityId, key },
        { command: { type: 'DEL' }, entityId, key },
      ],
      { timeoutMs: config.interactiveCommandMs },
    )
    requireOk('KEY', secured)
    step = 'delete'
    requireOk('DEL', deleted)
    return { ok: true }
  } catch (error) {
    return { ok: false, step, error: errorFact(error) }
  } finally {
    session?.close()
  }
}

const requireOk = (command: string, result: PromiseSettledResult<Response> | undefined): void => {
  if (result?.status !== 'fulfilled') throw result?.reason
  if (result.value.type !== 'OK') throw unexpected(command, result.value)
}

const unexpected = (command: string, { type }: Response): RouterError =>
  new RouterError('SMP_UNEXPECTED', `${command} was answered with ${type}`, { field: command })
