/** The scenarios that can be played: scripts of what users and routers do; everything else follows from the machines. */
import { walks } from '../../../../machines/walks.js'
import type { Cue, CueWorld, Scenario } from './types.js'

const connect: readonly Cue[] = [
  { side: 'alice', text: 'createConnection', run: ({ alice }) => alice.create() },
  { side: 'bob', text: 'joinConnection', run: ({ bob }) => bob.join() },
  {
    side: 'alice',
    text: 'allowConnection',
    run: ({ alice }) => alice.allow(),
    after: world => world.wasTold('alice', 'CONF'),
  },
]

const connected = (world: CueWorld): boolean => world.wasTold('alice', 'CON') && world.wasTold('bob', 'CON')

const says = (side: 'alice' | 'bob', text: string): Cue => ({
  side,
  text: `sendMessage "${text}"`,
  run: world => world[side].send(text),
  after: connected,
})

const fastHandshake: Scenario = {
  id: 'fast-handshake',
  title: 'Fast handshake',
  about: 'The joiner secures the queue of the link, names its reply queue and is told INFO and CON; then both send.',
  spec: ['B11', 'B13', 'B15'],
  cues: [...connect, says('alice', 'hello Bob'), says('bob', 'hello Alice')],
}

const quota: Scenario = {
  id: 'quota',
  title: 'QUOTA, then QCONT',
  about: 'Bob stops reading, his queue fills up and Alice waits; once it is empty, his QCONT ends her wait at once.',
  spec: ['B41', 'B45'],
  quota: 2,
  before: connect,
  cues: [
    { side: 'bob', text: 'stops reading', run: ({ bob }) => bob.reading(false) },
    says('alice', 'one'),
    says('alice', 'two'),
    says('alice', 'three'),
    { side: 'bob', text: 'reads on', run: ({ bob }) => bob.reading(true) },
  ],
}

/** Kinds of messages that the sndQueue machine tells apart when a router does not know the queue. */
const refusedTypes: readonly string[] = [
  ...new Set(
    (walks.find(({ name }) => name === 'sndQueue')?.events['message.unauthorized'] ?? []).map(event =>
      String(event['messageType']),
    ),
  ),
]

const handshakeTypes = new Set(['CONN_INFO', 'CONN_INFO_REPLY'])
const isSent =
  (messageType: string) =>
  ({ wires }: CueWorld) =>
    wires.some(({ word, carries }) => word === 'SEND' && carries === messageType)

const refused = (messageType: string): Scenario => {
  const recipient = messageType === 'CONN_INFO' ? 'bob' : messageType === 'CONN_INFO_REPLY' ? 'alice' : 'bob'
  const inHandshake = handshakeTypes.has(messageType)
  const remove: Cue = {
    side: 'router',
    text: `loses the queue of ${recipient === 'alice' ? 'Alice' : 'Bob'}`,
    when: isSent(messageType),
    run: world => world.removeQueue(recipient),
  }
  return {
    id: `auth-${messageType.toLowerCase().replaceAll('_', '-')}`,
    title: `AUTH for ${messageType}`,
    about: `The router does not know the queue any more when ${messageType} comes: what that means is decided by the kind of the message.`,
    spec: ['B42'],
    ...(inHandshake ? {} : { before: connect }),
    cues: inHandshake
      ? [...connect, remove]
      : [
          messageType === 'A_MSG'
            ? says('alice', 'hello')
            : { side: 'alice', text: `sends ${messageType}`, run: ({ alice }) => alice.enqueue(messageType) },
          remove,
        ],
  }
}

export const scenarios: readonly Scenario[] = [fastHandshake, quota, ...refusedTypes.map(refused)]
