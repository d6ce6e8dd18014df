import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeAll } from '../../src/encoding/index.js'
import { DecodeError } from '../../src/errors.js'
import {
  encodeConnectionRequest,
  formatConnectionRequest,
  type LinkScheme,
  parseConnectionRequest,
  readConnectionRequest,
} from '../../src/smp/protocol/connectionRequest.js'
import {
  encodeE2eRatchetParams,
  formatE2eRatchetParams,
  parseE2eRatchetParams,
  readE2eRatchetParams,
} from '../../src/smp/protocol/e2eParams.js'
import { parseQueueUri } from '../../src/smp/protocol/queueInfo.js'
import {
  encodeRouterAddress,
  formatRouterAddress,
  formatRouterAddressWithAuth,
  parseRouterAddressWithAuth,
  readRouterAddress,
} from '../../src/smp/protocol/routerAddress.js'
import {
  encodeShortLink,
  formatShortLink,
  parseConnectionLink,
  parseShortLink,
  readShortLink,
  type ShortLink,
} from '../../src/smp/protocol/shortLink.js'
import { anyBytes, mutated, mutatedText, survives } from '../smp/protocol/arbitraries.js'
import { e2eOf, queueUriOf, requestOf, routerOf } from './agentFields.js'
import { hex, loadVectors, toHex, type Vector } from './load.js'

const vectors = loadVectors('links')
const cases = (list: string, title: string): [string, Vector][] =>
  vectors[list].map((v: Vector, i: number) => [`${i} ${v[title]}`, v])

const CONTACT_TYPES = {
  CCTContact: 'contact',
  CCTChannel: 'channel',
  CCTGroup: 'group',
  CCTRelay: 'relay',
} as const

const shortLinkOf = (v: Vector): ShortLink => {
  const data = {
    scheme: v['scheme'] === 'SLSSimplex' ? 'simplex' : 'https',
    router: routerOf(v['server']),
    linkKey: hex(v['linkKey']),
  } as const
  if (v['mode'] === 'invitation') return { mode: 'invitation', ...data, linkId: hex(v['linkId']) }
  return { mode: 'contact', ...data, contactType: CONTACT_TYPES[v['contactType'] as keyof typeof CONTACT_TYPES] }
}

/** What the reference read from a text: a value, or an error, which must be an error here too. */
const expectResult = <T>(parse: () => T, result: Vector, expected: (ok: Vector) => T): void => {
  if (result['error'] === undefined) expect(parse()).toEqual(expected(result['ok']))
  else expect(parse).toThrow(DecodeError)
}

describe('router addresses', () => {
  it.each(cases('servers', 'str'))('%s', (_, v) => {
    const result: Vector = v['result']
    if (result['error'] !== undefined) {
      expect(() => parseRouterAddressWithAuth(v['str'])).toThrow(DecodeError)
      return
    }
    const address = parseRouterAddressWithAuth(v['str'])
    expect(address.router).toEqual(routerOf(result['server']))
    expect(address.basicAuth).toBe(result['basicAuth'] ?? undefined)
    expect(formatRouterAddressWithAuth(address, 'bare')).toBe(result['strEncode'])
    expect(formatRouterAddress(address.router, 'bare')).toBe(result['serverOnlyStr'])
    expect(toHex(encodeRouterAddress(address.router))).toBe(result['serverSmp'])
    expect(decodeAll(hex(result['serverSmp']), 'router', readRouterAddress)).toEqual(address.router)
  })
})

describe('connection requests', () => {
  it.each(cases('connectionRequests', 'name'))('%s', (_, v) => {
    const request = requestOf(v['fields'])
    expect(formatConnectionRequest(request, v['fields']['data']['scheme'] as LinkScheme)).toBe(v['uri'])
    expect(parseConnectionRequest(v['uri'])).toEqual(requestOf(v['strDecodesTo']))
    expect(parseConnectionLink(v['uri'])).toEqual({ kind: 'long', request: requestOf(v['strDecodesTo']) })
    expect(toHex(encodeConnectionRequest(request))).toBe(v['smp'])
    expect(decodeAll(hex(v['smp']), 'request', readConnectionRequest)).toEqual(requestOf(v['smpDecodesTo']))
  })

  it.each(cases('connectionRequestParsing', 'uri'))('parsing %s', (_, v) => {
    expectResult(() => parseConnectionRequest(v['uri']), v['result'], requestOf)
  })
})

