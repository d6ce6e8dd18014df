import { type Chart, type ChartState, ignoresAt, textOf } from './chart.js'

/** Words of the wire, and what they say: the page explains those that a state's text names. */
export const wireWords: Readonly<Record<string, string>> = {
  ACI: 'Signal: the id of an account',
  ACK: 'the recipient has the message; the router may deliver the next',
  A_MSG: 'a message of the user',
  AUTH: 'the router does not know the queue, or the key that signed',
  CON: 'told to the application: the connection is complete',
  CONF: 'told to the application: somebody asks to be allowed',
  CONN_INFO: 'a confirmation: the info of the sender',
  CONN_INFO_REPLY: 'a confirmation with the queues to reply to',
  DEL: 'deletes a queue at its router',
  DELD: 'the router has deleted the queue',
  END: 'another client has subscribed to the queue',
  ENDS: 'another client has taken over the service subscription',
  EREADY: 'the new ratchet can be used from now on',
  ERR: 'an error, told to the application or by a router',
  GET: 'fetches one message without subscribing',
  HELLO: 'the last word of the legacy handshake',
  INFO: 'told to the application: the info of the other party',
  KEY: 'the recipient tells the router the key of the sender',
  LDEL: 'deletes the data of a short link',
  LGET: 'fetches the data of a short link',
  LKEY: 'secures the queue of a short link and fetches its data',
  LNK: 'the data of a short link, and its queue',
  LSET: 'puts the data of a short link at its router',
  MERR: 'told to the application: a message has failed for good',
  MERRS: 'told to the application: several messages have failed for good',
  MSG: 'a router delivers a message of a queue',
  MWARN: 'told to the application: a message waits, and why',
  NEW: 'makes a queue at a router',
  NOT_ACCEPTED: 'the other party has not accepted the connection',
  NOT_AVAILABLE: 'the other party cannot be reached',
  OFF: 'the queue takes no more messages',
  OK: 'it is done: the answer of a router, or of a call that was asynchronous',
  PFWD: 'a command for another router, in a box, to the proxy',
  PING: 'asks whether the session is alive',
  PNI: 'Signal: the id of a telephone number',
  PRXY: 'asks a router to be the proxy to another one',
  QADD: 'rotation: offers a new queue',
  QCONT: 'the full queue has room again: go on sending',
  QKEY: 'rotation: the key of the sender for the new queue',
  QTEST: 'rotation: the first message on the new queue',
  QUOTA: 'the queue is full',
  QUSE: 'rotation: use the new queue from now on',
  REQ: 'told to the application: somebody asks at a contact address',
  RSYNC: 'told to the application: the state of ratchet synchronisation',
  SEND: 'puts a message into a queue',
  SENT: 'told to the application: the router has the message',
  SKEY: 'the sender secures the queue with its own key',
  SOK: 'subscribed, with what the router knows of the service',
  SUB: 'subscribes to a queue',
  SUSPENDED: 'told to the application: nothing runs any more',
  SWITCH: 'told to the application: a phase of a rotation',
  UP: 'told to the application: the connection receives',
  DOWN: 'told to the application: the session to the router is lost',
}

/** Words in capitals. */
export const capitals = (text: string): readonly string[] => text.match(/[A-Z][A-Z_]+/g) ?? []

/** Words of the wire that a text names, in order. */
export const wireWordsIn = (...texts: readonly string[]): ReadonlyArray<readonly [string, string]> => {
  const named = new Set(texts.flatMap(capitals))
  return [...named].sort().flatMap(word => (wireWords[word] === undefined ? [] : [[word, wireWords[word]] as const]))
}

/** Words of the wire in anything that a state says: its name, its text and behaviours, what it ignores and does. */
export const wireWordsAt = (
  chart: Chart,
  state: ChartState,
  titles: readonly string[],
): ReadonlyArray<readonly [string, string]> => wireWordsIn(...textsAt(chart, state, titles))

/** Every text that is shown with a state. */
export const textsAt = (chart: Chart, state: ChartState, titles: readonly string[]): readonly string[] => [
  state.path,
  state.description,
  ...titles,
  ...Object.values(ignoresAt(chart, state.path)),
  ...[...state.entry, ...state.exit].map(textOf),
  ...chart.transitions
    .filter(({ source }) => source === state.path)
    .flatMap(({ actions, guard }) => [...actions, ...(guard === undefined ? [] : [guard])].map(textOf)),
]
