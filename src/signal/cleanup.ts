import { removeWhere } from '../store/index.js'
import { signalAttachments, signalMessages, signalSeen } from '../store/signal/messages.js'
import type { SignalContext } from './context.js'

/** Takes away what nobody can ask for any more: sent messages, hashes of arrived ones, pointers to attachments. */
export const cleanUp = async ({ runtime, clock, config, userId }: SignalContext): Promise<void> => {
  const now = clock.now()
  const logged = { lt: now - config.logRetentionMs }
  await runtime.run({
    name: 'signal.cleanUp',
    internal: true,
    locks: [],
    compute: () => ({
      result: undefined,
      changes: [
        removeWhere(signalMessages, { userId, state: { in: ['sent', 'failed'] }, createdAt: logged }),
        removeWhere(signalSeen, { userId, createdAt: { lt: now - config.seenRetentionMs } }),
        removeWhere(signalAttachments, { userId, createdAt: { lt: now - config.seenRetentionMs } }),
      ],
    }),
  })
}
