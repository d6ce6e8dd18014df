/** What two agents should be like after any calls: a model so small that it can be read. */
export type Name = 'alice' | 'bob'
export const other = (name: Name): Name => (name === 'alice' ? 'bob' : 'alice')

/** A connection from alice, who created it, to bob, who joined. */
export interface ModelConnection {
  stage: 'created' | 'joined' | 'connected' | 'deleted'
  /** Users of alice: who she is on this connection. */
  readonly user: number
  /** Bodies that each side’s agent has accepted, in the order of the calls. */
  readonly accepted: Record<Name, string[]>
}

export interface Model {
  readonly connections: ModelConnection[]
  readonly suspended: Record<Name, boolean>
  /** Users of alice that are not deleted; 0 is the one that is always there. */
  readonly users: Set<number>
  usersMade: number
}

export const newModel = (): Model => ({
  connections: [],
  suspended: { alice: false, bob: false },
  users: new Set([0]),
  usersMade: 0,
})
