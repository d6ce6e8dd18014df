/** The few file operations of the router's directory that must be whole or not at all. */
import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigError } from '../errors.js'

/**
 * Writes a file that must not exist yet and syncs it.
 *
 * @throws ConfigError CONFIG_EXISTS when it exists, CONFIG_FILE when it cannot be written.
 */
export const writeNewFile = async (path: string, contents: string, mode: number): Promise<void> => {
  try {
    const file = await open(path, 'wx', mode)
    try {
      await file.writeFile(contents)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') {
      throw new ConfigError('CONFIG_EXISTS', 'the file exists and is not overwritten', { field: path, cause })
    }
    throw new ConfigError('CONFIG_FILE', 'the file cannot be written', { field: path, cause })
  }
}

/** Replaces a file as a whole: readers see the old or the new contents, never a part. */
export const replaceFile = async (path: string, contents: string, mode: number): Promise<void> => {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', mode)
  try {
    await file.writeFile(contents)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** Makes names created or removed in a directory durable; systems that cannot sync directories are passed over. */
export const syncDirectory = async (path: string): Promise<void> => {
  try {
    const directory = await open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  } catch (error) {
    if (!['EINVAL', 'EISDIR', 'EPERM', 'EACCES'].includes(codeOf(error) ?? '')) throw error
  }
}

/** The system's error code, such as ENOENT. */
export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code
