/**
 * Mutants that the compiler refuses are none that tests must notice. Stryker's own checker needs the API of older compilers, so this asks the
 * command: each mutant is a copy of its file beside the original, in a copy of the sources, and all are compiled at once. A mutant that only
 * a file that imports it would refuse counts as compiled.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { CheckStatus } from '@stryker-mutator/api/check'
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { root } from './plan.mjs'

/**
 * @typedef {import('@stryker-mutator/api/core').Mutant} Mutant
 * @typedef {import('@stryker-mutator/api/check').CheckResult} CheckResult
 */

const options = {
  extends: './tsconfig.base.json',
  compilerOptions: {
    noEmit: true,
    declaration: false,
    // What a condition that never holds leaves behind is no error of types.
    allowUnreachableCode: true,
    allowUnusedLabels: true,
    noUnusedLocals: false,
    noUnusedParameters: false,
  },
  include: ['src/**/*.mutant*.ts', 'machines/*.mutant*.ts'],
}

/** Lines and columns begin with 0. @param {string} source @param {{ line: number, column: number }} place */
const offset = (source, { line, column }) =>
  source
    .split('\n')
    .slice(0, line)
    .reduce((all, text) => all + text.length + 1, 0) + column

/** @param {string} source @param {Mutant} mutant */
const mutated = (source, { location, replacement }) =>
  source.slice(0, offset(source, location.start)) + replacement + source.slice(offset(source, location.end))

/** What the compiler says of a folder, by file. @param {string} folder @returns {Promise<Map<string, string[]>>} */
const errorsOf = folder =>
  new Promise((resolve, reject) => {
    const child = spawn(`${root}/node_modules/.bin/tsc`, ['-p', folder, '--pretty', 'false'], { cwd: folder })
    let output = ''
    child.stdout.on('data', part => {
      output += part
    })
    child.on('error', reject)
    child.on('exit', code => {
      const errors = new Map()
      for (const [, file = '', text = ''] of output.matchAll(/^(\S+?)\(\d+,\d+\): error (.*)$/gm)) {
        errors.set(file, [...(errors.get(file) ?? []), text])
      }
      if (code !== 0 && errors.size === 0) reject(new Error(`the compiler ended with ${code}: ${output}`))
      else resolve(errors)
    })
  })

class Compiler {
  async init() {}

  /** All at once. @param {Mutant[]} mutants */
  async group(mutants) {
    return [mutants.map(({ id }) => id)]
  }

  /** @param {Mutant[]} mutants @returns {Promise<Record<string, CheckResult>>} */
  async check(mutants) {
    const folder = mkdtempSync(join(tmpdir(), 'duologue-mutants-'))
    try {
      for (const name of ['src', 'machines', 'package.json'])
        cpSync(`${root}/${name}`, `${folder}/${name}`, { recursive: true })
      cpSync(`${root}/tsconfig.json`, `${folder}/tsconfig.base.json`)
      writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(options))
      symlinkSync(`${root}/node_modules`, `${folder}/node_modules`)
      /** @param {string} file @param {string} id */
      const copyOf = (file, id) => relative(root, file).replace(/\.ts$/, `.mutant${id}.ts`)
      for (const mutant of mutants) {
        const source = readFileSync(mutant.fileName, 'utf8')
        writeFileSync(`${folder}/${copyOf(mutant.fileName, 'None')}`, source)
        writeFileSync(`${folder}/${copyOf(mutant.fileName, mutant.id)}`, mutated(source, mutant))
      }
      const errors = await errorsOf(folder)
      return Object.fromEntries(
        mutants.map(({ id, fileName }) => {
          // A copy of a class with private fields is another type, which the original's users refuse: what the unchanged copy says too does not count.
          const usual = errors.get(copyOf(fileName, 'None')) ?? []
          const reason = (errors.get(copyOf(fileName, id)) ?? []).find(text => !usual.includes(text))
          return [
            id,
            reason === undefined ? { status: CheckStatus.Passed } : { status: CheckStatus.CompileError, reason },
          ]
        }),
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.Checker, 'compiler', Compiler)]