describe('queues in links', () => {
  it.each(cases('queueUriParsing', 'uri'))('parsing %s', (_, v) => {
    expectResult(() => parseQueueUri(v['uri']), v['result'], queueUriOf)
  })

  it(`knows hosts as in: ${vectors['extraServerHosts']}`, () => {
    const uri = parseQueueUri(
      'smp://1234-w==@smp4.simplex.im/3456-w==#/?v=1&dh=MCowBQYDK2VuAyEAtSYMIVPGfK78txOiarv-_3VfAKTkVeO50HoQr0g_Chk=',
    )
    expect(uri.address.router.hosts).toHaveLength(2)
  })
})

describe('e2e parameters', () => {
  it.each(cases('e2eParamsStr', 'name'))('%s', (_, v) => {
    const e2e = e2eOf(v['fields'])
    expect(formatE2eRatchetParams(e2e)).toBe(v['str'])
    expect(parseE2eRatchetParams(v['str'])).toEqual(e2e)
    expect(toHex(encodeE2eRatchetParams(e2e))).toBe(v['smp'])
    expect(decodeAll(hex(v['smp']), 'e2e', readE2eRatchetParams)).toEqual(e2e)
  })
})

describe('short links', () => {
  it.each(cases('shortLinks', 'uri'))('%s', (_, v) => {
    const link = shortLinkOf(v['fields'])
    expect(formatShortLink(link)).toBe(v['uri'])
    expect(parseShortLink(v['uri'])).toEqual(shortLinkOf(v['strDecodesTo']))
    expect(parseConnectionLink(v['uri'])).toEqual({ kind: 'short', link: shortLinkOf(v['strDecodesTo']) })
    expect(toHex(encodeShortLink(link))).toBe(v['smp'])
    expect(decodeAll(hex(v['smp']), 'link', readShortLink)).toEqual(shortLinkOf(v['smpDecodesTo']))
  })

  it.each(cases('shortLinkParsing', 'uri'))('parsing %s', (_, v) => {
    expectResult(() => parseShortLink(v['uri']), v['result'], shortLinkOf)
  })
})

describe('hostile input', () => {
  const texts = (list: string, field: string): string[] => vectors[list].map((v: Vector) => v[field])
  const bytes = (list: string) => vectors[list].map((v: Vector) => hex(v['smp']))

  it('a long link parses or is a typed error', () => {
    const links = fc.oneof(
      fc.string(),
      mutatedText([...texts('connectionRequests', 'uri'), ...texts('connectionRequestParsing', 'uri')]),
    )
    survives(links, parseConnectionRequest, request => formatConnectionRequest(request))
  })

  it('a short link parses or is a typed error', () => {
    const links = fc.oneof(
      fc.string(),
      mutatedText([...texts('shortLinks', 'uri'), ...texts('shortLinkParsing', 'uri')]),
    )
    survives(links, parseShortLink, formatShortLink)
  })

  it('e2e parameters parse or are a typed error', () => {
    survives(
      fc.oneof(fc.string(), mutatedText(texts('e2eParamsStr', 'str'))),
      parseE2eRatchetParams,
      formatE2eRatchetParams,
    )
  })

  it('a binary link decodes or is a typed error', () => {
    survives(
      fc.oneof(anyBytes, mutated(bytes('connectionRequests'))),
      input => decodeAll(input, 'request', readConnectionRequest),
      encodeConnectionRequest,
    )
  })

  it('a binary short link decodes or is a typed error', () => {
    survives(
      fc.oneof(anyBytes, mutated(bytes('shortLinks'))),
      input => decodeAll(input, 'link', readShortLink),
      encodeShortLink,
    )
  })
})
