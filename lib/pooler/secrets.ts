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
  #config: Pick<Config, 'databases' | 'users'> = { databases: new Map(), users: new Map() };
  #commonKind: 'plain' | 'md5' | 'scram' | undefined;
  readonly #parsed = new Map<string, StoredSecret>();
  readonly #lookedUp = new LRUCache<string, StoredSecret>({ max: usersMax });
  readonly #keys = new LRUCache<string, ScramKeys>({ max: usersMax });

  /** Replaces what came from files. */
  load(config: Config, fromFile: UserList): void {
    this.#stored = storedPasswords(config, fromFile);
    this.#config = config;
    this.#parsed.clear();
    this.#commonKind = undefined;
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

  /** Of a user who has proved it: a secret of one database says nothing about another's servers. */
  rememberLookedUp(database: string, user: string, secret: StoredSecret): void {
    this.#lookedUp.set(keyOf(database, user), secret);
  }

  rememberKeys(database: string, user: string, keys: ScramKeys): void {
    this.#keys.set(keyOf(database, user), keys);
  }

  /** What most users have stored: what an unknown one must seem to have. */
  get commonKind(): 'plain' | 'md5' | 'scram' {
    if (this.#commonKind === undefined) {
      const counts = { plain: 0, md5: 0, 'scram-sha-256': 0 };
      for (const { kind } of this.#stored.values()) counts[kind]++;
      const scram = counts['scram-sha-256'];
      const { plain, md5 } = counts;
      this.#commonKind = scram >= plain && scram >= md5 ? 'scram' : plain >= md5 ? 'plain' : 'md5';
    }
    return this.#commonKind;
  }

  /** Where `credential` finds it: names of sections and keys, nothing of what they hold. */
  credentialSource(database: DatabaseSettings, user: string): string {
    const { databases, users } = this.#config;
    // Under `*` a database has the name that the client has given.
    const section = databases.has(database.name) ? database.name : '"*"';
    if (hasPasswordFor(database, user)) return `password in section [databases.${section}] of the configuration`;
    if (users.get(user)?.password !== undefined) return `section [users.${user}] of the configuration`;
    return this.#stored.has(user) ? 'the users file, auth_file' : 'as auth_query or the client has told it';
  }

  /** How weir proves itself to a server as this user. */
  credential(database: DatabaseSettings, user: string): ServerCredential {
    if (database.password !== undefined && hasPasswordFor(database, user)) {
      const secret = parseStoredSecret(database.password.reveal());
      if (secret.kind === 'plain') return { kind: 'plain', password: secret.password };
      if (secret.kind === 'md5') return { kind: 'md5', hash: secret.hash };
    }
    const secret = this.ofFile(user) ?? this.#lookedUp.get(keyOf(database.name, user));
    switch (secret?.kind) {
      case 'plain':
        return { kind: 'plain', password: secret.password };
      case 'md5':
        return { kind: 'md5', hash: secret.hash };
      case 'scram': {
        const keys = this.#keys.get(keyOf(database.name, user));
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

function hasPasswordFor({ password, user: own }: DatabaseSettings, user: string): boolean {
  return password !== undefined && (own === undefined || own === user);
}

function keyOf(database: string, user: string): string {
  return `${database}\0${user}`;
}
