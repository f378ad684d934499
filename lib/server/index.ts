// One PostgreSQL connection: dialling, logging in, lending, checking, cancelling, closing. Knows nothing of pools or of who waits.

export { ask, askOnce, ServerRefusal } from './ask.js';
export { BaseMemory, type ServerBase } from './base.js';
export {
  cancelServer,
  type Dialled,
  type Dialler,
  dial,
  type Lessee,
  ServerConnection,
  type ServerEnvironment,
  type ServerOwner,
  type ServerState,
} from './connection.js';
export type { LoggedIn } from './login.js';
export { type Lookup, Resolver } from './resolver.js';
export { type Signal, StandIn } from './stand-in.js';
export { type Address, addressText, type ServerTarget, type SessionAttrs } from './target.js';
