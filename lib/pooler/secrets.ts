// What the process knows of users' secrets: auth_file and configuration, what auth_query found, keys clients proved.

import { LRUCache } from 'lru-cache';
import {
  parseStoredSecret,
  type ScramKeys,
  type ServerCredential,
  type StoredSecret,
  sameParameters,
} from '../auth/index.js';
import { type Config, type DatabaseSettings, storedPasswords, type UserList } from '../config/index.js';

/** Users whose keys or looked-up secrets are kept. */
const usersMax = 10_000;

export class Secrets {
  #stored: UserList = new Map();
  readonly #parsed = new Map<string, StoredSecret>();
  readonly #lookedUp = new LRUCache<string, StoredSecret>({ max: usersMax });
  readonly #keys = new LRUCache<string, ScramKeys>({ max: usersMax });

  /** Replaces what came from files. */
  load(config: Config, fromFile: UserList): void {
    this.#stored = storedPasswords(config, fromFile);
    this.#parsed.clear();
  }

  get users(): Iterable<string> {
    return this.#stored.keys();
  }

  ofFile(user: string): StoredSecret | undefined {
    const parsed = this.#parsed.get(user);
    if (parsed !== undefined) return parsed;
    const stored = this.#stored.get(user);
    if (stored === undefined) return undefined;
    const secret = parseStoredSecret(stored.secret.reveal());
    this.#parsed.set(user, secret);
    return secret;
  }

  rememberLookedUp(user: string, secret: StoredSecret): void {
    this.#lookedUp.set(user, secret);
  }

  rememberKeys(user: string, keys: ScramKeys): void {
    this.#keys.set(user, keys);
  }

  /** How weir proves itself to a server as this user. */
  credential(database: DatabaseSettings, user: string): ServerCredential {
    if (database.password !== undefined && (database.user === undefined || database.user === user)) {
      const secret = parseStoredSecret(database.password.reveal());
      if (secret.kind === 'plain') return { kind: 'plain', password: secret.password };
      if (secret.kind === 'md5') return { kind: 'md5', hash: secret.hash };
    }
    const secret = this.ofFile(user) ?? this.#lookedUp.get(user);
    switch (secret?.kind) {
      case 'plain':
        return { kind: 'plain', password: secret.password };
      case 'md5':
        return { kind: 'md5', hash: secret.hash };
      case 'scram': {
        const keys = this.#keys.get(user);
        return keys !== undefined && sameParameters(keys, secret.verifier)
          ? { kind: 'scram-keys', keys }
          : { kind: 'scram-verifier' };
      }
      case 'none':
      case undefined:
        return { kind: 'none' };
      default:
        return secret satisfies never;
    }
  }
}
