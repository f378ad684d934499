// TLS on both sides: contexts from PgBouncer's settings, what each sslmode means as tables, handshakes on sockets that
// the caller opened, channel binding data and peer names. Reads certificate files. Never opens or listens on a socket,
// never reads or writes protocol bytes, never decides who may log in.

export { certificateBytesMax, signatureHash, tlsServerEndPoint } from './channel-binding.js';
export type { ClientTlsPolicy } from './client-policy.js';
export { clientTlsPolicy } from './client-policy.js';
export type { ClientTls, ClientTlsOutcome, TlsOpening } from './client-tls.js';
export { loadClientTls } from './client-tls.js';
export { tlsFileBytesMax } from './files.js';
export type { ProtocolRange, SslMode, TlsOptions } from './options.js';
export { parseProtocols, sslModes } from './options.js';
export type { PeerIdentity } from './peer.js';
export { alpnProtocol, hasNegotiatedAlpn, isDirectTls, peerChannelBinding, peerIdentity } from './peer.js';
export type { ServerVerification, TlsAttempt, TlsMove } from './server-negotiation.js';
export { firstAttempt, onConnected, onFailure, onSslAnswer, serverVerification } from './server-negotiation.js';
export type { ServerTls, ServerTlsOutcome } from './server-tls.js';
export { loadServerTls } from './server-tls.js';
