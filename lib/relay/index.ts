// The two hot directions between a client and its server, and the queue of replies owed. Talks to ports; never to a socket.

export { ClientChannel, type ClientChannelLimits } from './client-channel.js';
export { type ClientHost, newTraffic, type Port, type ServerHost, type Traffic } from './ports.js';
export { ServerChannel } from './server-channel.js';
