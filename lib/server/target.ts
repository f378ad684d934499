// Where servers of a pool are found and how to log in there.

import type { ScramKeyCache, ServerCredential } from '../auth/index.js';
import type { Host, PoolSettings } from '../config/index.js';
import type { ServerTls } from '../tls/index.js';

export type SessionAttrs = PoolSettings['target_session_attrs'];

export interface ServerTarget {
  /** The server's name of the database. */
  readonly dbname: string;
  readonly user: string;
  readonly hosts: readonly Host[];
  /** Start with the next host each time, instead of with the first. */
  readonly roundRobin: boolean;
  readonly sessionAttrs: SessionAttrs;
  /** Asked for at each login: it may have come with a client's. */
  readonly credential: () => ServerCredential;
  /** Where that stands, in words for who has to change it. */
  readonly credentialSource: () => string;
  readonly tls: ServerTls | undefined;
  readonly keyCache: ScramKeyCache;
  /** Startup parameters besides user and database, as latin1 strings. */
  readonly parameters: readonly (readonly [string, string])[];
  /** Run once after each login; its errors are logged and ignored. */
  readonly connectQuery: string | undefined;
  /** Whether the sessions of clients are carried from server to server. */
  readonly tracked: boolean;
  /** Milliseconds for connecting and logging in; 0 is no limit. */
  readonly connectTimeoutMs: number;
  readonly keepAlive: { readonly enabled: boolean; readonly idleSeconds: number };
}

/** One place to dial, a name already resolved. */
export type Address =
  | { readonly kind: 'tcp'; readonly name: string; readonly ip: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly port: number };

export function addressText(address: Address): string {
  return address.kind === 'tcp' ? `${address.ip}:${address.port}` : `${address.path}/.s.PGSQL.${address.port}`;
}
