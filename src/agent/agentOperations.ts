import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'

/** suspendAgent: see machines/agentOperations (B04). */
export const suspendAgent = async (
  { operations }: AgentContext,
  { maxDelayMs }: ParsedParamsOf<'suspendAgent'>,
): Promise<ResultOf<'suspendAgent'>> => {
  operations.suspend(maxDelayMs)
  return { state: operations.state === 'suspended' ? 'suspended' : 'suspending' }
}

export const foregroundAgent = async ({ operations }: AgentContext): Promise<ResultOf<'foregroundAgent'>> => {
  operations.foreground()
  return {}
}

export const getStatistics = async (
  { statistics }: AgentContext,
  { userId }: ParsedParamsOf<'getStatistics'>,
): Promise<ResultOf<'getStatistics'>> => statistics.report(userId)

export const resetStatistics = async ({
  statistics,
  runtime,
  clock,
}: AgentContext): Promise<ResultOf<'resetStatistics'>> => {
  await runtime.run({
    name: 'resetStatistics',
    locks: [],
    compute: () => ({ result: undefined, changes: statistics.reset(clock.now()) }),
  })
  return {}
}
