export { inlineKem } from './inlineKem.js'
export { checkKemSize, type Encapsulation, type Kem, KEM_BYTES } from './port.js'
export { ThreadKem, type ThreadKemOptions } from './threadKem.js'
