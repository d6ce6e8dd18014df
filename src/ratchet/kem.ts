import { type Kem, KEM_BYTES } from '../crypto/index.js'
import type { Bytes } from '../encoding/index.js'
import { kemFailure, noKemFailure } from './failures.js'
import { KEM_E2E_VERSION, type KemAgreement, type KemParams, type RatchetKem, type RatchetState } from './types.js'

/** What a turn does with the KEM: its state afterwards, and the secrets that the two new chains are made with. */
export interface KemTurn {
  readonly kem: RatchetKem
  readonly receivingSecret?: Bytes
  readonly sendingSecret?: Bytes
}

/**
 * The KEM's part of a turn, by the header that starts it. A side that uses the KEM opens what the peer accepted, accepts the key
 * that the peer proposes and proposes its next one; a side that does not only opens, and proposes nothing. Answers at once unless
 * an operation is needed. Throws `CRYPTO_KEM`; a promise rejects with KemError when the KEM cannot do its work now.
 */
export const turnKem = (
  state: RatchetState,
  params: KemParams | undefined,
  port: Kem | undefined,
): KemTurn | Promise<KemTurn> => {
  const { kem, versions } = state
  const used = kem.enabled && versions.current >= KEM_E2E_VERSION
  const accepts = used && params !== undefined ? params.publicKey : undefined
  const opens = params?.kind === 'accepted' ? opening(params.ciphertext, kem.agreement) : undefined
  // A peer that leaves its key out ends the agreement; a key is proposed when there was none.
  const proposes = used && params === undefined && kem.agreement === undefined
  if (accepts === undefined && opens === undefined && !proposes) return { kem: afterTurn(state, {}) }
  if (accepts !== undefined) checkPeerSize('publicKey', accepts)
  if (port === undefined) throw noKemFailure()
  return operate(state, port, { accepts, opens, generates: proposes || accepts !== undefined })
}

interface Operations {
  readonly accepts: Bytes | undefined
  readonly opens: { readonly ciphertext: Bytes; readonly privateKey: Bytes } | undefined
  readonly generates: boolean
}

const operate = async (state: RatchetState, port: Kem, operations: Operations): Promise<KemTurn> => {
  const { accepts, opens, generates } = operations
  const [receivingSecret, encapsulation, own] = await Promise.all([
    opens === undefined ? undefined : port.decapsulate(opens.ciphertext, opens.privateKey),
    accepts === undefined ? undefined : port.encapsulate(accepts),
    generates ? port.generateKeyPair() : undefined,
  ])
  const accepted =
    accepts === undefined || encapsulation === undefined ? {} : { accepted: { peerKey: accepts, ...encapsulation } }
  return {
    kem: afterTurn(state, {
      ...(own === undefined ? {} : { agreement: { own, ...accepted } }),
      receiving: receivingSecret !== undefined,
    }),
    ...(receivingSecret === undefined ? {} : { receivingSecret }),
    ...(encapsulation === undefined ? {} : { sendingSecret: encapsulation.sharedSecret }),
  }
}

const afterTurn = (
  { kem, versions }: RatchetState,
  { agreement, receiving = false }: { readonly agreement?: KemAgreement; readonly receiving?: boolean },
): RatchetKem => {
  const sending = agreement?.accepted !== undefined
  const enabled = sending || receiving || agreement !== undefined
  return {
    support: kem.support || (enabled && versions.current >= KEM_E2E_VERSION),
    enabled,
    sending,
    receiving,
    ...(agreement === undefined ? {} : { agreement }),
  }
}

/** What opens the peer's answer to our key. Throws `CRYPTO_KEM` when no key of ours was there to answer. */
export const opening = (
  ciphertext: Bytes,
  agreement: KemAgreement | undefined,
): { ciphertext: Bytes; privateKey: Bytes } => {
  if (agreement === undefined) throw kemFailure('the peer accepts a KEM key that was not proposed')
  checkPeerSize('ciphertext', ciphertext)
  return { ciphertext, privateKey: agreement.own.privateKey }
}

/** Throws `CRYPTO_KEM` for a key or ciphertext of the peer that has a wrong size. */
export const checkPeerSize = (kind: 'publicKey' | 'ciphertext', bytes: Bytes): void => {
  if (bytes.length !== KEM_BYTES[kind]) throw kemFailure(`the KEM ${kind} of the peer has a wrong size`)
}

/** The KEM after a message was sent with a wish for it or against it: the next turn follows the wish. */
export const requestKem = (version: number, kem: RatchetKem, enable: boolean | undefined): RatchetKem => {
  const enabled = enable ?? kem.enabled
  const support = kem.support || (version >= KEM_E2E_VERSION && enabled)
  if (enable !== false || kem.agreement === undefined) return { ...kem, enabled, support }
  // Stopping forgets what was accepted, so that later headers only propose.
  return { ...kem, enabled, support, agreement: { own: kem.agreement.own } }
}

/** What headers and X3DH parameters say of an agreement: our key, behind the answer to the peer's if there was one. */
export const kemParamsOf = (agreement: KemAgreement | undefined): KemParams | undefined => {
  if (agreement === undefined) return undefined
  const { publicKey } = agreement.own
  return agreement.accepted === undefined
    ? { kind: 'proposed', publicKey }
    : { kind: 'accepted', ciphertext: agreement.accepted.ciphertext, publicKey }
}
