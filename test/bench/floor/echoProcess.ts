/** A TLS server that sends back what it gets: the other end of the floor of the transport. */
import { createServer, type TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { generateCertificates, identityOf } from '../../../src/router/certificates.js'
import { tcpParameters, tlsParameters } from '../../../src/smp/transport/tlsConnection.js'
import { serveCalls } from '../processes.js'

const pem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`

const listen = async (): Promise<number> => {
  const { credentials } = identityOf(await generateCertificates({ host: '127.0.0.1', now: Date.now() }))
  const server = createServer(
    {
      ...tlsParameters,
      ...tcpParameters,
      cert: credentials.certificates.map(der => pem('CERTIFICATE', der)).join(''),
      key: pem('PRIVATE KEY', credentials.privateKey),
    },
    (socket: TLSSocket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', chunk => socket.write(chunk))
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

serveCalls({ listen }, async () => {})
