// Sockets: one class over plain and TLS connections. Knows nothing of the protocol spoken on them.

export { Accepted, acceptFrom } from './accepted.js';
export { FrameInbox, loginFrameBytesMax } from './frame-inbox.js';
export { Peer, type PeerHandler, pressureBytes } from './peer.js';
