export {
  type E2eParams,
  type E2ePrivateKeys,
  type KemUse,
  decodeE2ePrivateKeys,
  e2eParamsOf,
  encodeE2eParams,
  encodeE2ePrivateKeys,
  generateE2eParams,
  generateKemE2eParams,
  generateX448,
  readE2eParams,
  replyKem,
  x448KeysFrom,
} from './e2eParams.js'
export { type Decryption, type DecryptResult, MAX_SKIPPED, type SkippedChange, decrypt } from './decrypt.js'
export { decodeRatchetState, encodeRatchetState } from './encode.js'
export {
  type AdvanceOptions,
  type Advanced,
  type MessageEncryptKey,
  advanceHeader,
  checkCanPad,
  decodeMessageEncryptKey,
  encodeMessageEncryptKey,
  encryptBody,
  encryptBodyParts,
} from './encrypt.js'
export type { RatchetFailure } from './failures.js'
export {
  type GenerateKeyPair,
  type KemAgreement,
  type KemParams,
  type RatchetKem,
  type RatchetPorts,
  type RatchetState,
  type RatchetVersions,
  type SkippedKey,
  KEM_E2E_VERSION,
  SUPPORTED_E2E_VERSIONS,
} from './types.js'
export { encodeKemParams, readKemParams } from './wire.js'
export { type X3dhSecrets, initRcvRatchet, initSndRatchet, x3dhInitiator, x3dhJoiner } from './x3dh.js'
