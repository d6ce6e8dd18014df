/** A text of the other side, cut to a length and made safe for a database: no NUL, no half of a surrogate pair. */
export const plainText = (text: string, length: number): string =>
  Buffer.from(text.slice(0, length)).toString('utf8').replaceAll('\0', '\uFFFD')
