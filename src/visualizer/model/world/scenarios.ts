/** The scenarios that can be played: scripts of what users and routers do; everything else follows from the machines. */
import { walks } from '../../../../machines/walks.js'
import type { Cue, CueWorld, Scenario } from './types.js'

const connect: readonly Cue[] = [
  { side: 'alice', text: 'createConnection', run: ({ alice }) => alice.create() },
  { side: 'bob', text: 'joinConnection', run: ({ bob }) => bob.join(), after: ({ bob }) => bob.hasLink },
  {
    side: 'alice',
    text: 'allowConnection',
    run: ({ alice }) => alice.allow(),
    after: world => world.wasTold('alice', 'CONF'),
  },
]

const told = (side: 'alice' | 'bob', word: string) => (world: CueWorld) => world.wasTold(side, word)

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

const legacyHandshake: Scenario = {
  id: 'legacy-handshake',
  title: 'Legacy handshake',
  about:
    'Each recipient secures its own queue with the key that the confirmation brings (KEY); HELLO tells that it is done.',
  spec: ['B12', 'B14'],
  legacy: true,
  cues: [...connect, says('alice', 'hello Bob'), says('bob', 'hello Alice')],
}

const contactAddress: Scenario = {
  id: 'contact-address',
  title: 'Contact address',
  about:
    'Bob asks at the address of Alice with an invitation to a queue of his own; accepting it makes Alice the one who joins.',
  spec: ['B18'],
  cues: [
    { side: 'alice', text: 'creates a contact address', run: ({ alice }) => alice.createAddress() },
    { side: 'bob', text: 'joinConnection', run: ({ bob }) => bob.join(), after: ({ bob }) => bob.hasLink },
    { side: 'alice', text: 'acceptContact', run: ({ alice }) => alice.accept(), after: told('alice', 'REQ') },
    { side: 'bob', text: 'allowConnection', run: ({ bob }) => bob.allow(), after: told('bob', 'CONF') },
    says('alice', 'hello Bob'),
    says('bob', 'hello Alice'),
  ],
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

/** Messages of a handshake, and whose queue they go to first. */
const handshakeTypes: Readonly<Record<string, 'alice' | 'bob'>> = {
  CONN_INFO: 'bob',
  CONN_INFO_REPLY: 'alice',
  HELLO: 'alice',
}
const isSent = (messageType: string) => (world: CueWorld) =>
  world.wires.some(({ word, carries }) => word === 'SEND' && carries === messageType)

const refused = (messageType: string): Scenario => {
  const inHandshake = handshakeTypes[messageType]
  const recipient = inHandshake ?? 'bob'
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
    ...(messageType === 'HELLO' ? { legacy: true } : {}),
    ...(inHandshake === undefined ? { before: connect } : {}),
    cues:
      inHandshake === undefined
        ? [
            messageType === 'A_MSG'
              ? says('alice', 'hello')
              : { side: 'alice', text: `sends ${messageType}`, run: ({ alice }) => alice.enqueue(messageType) },
            remove,
          ]
        : [...connect, remove],
  }
}

/** Connected, with a message each way, so that every queue is active. */
const talking: readonly Cue[] = [...connect, says('alice', 'hello Bob'), says('bob', 'hello Alice')]

const switchStart: Cue = { side: 'bob', text: 'switches his queue', run: ({ bob }) => bob.switchQueue() }
const completed = (world: CueWorld): boolean =>
  world.wasTold('alice', 'SWITCH', 'completed') && world.wasTold('bob', 'SWITCH', 'completed')

const rotation: Scenario = {
  id: 'rotation',
  title: 'Rotation',
  about:
    'Bob moves to another queue: QADD, QKEY, KEY, QUSE, QTEST; the first message on the new queue ends the old one.',
  spec: ['B70', 'B73', 'B78'],
  before: talking,
  cues: [switchStart, { ...says('alice', 'on the new queue'), after: completed }],
}

const rotationAborted: Scenario = {
  id: 'rotation-abort',
  title: 'Rotation, aborted',
  about:
    'Bob changes his mind while the key of Alice is on its way: the QKEY that comes late is an error, nothing else.',
  spec: ['B72', 'B75'],
  before: talking,
  cues: [
    switchStart,
    { side: 'bob', text: 'aborts the switch', run: ({ bob }) => bob.abortSwitch(), when: isSent('QKEY') },
    { ...says('alice', 'still on the old queue'), after: world => world.wasTold('bob', 'ERR') },
  ],
}

const isSynchronized = (world: CueWorld): boolean =>
  world.wasTold('alice', 'RSYNC', 'ok') && world.wasTold('bob', 'RSYNC', 'ok')

const synchronisation: Scenario = {
  id: 'ratchet-sync',
  title: 'Both synchronise at once',
  about: 'Both parties send a key before the other one arrives; the order of the hashes says who receives first.',
  spec: ['B80', 'B81', 'B83', 'B84'],
  before: talking,
  cues: [
    { side: 'alice', text: 'synchronises', run: ({ alice }) => alice.synchronize(true) },
    { side: 'bob', text: 'synchronises', run: ({ bob }) => bob.synchronize(true), when: isSent('RATCHET_INFO') },
    { ...says('alice', 'can you read this?'), after: isSynchronized },
    { ...says('bob', 'every word'), after: isSynchronized },
  ],
}

export const scenarios: readonly Scenario[] = [
  fastHandshake,
  legacyHandshake,
  contactAddress,
  rotation,
  rotationAborted,
  synchronisation,
  quota,
  ...refusedTypes.map(refused),
]
