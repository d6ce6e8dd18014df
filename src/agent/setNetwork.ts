import type { ParsedParamsOf, ResultOf } from './api/calls.js'
import type { AgentContext } from './context.js'
import { withSet } from './options.js'

/** setNetwork: the device’s word whether it is online; answers what holds then (B68). */
export const setNetwork = async (
  { network }: AgentContext,
  { online }: ParsedParamsOf<'setNetwork'>,
): Promise<ResultOf<'setNetwork'>> => ({ online: network.setOnline(online) })

/** setNetworkConfig: changes what is named, and answers the whole (B68). */
export const setNetworkConfig = async (
  { network }: AgentContext,
  changes: ParsedParamsOf<'setNetworkConfig'>,
): Promise<ResultOf<'setNetworkConfig'>> => {
  network.configure(withSet(network.config, changes))
  return network.config
}
