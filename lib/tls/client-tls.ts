// TLS towards clients: one context from the client_tls_* settings, and the server's side of a handshake on a socket.

import { constants, hkdfSync, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type TlsOptions as NodeTlsOptions, type Server, type TLSSocket } from 'node:tls';
import type { PoolerError } from '../util/index.js';
import { tlsServerEndPoint } from './channel-binding.js';
import { type ClientTlsPolicy, clientTlsPolicy } from './client-policy.js';
import { loadFiles } from './files.js';
import { contextOptions, type TlsOptions } from './options.js';
import { alpnProtocol, hasNegotiatedAlpn, type PeerIdentity, peerIdentity } from './peer.js';
import { clientHandshakeFailed, tlsConfigError, tlsProtocolError, untrustedClient } from './tls-error.js';

export type ClientTlsOutcome =
  /** `peer` is there only if its certificate was verified. */
  | { readonly kind: 'secure'; readonly socket: TLSSocket; readonly peer: PeerIdentity | undefined }
  /** TLS stands, so that the error can be told through it; nothing else may be done with this socket. */
  | { readonly kind: 'untrusted'; readonly socket: TLSSocket; readonly error: PoolerError }
  /** The socket is closed or closing. */
  | { readonly kind: 'failed'; readonly error: PoolerError };

/** `negotiated`: after SSLRequest. `direct`: the connection began with a ClientHello, and ALPN is a must. */
export type TlsOpening = 'negotiated' | 'direct';

interface Handshake {
  readonly opening: TlsOpening;
  readonly settle: (outcome: ClientTlsOutcome) => void;
}

/**
 * Undefined for sslmode `disable`.
 * @param ticketSecret processes with the same one, and the same certificate, resume each other's sessions
 * @throws PoolerError naming the setting or file that is wrong
 */
export async function loadClientTls(
  options: TlsOptions,
  ticketSecret: Buffer = randomBytes(32),
): Promise<ClientTls | undefined> {
  const policy = clientTlsPolicy(options.sslmode);
  if (policy.tls === 'refused') return undefined;
  const { context, certificate } = await loadFiles(options);
  if (certificate === undefined) {
    throw tlsConfigError('client_tls_sslmode needs client_tls_cert_file and client_tls_key_file');
  }
  const verifies = policy.certificate === 'required and verified';
  if (verifies && context.ca === undefined) {
    throw tlsConfigError(`client_tls_sslmode = ${options.sslmode} needs client_tls_ca_file`);
  }
  const settings = contextOptions(options, 'client_tls');
  // A resumed session would skip the certificate, so where one is required there are none.
  const noTickets = verifies ? constants.SSL_OP_NO_TICKET : 0;
  const serverOptions: NodeTlsOptions = {
    ...settings,
    ...context,
    secureOptions: (settings.secureOptions ?? 0) | noTickets,
    ...ticketKeys(ticketSecret, certificate.raw),
    requestCert: verifies,
    // Judged in #secured instead: a client refused here would see a closed socket and no reason.
    rejectUnauthorized: false,
    ALPNProtocols: [alpnProtocol],
  };
  return new ClientTls(policy, makeServer(serverOptions), tlsServerEndPoint(certificate.raw), certificate.validTo);
}

/** A client that comes back may meet another process, or the same after a reload. */
function ticketKeys(secret: Buffer, certificate: Buffer): Pick<NodeTlsOptions, 'ticketKeys' | 'sessionIdContext'> {
  const derived = Buffer.from(hkdfSync('sha256', secret, certificate, 'weir: tickets of TLS sessions', 64));
  return { ticketKeys: derived.subarray(0, 48), sessionIdContext: derived.subarray(48).toString('hex') };
}

function makeServer(options: NodeTlsOptions): Server {
  try {
    return createServer(options);
  } catch (cause) {
    throw tlsConfigError('the client_tls_* settings cannot be used', 'See the cipher and curve settings.', cause);
  }
}

/** Reloading is making another: connections that have one keep it. */
export class ClientTls {
  readonly policy: ClientTlsPolicy;
  /** `tls-server-end-point` data of our certificate; undefined if its signature has no hash (Ed25519). */
  readonly channelBinding: Buffer | undefined;
  readonly certificateExpiresAtMs: number;
  /** Never listens: it is node's only documented way to judge a client's certificate on a given socket. */
  readonly #server: Server;
  /** Handshakes under way, by the addresses of both ends; each leaves when it ends or its socket closes. */
  readonly #underWay = new Map<string, Handshake>();

  constructor(policy: ClientTlsPolicy, server: Server, channelBinding: Buffer | undefined, validTo: string) {
    this.policy = policy;
    this.channelBinding = channelBinding;
    this.certificateExpiresAtMs = Date.parse(validTo);
    this.#server = server;
    server.on('secureConnection', (socket) => this.#secured(socket));
    server.on('tlsClientError', (error, socket) => this.#take(socket)?.settle(failure(error)));
  }

  get handshakes(): number {
    return this.#underWay.size;
  }

  /**
   * Runs the handshake; `settled` is called once, whatever happens. Bytes already read must be back in the socket
   * (`unshift`). The caller bounds the time by destroying `socket`.
   */
  accept(socket: Socket, opening: TlsOpening, settled: (outcome: ClientTlsOutcome) => void): void {
    const key = addressesOf(socket);
    if (key === undefined || this.#underWay.has(key)) {
      socket.destroy();
      settled(failure(undefined));
      return;
    }
    const settle = (outcome: ClientTlsOutcome): void => {
      socket.off('close', onClose);
      this.#underWay.delete(key);
      settled(outcome);
    };
    const onClose = (): void => settle(failure(undefined));
    socket.once('close', onClose);
    this.#underWay.set(key, { opening, settle });
    this.#server.emit('connection', socket);
  }

  #secured(socket: TLSSocket): void {
    const handshake = this.#take(socket);
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    if (handshake.opening === 'direct' && !hasNegotiatedAlpn(socket)) {
      const error = tlsProtocolError('received direct SSL connection request without ALPN protocol negotiation');
      handshake.settle({ kind: 'untrusted', socket, error });
      return;
    }
    handshake.settle(this.#judge(socket));
  }

  #judge(socket: TLSSocket): ClientTlsOutcome {
    if (this.policy.certificate === 'not requested') return { kind: 'secure', socket, peer: undefined };
    const peer = peerIdentity(socket);
    if (peer === undefined) return { kind: 'untrusted', socket, error: untrustedClient('no client certificate') };
    if (!socket.authorized) {
      return { kind: 'untrusted', socket, error: untrustedClient(String(socket.authorizationError)) };
    }
    return { kind: 'secure', socket, peer };
  }

  #take(socket: TLSSocket): Handshake | undefined {
    const key = addressesOf(socket);
    return key === undefined ? undefined : this.#underWay.get(key);
  }
}

/** A TLS socket reports the addresses of the one beneath it; live TCP connections never share all four. */
function addressesOf(socket: Socket): string | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return `${remoteAddress} ${remotePort} ${localAddress ?? ''} ${localPort ?? ''}`;
}

function failure(cause: Error | undefined): ClientTlsOutcome {
  return { kind: 'failed', error: clientHandshakeFailed(cause) };
}
