// TLS towards servers: one context from the server_tls_* settings, and the client's side of a handshake on a socket.

import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { PoolerError } from '../util/index.js';
import { loadFiles } from './files.js';
import { contextOptions, type SslMode, type TlsOptions } from './options.js';
import { alpnProtocol, peerChannelBinding } from './peer.js';
import { type ServerVerification, serverVerification } from './server-negotiation.js';
import { serverHandshakeFailed, tlsConfigError } from './tls-error.js';

export type ServerTlsOutcome =
  /** `channelBinding` is for SCRAM-SHA-256-PLUS; undefined if the certificate's signature has no hash. */
  | { readonly kind: 'secure'; readonly socket: TLSSocket; readonly channelBinding: Buffer | undefined }
  /** The socket is destroyed. */
  | { readonly kind: 'failed'; readonly error: PoolerError };

/** Undefined for sslmode `disable`. @throws PoolerError naming the setting or file that is wrong */
export async function loadServerTls(options: TlsOptions): Promise<ServerTls | undefined> {
  if (options.sslmode === 'disable') return undefined;
  const { context } = await loadFiles(options);
  const settings = contextOptions(options, 'server_tls');
  try {
    return new ServerTls(options.sslmode, createSecureContext({ ...settings, ...context }));
  } catch (cause) {
    throw tlsConfigError('the server_tls_* settings cannot be used', 'See the cipher and protocol settings.', cause);
  }
}

/** Reloading is making another: connections that have one keep it. */
export class ServerTls {
  readonly mode: SslMode;
  readonly verification: ServerVerification;
  readonly #context: SecureContext;

  constructor(mode: SslMode, context: SecureContext) {
    this.mode = mode;
    this.verification = serverVerification(mode);
    this.#context = context;
  }

  /**
   * Runs the handshake on a connected socket after the server's `S`; `settled` is called once. Without a CA file the
   * verifying modes trust the public authorities node brings along. The caller bounds the time by destroying `socket`.
   * @param host as configured, a name or an address: what verify-full compares with the certificate
   */
  connect(socket: Socket, host: string, settled: (outcome: ServerTlsOutcome) => void): void {
    const secure = connect({
      socket,
      host,
      servername: isIP(host) === 0 ? host : '',
      secureContext: this.#context,
      rejectUnauthorized: this.verification !== 'none',
      checkServerIdentity: (_name, certificate) =>
        this.verification === 'authority and name' ? checkServerIdentity(host, certificate) : undefined,
      ALPNProtocols: [alpnProtocol],
    });
    const fail = (cause?: Error): void => {
      stopListening();
      secure.on('error', ignoreLateError);
      secure.destroy();
      settled({ kind: 'failed', error: serverHandshakeFailed(host, cause) });
    };
    const onClose = (): void => fail();
    const succeed = (): void => {
      stopListening();
      settled({ kind: 'secure', socket: secure, channelBinding: peerChannelBinding(secure) });
    };
    const stopListening = (): void => {
      secure.off('error', fail).off('close', onClose).off('secureConnect', succeed);
    };
    secure.once('error', fail).once('close', onClose).once('secureConnect', succeed);
  }
}

/** The failure has been told; what the dying socket adds is not news. */
function ignoreLateError(): void {}
