/** What a decoder takes: buffers that it asks for, and the size of what it gives. */

const kinds = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const

/** Runs something and counts the bytes of the buffers that it asks for by their length: a length that lies shows here. */
export const measuring = <T>(run: () => T): { readonly result: T; readonly allocated: number } => {
  let allocated = 0
  const before = kinds.map(kind => [kind, Buffer[kind]] as const)
  for (const [kind, allocate] of before) {
    Buffer[kind] = ((size: number, ...rest: never[]) => {
      allocated += size
      return (allocate as (size: number, ...rest: never[]) => Buffer).call(Buffer, size, ...rest)
    }) as never
  }
  try {
    return { result: run(), allocated }
  } finally {
    for (const [kind, allocate] of before) Buffer[kind] = allocate as never
  }
}

/** About how much memory a decoded value holds: bytes, characters, and a little for each field and item. */
export const sizeOf = (value: unknown): number => {
  if (typeof value === 'string') return value.length
  if (value instanceof Uint8Array) return value.length
  if (typeof value !== 'object' || value === null) return 8
  return Object.values(value).reduce<number>((sum, item) => sum + 8 + sizeOf(item), 8)
}
