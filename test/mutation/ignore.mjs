/**
 * What is not mutated, since it decides nothing. In machines:
 * - words for people: descriptions, `meta` (spec and ignores; that each state × event pair has its reason is held by
 *   test/machines/totality.test.ts), ids, the names of stubs, and constants that only `meta` uses;
 * - what the compiler refuses: a list of intents that lacks one, and a guard that does not ask for the event (`event.type === '…' &&`)
 *   whose fields it reads.
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
 * @property {Node[]} [properties]
 *
 * @typedef {{ node: Node, parentPath: Path | null, scope: { getBinding(name: string): { referencePaths: Path[] } | undefined } }} Path
 */

const words = new Set(['description', 'meta', 'id'])

/** @param {Node | undefined} key */
const nameOf = key => (key?.type === 'Identifier' ? key.name : key?.type === 'StringLiteral' ? key.value : undefined)

/** @param {Path} path @param {string} name */
const isProperty = ({ node }, name) => node.type === 'ObjectProperty' && nameOf(node.key) === name

/** @param {Path} path */
const isWord = ({ node }) => node.type === 'ObjectProperty' && words.has(String(nameOf(node.key)))

/** @param {Node} node @param {string} name */
const isCallOf = (node, name) => node.type === 'CallExpression' && node.callee?.name === name

/** @param {Path} path */
const isStubName = ({ node, parentPath }) =>
  node.type === 'StringLiteral' && parentPath !== null && isCallOf(parentPath.node, 'stub')

/** @param {Path | null} path @returns {boolean} */
const isInWord = path => path !== null && (isWord(path) || isInWord(path.parentPath))

/** @param {Path} path */
const isWordConstant = ({ node, scope }) => {
  if (node.type !== 'VariableDeclarator' || node.init?.type !== 'StringLiteral') return false
  const uses = scope.getBinding(String(node.id?.name))?.referencePaths ?? []
  return uses.length > 0 && uses.every(isInWord)
}

/** `actions: { dropMessage: intent(), … }`. @param {Path} path */
const isListOfIntents = ({ node, parentPath }) =>
  node.type === 'ObjectExpression' &&
  parentPath !== null &&
  isProperty(parentPath, 'actions') &&
  (node.properties ?? []).every(({ value }) => isCallOf(/** @type {Node} */ (value), 'intent'))

/** @param {Path | null} path @returns {boolean} */
const isInGuards = path => path !== null && (isProperty(path, 'guards') || isInGuards(path.parentPath))

/** `event.type === '…'` before `&&`. @param {Path} path */
const isNarrowing = ({ node, parentPath }) =>
  node.type === 'BinaryExpression' &&
  node.operator === '===' &&
  node.left?.object?.name === 'event' &&
  node.left.property?.name === 'type' &&
  parentPath?.node.operator === '&&' &&
  parentPath.node.left === node &&
  isInGuards(parentPath)

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, 'undecided', {
    /** @param {object} babelPath */
    shouldIgnore(babelPath) {
      const path = /** @type {Path} */ (babelPath)
      if (isWord(path) || isStubName(path) || isWordConstant(path)) return 'words for people'
      if (isListOfIntents(path) || isNarrowing(path)) return 'the compiler refuses it'
      return undefined
    },
  }),
]
