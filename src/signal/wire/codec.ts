import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Bytes } from '../../encoding/index.js'
import { DecodeError } from '../../errors.js'

/** Field types of the messages that Signal uses. 64-bit numbers are times and ids below 2^53. */
type Scalar = 'bytes' | 'string' | 'uint32' | 'uint64' | 'fixed64' | 'bool'

interface ScalarTypes {
  bytes: Bytes
  string: string
  uint32: number
  uint64: number
  fixed64: number
  bool: boolean
}

interface Field {
  readonly number: number
  readonly type: Scalar | Schema
  readonly repeated: boolean
}

/** A protobuf message as a table of its fields: the descriptor that encodes, decodes and types it. */
export interface Schema<F extends Readonly<Record<string, Field>> = Readonly<Record<string, Field>>> {
  readonly name: string
  readonly fields: F
}

type ValueOf<T> = T extends Scalar ? ScalarTypes[T] : T extends Schema ? MessageOf<T> : never

/** The decoded form: absent fields are missing, repeated ones always lists. */
export type MessageOf<S extends Schema> = {
  readonly [K in keyof S['fields'] as S['fields'][K]['repeated'] extends true ? never : K]?:
    | ValueOf<S['fields'][K]['type']>
    | undefined
} & {
  readonly [K in keyof S['fields'] as S['fields'][K]['repeated'] extends true ? K : never]?:
    | ReadonlyArray<ValueOf<S['fields'][K]['type']>>
    | undefined
}

export const schema = <const F extends Readonly<Record<string, Field>>>(name: string, fields: F): Schema<F> => ({
  name,
  fields,
})

export const one = <const N extends number, const T extends Scalar | Schema>(number: N, type: T) =>
  ({ number, type, repeated: false }) as const
export const many = <const N extends number, const T extends Scalar | Schema>(number: N, type: T) =>
  ({ number, type, repeated: true }) as const

/** Writes a message; fields that are undefined are left out. */
export const encode = <S extends Schema>(schema: S, message: MessageOf<S>): Uint8Array<ArrayBuffer> => {
  const writer = new BinaryWriter()
  write(writer, schema, message as Readonly<Record<string, unknown>>)
  return writer.finish()
}

const write = (writer: BinaryWriter, { fields }: Schema, message: Readonly<Record<string, unknown>>): void => {
  for (const [name, field] of Object.entries(fields)) {
    const value = message[name]
    if (value === undefined) continue
    for (const item of field.repeated ? (value as readonly unknown[]) : [value]) writeField(writer, field, item)
  }
}

const writeField = (writer: BinaryWriter, { number, type }: Field, value: unknown): void => {
  if (typeof type !== 'string') {
    writer.tag(number, WireType.LengthDelimited).fork()
    write(writer, type, value as Readonly<Record<string, unknown>>)
    writer.join()
    return
  }
  writer.tag(number, wireTypes[type])
  switch (type) {
    case 'bytes':
      writer.bytes(value as Bytes)
      return
    case 'string':
      writer.string(value as string)
      return
    case 'uint32':
      writer.uint32(value as number)
      return
    case 'uint64':
      writer.uint64(value as number)
      return
    case 'fixed64':
      writer.fixed64(value as number)
      return
    case 'bool':
      writer.bool(value as boolean)
  }
}

const wireTypes: Readonly<Record<Scalar, WireType>> = {
  bytes: WireType.LengthDelimited,
  string: WireType.LengthDelimited,
  uint32: WireType.Varint,
  uint64: WireType.Varint,
  fixed64: WireType.Bit64,
  bool: WireType.Varint,
}

/** Messages within messages: deeper than any of Signal’s go. */
const maxDepth = 16

/**
 * Reads a message; unknown fields are passed over. Text is made safe for a database: NUL and half surrogates become U+FFFD.
 *
 * @throws DecodeError DECODE_PROTOBUF for bytes that are no such message.
 */
export const decode = <S extends Schema>(schema: S, bytes: Bytes): MessageOf<S> => {
  try {
    const reader = new BinaryReader(bytes)
    return read(reader, schema, reader.len, 0) as MessageOf<S>
  } catch (cause) {
    throw new DecodeError('DECODE_PROTOBUF', `the bytes are no ${schema.name}`, { field: schema.name, cause })
  }
}

const read = (reader: BinaryReader, { fields }: Schema, end: number, depth: number): Record<string, unknown> => {
  if (depth > maxDepth) throw new Error('too deep')
  const message: Record<string, unknown> = {}
  for (const [name, { repeated }] of Object.entries(fields)) if (repeated) message[name] = []
  while (reader.pos < end) {
    const [number, wireType] = reader.tag()
    const entry = Object.entries(fields).find(([, field]) => field.number === number)
    if (entry === undefined) {
      reader.skip(wireType, number)
      continue
    }
    const [name, field] = entry
    if (!field.repeated) message[name] = readField(reader, field, wireType, depth)
    else if (wireType === WireType.LengthDelimited && isPackable(field.type)) {
      const packedEnd = reader.uint32() + reader.pos
      if (packedEnd > end) throw new Error('truncated')
      while (reader.pos < packedEnd) (message[name] as unknown[]).push(readScalar(reader, field.type))
    } else (message[name] as unknown[]).push(readField(reader, field, wireType, depth))
  }
  if (reader.pos !== end) throw new Error('truncated')
  return message
}

const isPackable = (type: Field['type']): type is 'uint32' | 'uint64' | 'fixed64' | 'bool' =>
  type === 'uint32' || type === 'uint64' || type === 'fixed64' || type === 'bool'

const readField = (reader: BinaryReader, { type }: Field, wireType: WireType, depth: number): unknown => {
  const expected = typeof type === 'string' ? wireTypes[type] : WireType.LengthDelimited
  if (wireType !== expected) throw new Error('wire type')
  if (typeof type === 'string') return readScalar(reader, type)
  const end = reader.uint32() + reader.pos
  if (end > reader.len) throw new Error('truncated')
  return read(reader, type, end, depth + 1)
}

const readScalar = (reader: BinaryReader, type: Scalar): unknown => {
  switch (type) {
    case 'bytes':
      return reader.bytes()
    case 'string':
      return reader.string().replaceAll('\0', '\uFFFD')
    case 'uint32':
      return reader.uint32()
    case 'uint64':
      return asNumber(reader.uint64())
    case 'fixed64':
      return asNumber(reader.fixed64())
    case 'bool':
      return reader.bool()
  }
}

const asNumber = (value: bigint | string): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new Error('a number above 2^53')
  return number
}
