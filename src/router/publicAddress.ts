import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** IPv4 that is no public place: this host, private, shared, link-local, protocol, documentation, benchmarks, multicast, reserved. */
const notPublicV4: ReadonlyArray<readonly [net: string, prefix: number]> = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
]

/** Parts of the public IPv6 range that lead elsewhere: protocol and Teredo, documentation, 6to4 (which embeds IPv4). */
const notPublicV6: ReadonlyArray<readonly [net: string, prefix: number]> = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

const reservedV4 = new BlockList()
for (const [net, prefix] of notPublicV4) reservedV4.addSubnet(net, prefix, 'ipv4')
const reservedV6 = new BlockList()
for (const [net, prefix] of notPublicV6) reservedV6.addSubnet(net, prefix, 'ipv6')
/** The only range that is given to public places; everything else, mapped IPv4 included, is not. */
const globalV6 = new BlockList()
globalV6.addSubnet('2000::', 3, 'ipv6')

/**
 * Whether an IP address belongs to the public internet (IANA special-purpose registries): a router that connects to whatever its clients
 * name must not reach its own machine or network for them.
 */
export const isPublicAddress = (address: string): boolean => {
  if (isIPv4(address)) return !reservedV4.check(address, 'ipv4')
  if (!isIPv6(address) || address.includes('%')) return false
  return globalV6.check(address, 'ipv6') && !reservedV6.check(address, 'ipv6')
}
