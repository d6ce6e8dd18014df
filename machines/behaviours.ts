/** Whose decision a behaviour is: a machine by its id, or the part of the house that keeps the promise. */
export type BehaviourOwner =
  | 'agentOperations'
  | 'batch'
  | 'cleanup'
  | 'commandWorker'
  | 'config'
  | 'connection'
  | 'everywhere'
  | 'eventLog'
  | 'notificationToken'
  | 'queueSwitch'
  | 'ratchetSync'
  | 'rcvQueue'
  | 'signal'
  | 'signalLinking'
  | 'signalSend'
  | 'signalSocket'
  | 'signalSync'
  | 'sndQueue'
  | 'subscription'

/** A promise of the agent. Tests name its id, states list it in `meta.spec`. */
export interface Behaviour {
  readonly id: string
  readonly title: string
  readonly owner: BehaviourOwner
  /** A promise that is easily left out: it is about a race, a crash or the order of two steps. */
  readonly starred: boolean
}

/** Every promise of the agent (B) and of its Signal channel (S), in order of their ids. */
export const behaviours: readonly Behaviour[] = [
  // Start and life
  {
    id: 'B01',
    title: 'A normal start runs everything and stops it together; a background start only receives',
    owner: 'agentOperations',
    starred: false,
  },
  {
    id: 'B02',
    title: 'A worker that crashes, or starts more than 5 times a minute, is told as CRITICAL, except while closing',
    owner: 'agentOperations',
    starred: false,
  },
  {
    id: 'B03',
    title:
      'A service certificate and one session per connection exclude each other, and are refused wherever both are asked',
    owner: 'config',
    starred: false,
  },
  {
    id: 'B04',
    title: 'Suspension is immediate, or goes kind by kind as each falls idle until a timeout; resuming goes backwards',
    owner: 'agentOperations',
    starred: false,
  },
  {
    id: 'B05',
    title: 'A delivery is counted before its worker starts, so a suspension waits for it',
    owner: 'agentOperations',
    starred: true,
  },
  {
    id: 'B06',
    title: 'A retry ends its operation before it waits and begins a new one after, so SUSPENDED gets out meanwhile',
    owner: 'commandWorker',
    starred: true,
  },
  {
    id: 'B07',
    title: 'Cleanup takes each kind of expired row by itself, with a pause between steps',
    owner: 'cleanup',
    starred: false,
  },

  // Creating connections
  {
    id: 'B10',
    title:
      'A link can be prepared without network; a router that answers with another sender id than the derived one is refused',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B11',
    title: 'Fast handshake in both roles: CONF, INFO and CON come once on each side',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B12',
    title: 'Legacy handshake with KEY and HELLO in both roles; what a HELLO means follows from the send queue',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B13',
    title: 'The ratchet of the initiator is stored with the confirmation, so messages before the allow decrypt',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B14',
    title: 'The accepting party secures and says HELLO when it got a sender key, and is connected at once when not',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B15',
    title: 'A failed join goes on with the same queue, keys and ratchet; securing with the same key succeeds again',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B16',
    title: 'A connection that will be joined has its id before the other party can answer',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B17',
    title: 'A confirmation is taken when its version is in range or not above the agreed one',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B18',
    title:
      'A contact address gives a REQ for each invitation; accepting makes its owner the joiner, and a failure undoes that',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B19',
    title: 'Post-quantum keys are on when four conditions hold together, and are never turned off again',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B20',
    title: 'The agreed version rises with what the other party shows, and never falls',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B21',
    title:
      'Asynchronous calls are answered by OK or ERR under the correlation id of the caller; a delete may wait for delivery',
    owner: 'commandWorker',
    starred: true,
  },
  {
    id: 'B22',
    title:
      'Several users share an agent, each with sessions of its own; a new connection can move, a user goes with its connections',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B23',
    title: 'Each user has its own routers, with passwords and roles; a router can be tested step by step',
    owner: 'config',
    starred: false,
  },

  // Receiving
  {
    id: 'B30',
    title: 'Secret and public key tell what arrives: handshake, established, a confirmation again, or an error',
    owner: 'rcvQueue',
    starred: true,
  },
  {
    id: 'B31',
    title:
      'The user acknowledges messages and receipts with news, the agent all else; a failure is reported and acknowledged',
    owner: 'rcvQueue',
    starred: true,
  },
  {
    id: 'B32',
    title: 'Decrypting, parsing, checking and storing a message are one transaction under the lock of its connection',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B33',
    title: 'The first message on a queue makes it active; on a replacement it also ends the old queue',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B34',
    title:
      'A message that comes again is told once, acknowledged only after the application did, and not tried for ever',
    owner: 'rcvQueue',
    starred: true,
  },
  {
    id: 'B35',
    title: 'Gaps, repeats and a broken hash chain are reported with the message and never stop it',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B36',
    title:
      'A decryption error allows or requires a ratchet synchronisation by its kind; a repeated message is no error',
    owner: 'ratchetSync',
    starred: false,
  },
  {
    id: 'B37',
    title: 'A message that decrypts ends the need to synchronise, except while one is started',
    owner: 'ratchetSync',
    starred: false,
  },
  {
    id: 'B38',
    title:
      'Acknowledging with a receipt sends it; a bare one for a message whose receipt was good removes the sent row',
    owner: 'connection',
    starred: true,
  },

  // Sending
  {
    id: 'B40',
    title:
      'The ratchet steps once when a message is queued, its body is encrypted when it is sent; handshake messages before',
    owner: 'sndQueue',
    starred: true,
  },
  {
    id: 'B41',
    title: 'A full queue warns and is tried slowly; after 7 days what expired is dropped, and a handshake has failed',
    owner: 'sndQueue',
    starred: false,
  },
  {
    id: 'B42',
    title: 'What a refused authorisation means depends on the kind of message that was sent',
    owner: 'sndQueue',
    starred: true,
  },
  {
    id: 'B43',
    title:
      'Network errors are retried silently, router trouble warns; what expires goes with all that expired behind it',
    owner: 'sndQueue',
    starred: false,
  },
  {
    id: 'B44',
    title: 'What a delivered message means depends on its kind: CON, SENT, active, a step of a rotation',
    owner: 'sndQueue',
    starred: false,
  },
  {
    id: 'B45',
    title: 'QCONT from the other party ends the wait for room at once',
    owner: 'sndQueue',
    starred: true,
  },
  {
    id: 'B46',
    title: 'A batch locks its connections in one order, stores a shared body once, and one bad connection fails alone',
    owner: 'batch',
    starred: true,
  },
  {
    id: 'B47',
    title: 'A message that is too long is refused before it uses up an id or a ratchet step',
    owner: 'connection',
    starred: true,
  },
  {
    id: 'B48',
    title: 'The delivery row goes when the message is sent; the row of a user message stays until its receipt',
    owner: 'sndQueue',
    starred: false,
  },
  {
    id: 'B49',
    title: 'Private routing sends through a proxy as the mode and the fallback say; SENT names the proxy',
    owner: 'sndQueue',
    starred: false,
  },

  // Commands
  {
    id: 'B50',
    title: 'Commands of one connection at one router run in order, all others side by side',
    owner: 'commandWorker',
    starred: false,
  },
  {
    id: 'B51',
    title: 'Every internal command is run by its worker; a stored command of an older kind is deleted',
    owner: 'commandWorker',
    starred: false,
  },
  {
    id: 'B52',
    title: 'Securing after an allow moves to the router of the reply queue when that one fails',
    owner: 'commandWorker',
    starred: true,
  },
  {
    id: 'B53',
    title: 'A temporary error is tried again with growing delays, a permanent one is reported and deletes the command',
    owner: 'commandWorker',
    starred: false,
  },
  {
    id: 'B54',
    title: 'Lock, commit, release, then notify: a reader that stands still can never hold up a lock',
    owner: 'everywhere',
    starred: true,
  },
  {
    id: 'B55',
    title: 'Events keep their order when their reader does not keep up',
    owner: 'eventLog',
    starred: true,
  },

  // Subscribing
  {
    id: 'B60',
    title: 'UP names all connections of a batch, DOWN comes per router, END when another client takes the queue',
    owner: 'subscription',
    starred: false,
  },
  {
    id: 'B61',
    title: 'A result counts only while its queue is pending and its session is the current one',
    owner: 'subscription',
    starred: true,
  },
  {
    id: 'B62',
    title: 'A subscription answered by a message is up, even if processing that message fails',
    owner: 'subscription',
    starred: true,
  },
  {
    id: 'B63',
    title: 'The end of a subscription, told by a session that is no longer current, does nothing',
    owner: 'subscription',
    starred: true,
  },
  {
    id: 'B64',
    title: 'Connections that only send say so when subscribed; of several queues the best result counts',
    owner: 'subscription',
    starred: true,
  },
  {
    id: 'B65',
    title:
      'Subscribing all starts with the active user and keeps a bound; each queue is subscribed by itself, not as a service',
    owner: 'subscription',
    starred: false,
  },
  {
    id: 'B66',
    title: 'Subscribing again leaves out active queues; reconnecting takes growing delays, batches have a limit',
    owner: 'subscription',
    starred: false,
  },
  {
    id: 'B67',
    title: 'A connection that is subscribed goes on with the deliveries that wait',
    owner: 'subscription',
    starred: false,
  },
  {
    id: 'B68',
    title:
      'Offline stops retries, but not within 2 s of being online; another session mode takes connections down and up',
    owner: 'subscription',
    starred: true,
  },
  {
    id: 'B69',
    title: 'Get-only mode is refused while subscribed; idle sessions without subscriptions are closed',
    owner: 'subscription',
    starred: true,
  },

  // Queue rotation
  {
    id: 'B70',
    title: 'A queue is replaced in order on both sides: SWITCH started, confirmed, secured, completed',
    owner: 'queueSwitch',
    starred: false,
  },
  {
    id: 'B71',
    title: 'A QADD names the queue that it replaces; of several only the last one counts',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B72',
    title: 'A QKEY is taken only for the new queue of a switch that waits for it; after an abort it is a queue error',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B73',
    title: 'QTEST goes to the new queue only',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B74',
    title: 'A switch completes when its old queue cannot be deleted for good; only a temporary error waits',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B75',
    title: 'A switch can be aborted until the new queue was offered and answered, and not later',
    owner: 'queueSwitch',
    starred: false,
  },
  {
    id: 'B76',
    title: 'Every phase of a switch says what a starting ratchet synchronisation does to it; none is left stuck',
    owner: 'queueSwitch',
    starred: true,
  },
  {
    id: 'B77',
    title: 'A switch survives a delete, a switch of the other side and a dead router that is abandoned',
    owner: 'queueSwitch',
    starred: false,
  },
  {
    id: 'B78',
    title:
      'What waits on the old queue goes over to the new one in order, and the old one is read empty before it goes',
    owner: 'queueSwitch',
    starred: true,
  },

  // Ratchet synchronisation
  {
    id: 'B80',
    title: 'Who may start a ratchet synchronisation, and what the key of the other party does in each state',
    owner: 'ratchetSync',
    starred: false,
  },
  {
    id: 'B81',
    title: 'The hashes of the keys choose who receives and who says EREADY; both starting at once agree',
    owner: 'ratchetSync',
    starred: true,
  },
  {
    id: 'B82',
    title: 'The same ratchet key is processed once',
    owner: 'ratchetSync',
    starred: true,
  },
  {
    id: 'B83',
    title: 'EREADY carries the id received last, so that both directions decrypt again',
    owner: 'ratchetSync',
    starred: false,
  },
  {
    id: 'B84',
    title: 'Sends of the user are refused while the ratchet must be, or is being, synchronised',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B85',
    title: 'A restored backup with an old ratchet comes right by synchronisation, also with parties that were away',
    owner: 'ratchetSync',
    starred: false,
  },

  // Deleting and notifications
  {
    id: 'B90',
    title: 'A connection is deleted at once or after what waits was delivered, within 2 days and 10 attempts',
    owner: 'commandWorker',
    starred: false,
  },
  {
    id: 'B91',
    title: 'A connection can be suspended without deleting it: nothing more arrives',
    owner: 'connection',
    starred: false,
  },
  {
    id: 'B92',
    title: 'A notification token is registered, verified, checked, replaced and deleted; a refusal registers it anew',
    owner: 'notificationToken',
    starred: false,
  },

  // The Signal channel
  {
    id: 'S01',
    title: 'Linking as a secondary device; one-time keys are topped up, signed and last-resort keys rotate',
    owner: 'signalLinking',
    starred: false,
  },
  {
    id: 'S02',
    title: 'Two sockets, identified and unidentified, each with a statechart and a back-off of its own',
    owner: 'signalSocket',
    starred: false,
  },
  {
    id: 'S03',
    title: 'Keepalives and requests have deadlines; a dead socket is found within one keepalive and its deadline',
    owner: 'signalSocket',
    starred: false,
  },
  {
    id: 'S04',
    title: 'Before a durable send both sockets are probed when they were silent for 5 s',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S05',
    title: 'Sealed sender first; the identified path when that one is refused, closed, fails or takes too long',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S06',
    title: 'The devices of each recipient are remembered, so that a send starts with them',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S07',
    title: 'An answer about missing, extra or stale devices corrects the list at once; a send takes at most 5 rounds',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S08',
    title: 'A challenge or a rate limit is a wait with a reason; a message refused by size or form has failed',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S09',
    title: 'Refused account attributes degrade the health with a reason and leave the sockets open',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S10',
    title: 'The copy for the own devices is an item of its own: its failure never fails the send',
    owner: 'signalSync',
    starred: false,
  },
  {
    id: 'S11',
    title:
      'Session, ciphertext and outbox are stored before bytes leave; ratchet, text and hash before the acknowledgement',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S12',
    title: 'A send without an answer is repeated under the same timestamp, which receivers know again',
    owner: 'signalSend',
    starred: false,
  },
  {
    id: 'S13',
    title: 'What cannot be decrypted is asked for again; what is asked for again is sent from the log',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S14',
    title: 'Delivery and read receipts are told; an empty queue is told as caught up',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S15',
    title: 'The health of the channel is healthy, degraded or unhealthy with a reason, or logged out',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S16',
    title: 'Every step of a send is traced under one correlation id',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S17',
    title: 'Commands link, send, send in a loop and monitor, against the service that runs',
    owner: 'signal',
    starred: false,
  },
  {
    id: 'S18',
    title: 'Text, attachments, reactions and replies both ways; all identifiers of a person are one recipient',
    owner: 'signal',
    starred: false,
  },
]
