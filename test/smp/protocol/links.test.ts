import { describe, expect, it } from 'vitest'
import { DecodeError } from '../../../src/errors.js'
import { formatConnectionRequest, parseConnectionRequest } from '../../../src/smp/protocol/connectionRequest.js'
import { sameQueue } from '../../../src/smp/protocol/queueInfo.js'
import { Query } from '../../../src/smp/protocol/query.js'
import { parseConnectionLink } from '../../../src/smp/protocol/shortLink.js'

const DH = 'MCowBQYDK2VuAyEAtSYMIVPGfK78txOiarv-_3VfAKTkVeO50HoQr0g_Chk='
const queue = (place: string, id: string): string => `smp://1234-w==@${place}/${id}#/?v=1-4&dh=${DH}&q=c`
const contact = (...queues: string[]): string =>
  `simplex:/contact#/?v=2-7&smp=${encodeURIComponent(queues.map(q => q.replace(DH, encodeURIComponent(DH))).join(';'))}`

const fieldOf = (link: string): string | undefined => {
  try {
    parseConnectionLink(link)
  } catch (error) {
    if (error instanceof DecodeError) return error.field
    throw error
  }
  throw new Error('parsed')
}

describe('links', () => {
  it.each([
    ['link', 'hello'],
    ['link', 'simplex:/contact?v=2-7'],
    ['smp', 'simplex:/contact#/?v=2-7'],
    ['v', 'simplex:/contact#/?v=x&smp=y'],
    ['e2e', `${contact(queue('a', '3456-w==')).replace('contact', 'invitation')}`],
    ['queue', contact('nonsense')],
    ['router address', contact(queue('', '3456-w=='))],
    ['router host', contact(queue('a,', '3456-w=='))],
    ['senderId', contact(queue('a', 'A'))],
    ['h', 'simplex:/a#MDEy'],
    ['p', 'https://a/a#MDEy?p=0'],
    ['linkId', 'https://a/i#MDEy'],
  ])('name the part that is wrong: %s', (field, link) => {
    expect(fieldOf(link)).toBe(field)
  })

  it('say what to do', () => {
    expect(() => parseConnectionLink('hello')).toThrow(expect.objectContaining({ hint: expect.stringMatching('link') }))
  })

  it('never show themselves in errors', () => {
    const secret = 'simplex:/contact#/?v=2-7&smp=smp%3A%2F%2Fsecret'
    expect(() => parseConnectionLink(secret)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    )
  })

  it('may be pasted with white space around them', () => {
    const link = contact(queue('a', '3456-w=='))
    expect(parseConnectionLink(` ${link}\n`)).toEqual({ kind: 'long', request: parseConnectionRequest(link) })
  })

  it('keep data of the application, whatever characters it has', () => {
    const request = { ...parseConnectionRequest(contact(queue('a', '3456-w=='))), clientData: 'é 😀 %41 +;&=#\n' }
    expect(parseConnectionRequest(formatConnectionRequest(request))).toEqual(request)
  })
})

describe('queries', () => {
  it('end parameters with & and ;, read + as a space, and take the first of equal names', () => {
    const query = new Query('a=1;b=x+y&a=2&c&%64=%zz%41')
    expect(['a', 'b', 'c', 'd', 'e'].map(name => query.get(name))).toEqual(['1', 'x y', '', '%zzA', undefined])
  })
})

describe('queues', () => {
  it('are the same at the same place, whatever fingerprint is named', () => {
    const [a, b, c] = [queue('a', '3456-w=='), queue('a:5223', '3456-w=='), queue('b', '3456-w==')].map(
      text => parseConnectionRequest(contact(text)).queues[0]?.address,
    )
    if (a === undefined || b === undefined || c === undefined) throw new Error('three links were given')
    expect(sameQueue(a, { ...b, router: { ...b.router, keyHash: Buffer.of(1) } })).toBe(true)
    expect(sameQueue(a, c)).toBe(false)
    expect(sameQueue(a, { ...a, senderId: Buffer.of(1) })).toBe(false)
  })
})
