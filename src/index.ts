export * from './errors.js'
export * from './agent/index.js'
export { type OpenRouterOptions, openRouter } from './router/openRouter.js'
export type { Router } from './router/router.js'
