export * from './port.js'
export * from './table.js'
