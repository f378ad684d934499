// One client: login, session, console conversation. Leases servers from its pool; never decides how many there are.

export { ClientConnection, type ClientState } from './connection.js';
export type { ClientAddress, ClientGate, Console, ConsoleAnswer, House, LoginRecord } from './house.js';
export { lookUp, type Row } from './internal-client.js';
export { newHub } from './listener.js';
export { NotificationMemory } from './notification-queue.js';
export type { HubEvents, NotificationHub } from './notifications.js';
export { clientPidOf, isClientPid, nextSerial, processOfClientPid } from './pids.js';
export { SenderQueue } from './sender-queue.js';
export type { HeldStandIn, SignalDesk } from './signalling.js';
export type { Vacate } from './vacating.js';
