/** docs/SIGNAL.md’s table of answers, made from the signalSend machine: what each answer leads to, on either way. */
import { type AnyStateNode, type StateValue } from 'xstate'
import { getStateNodes } from 'xstate/graph'
import { type SignalAnswer, signalSendMachine } from '../../machines/index.js'
import { defaultSignalConfig } from '../../src/signal/config.js'
import { stateName } from '../../src/runtime/decide.js'
import { answerOf, unanswered } from '../../src/signal/envelopes.js'
import { signalTransportError } from '../../src/signal/net/port.js'

const statuses = [200, 401, 404, 409, 410, 413, 422, 428, 429, 500, 508]

/** Answers by what stands for them in the first column. */
const answers = (): Array<readonly [string, SignalAnswer]> => [
  ...statuses.map(status => {
    const { type, ...more } = answerOf({ status, headers: {}, body: Buffer.from('{}') }, defaultSignalConfig)
    return [String(status), ('waitMs' in more ? { type, waitMs: more.waitMs } : { type }) as SignalAnswer] as const
  }),
  [
    'none: closed, broken, silent',
    { type: unanswered(signalTransportError('SIGNAL_TIMEOUT', '')).type } as SignalAnswer,
  ],
]

/** The state that an answer leads to, on one of the two ways, in the first round or the last. */
const after = (way: 'sealed' | 'identified', output: SignalAnswer, rounds: number): string => {
  const context = {
    recipientId: 'r',
    retry: defaultSignalConfig.sendRetry,
    maxRounds: defaultSignalConfig.maxRounds,
    delay: defaultSignalConfig.sendRetry.initial,
    rounds,
    waitMs: 0,
    identifiedOnly: way === 'identified',
  }
  const snapshot = signalSendMachine.resolveState({ value: { sending: way } as StateValue, context })
  const event = { type: `xstate.done.actor.0.signalSend.sending.${way}`, output }
  const [transition] = signalSendMachine.getTransitionData(snapshot as never, event as never)
  const [target] = transition?.target ?? []
  return target === undefined ? stateName(snapshot.value) : target.path.join('.')
}

const descriptionOf = (state: string): string => {
  const node = (getStateNodes(signalSendMachine.root) as AnyStateNode[]).find(({ path }) => path.join('.') === state)
  return node?.description ?? ''
}

export const answersTable = (): string => {
  const lines = answers().map(([answer, output]) => {
    const [sealed, identified] = [after('sealed', output, 0), after('identified', output, 0)]
    const states = [...new Set([sealed, identified])]
    const last = after('identified', output, defaultSignalConfig.maxRounds - 1)
    if (!states.includes(last)) states.push(last)
    const told = states.map(state => `\`${state}\`: ${descriptionOf(state)}`).join(' ')
    return `| ${answer} | \`${sealed}\` | \`${identified}\` | ${told} |`
  })
  return ['| Answer | Sealed | Identified | What happens |', '|---|---|---|---|', ...lines].join('\n')
}
