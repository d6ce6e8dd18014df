/**
 * What is not mutated, since it decides nothing. In machines:
 * - words for people: descriptions, `meta` (spec and ignores; that each state × event pair has its reason is held by
 *   test/machines/totality.test.ts), the reasons of refusals, ids, the names of stubs, and constants that only `meta` uses;
 * - what the compiler refuses: lists of intents and stubs that lack one, and guards and actions that do not ask for the event whose
 *   fields they read (`event.type === '…' &&`, `event.type === '…' ? … : {}`).
 */
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin'

/**
 * The part of a Babel path that the rules need.
 * @typedef {object} Node
 * @property {string} type
 * @property {string} [name]
 * @property {unknown} [value]
 * @property {string} [operator]
 * @property {Node} [key]
 * @property {Node} [id]
 * @property {Node} [init]
 * @property {Node} [callee]
 * @property {Node} [object]
 * @property {Node} [property]
 * @property {Node} [left]
 * @property {Node} [right]
 * @property {Node} [test]
 * @property {Node} [alternate]
 * @property {Node} [expression]
 * @property {Node[]} [properties]
 * @property {Node[]} [arguments]
 *
 * @typedef {{ node: Node, parentPath: Path | null, scope: { getBinding(name: string): { referencePaths: Path[] } | undefined } }} Path
 */

const words = new Set(['description', 'meta', 'id', 'reason'])

/** @param {Node | undefined} key */
const nameOf = key => (key?.type === 'Identifier' ? key.name : key?.type === 'StringLiteral' ? key.value : undefined)

/** @param {Path} path @param {string} name */
const isProperty = ({ node }, name) => node.type === 'ObjectProperty' && nameOf(node.key) === name

/** @param {Path} path */
const isWord = ({ node }) => {
  if (node.type === 'ObjectExpression') return (node.properties ?? []).map(({ key }) => nameOf(key)).join() === 'reason'
  return node.type === 'ObjectProperty' && words.has(String(nameOf(node.key)))
}

/** @param {Node} node @param {string} name */
const isCallOf = (node, name) => node.type === 'CallExpression' && node.callee?.name === name

/** `stub('connect')`, `refuse('…')`. @param {Path} path */
const isSaid = ({ node, parentPath }) =>
  node.type === 'StringLiteral' &&
  parentPath !== null &&
  (isCallOf(parentPath.node, 'stub') || isCallOf(parentPath.node, 'refuse'))

/** @param {Path | null} path @returns {boolean} */
const isInWord = path => path !== null && (isWord(path) || isInWord(path.parentPath))

/** @param {Path} path */
const isWordConstant = ({ node, scope }) => {
  if (node.type !== 'VariableDeclarator' || node.init?.type !== 'StringLiteral') return false
  const uses = scope.getBinding(String(node.id?.name))?.referencePaths ?? []
  return uses.length > 0 && uses.every(isInWord)
}

/** `intent()`, `stub('connect')`, `fromPromise(stub('connect'))`, with or without `as …`. @param {Node | undefined} node @returns {boolean} */
const isStub = node => {
  if (node?.type === 'TSAsExpression') return isStub(node.expression)
  if (node === undefined || node.type !== 'CallExpression') return false
  return ['intent', 'stub'].some(name => isCallOf(node, name)) || isStub(node.arguments?.[0])
}

/** `actions: { dropMessage: intent(), … }`. @param {Path} path */
const isListOfStubs = ({ node, parentPath }) =>
  node.type === 'ObjectExpression' &&
  parentPath !== null &&
  ['actions', 'actors', 'guards'].some(name => isProperty(parentPath, name)) &&
  (node.properties ?? []).every(({ value }) => isStub(/** @type {Node} */ (value)))

/** @param {Path | null} path @returns {boolean} */
const isInSetup = path =>
  path !== null && (isProperty(path, 'guards') || isProperty(path, 'actions') || isInSetup(path.parentPath))

/** `event.type === '…'`, or several of them with `||`. @param {Node | undefined} node @returns {boolean} */
const asksForEvent = node => {
  if (node?.type === 'LogicalExpression') return node.operator === '||' && [node.left, node.right].every(asksForEvent)
  return node?.operator === '===' && node.left?.object?.name === 'event' && node.left.property?.name === 'type'
}

/** Before `&&`, or before `? … : {}`. @param {Path} path */
const isNarrowing = ({ node, parentPath }) => {
  const parent = parentPath?.node
  if (!asksForEvent(node) || parent === undefined || !isInSetup(parentPath)) return false
  if (parent.type === 'ConditionalExpression') return parent.test === node && parent.alternate?.properties?.length === 0
  return parent.operator === '&&' && parent.left === node
}

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, 'undecided', {
    /** @param {object} babelPath */
    shouldIgnore(babelPath) {
      const path = /** @type {Path} */ (babelPath)
      if (isWord(path) || isSaid(path) || isWordConstant(path)) return 'words for people'
      if (isListOfStubs(path) || isNarrowing(path)) return 'the compiler refuses it'
      return undefined
    },
  }),
]
