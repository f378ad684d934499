// One PostgreSQL connection: dialling, logging in, lending, checking, cancelling, closing. Knows nothing of pools or of who waits.

export {
  cancelServer,
  type Dialler,
  dial,
  type Lessee,
  ServerConnection,
  type ServerEnvironment,
  type ServerOwner,
  type ServerState,
} from './connection.js';
export { askOnce, type LoggedIn, ServerRefusal } from './login.js';
export { type Lookup, Resolver } from './resolver.js';
export { type Address, addressText, type ServerTarget, type SessionAttrs } from './target.js';
