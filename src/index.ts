export * from './errors.js'
export * from './agent/index.js'
