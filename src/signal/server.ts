import type { SignalServer } from './channel.js'

/**
 * Signal’s production service. Its certificate authority is Signal’s own and must be handed in as `ca`: it is published with
 * Signal’s clients, and no system trusts it by itself.
 */
export const signalProduction: Omit<SignalServer, 'ca'> = {
  url: 'https://chat.signal.org',
  // Both are current: certificates may be signed by either.
  trustRoots: ['BXu6QIKVz5MA8gstzfOgRQGqyLqOwNKHL6INkv3IHWMF', 'BUkY0I+9+oPgDCn4+Ac6Iu813yvqkDr/ga8DzLxFxuk6'],
  cdn: { 0: 'https://cdn.signal.org', 2: 'https://cdn2.signal.org', 3: 'https://cdn3.signal.org' },
}
