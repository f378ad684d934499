// Checks that need more than one setting: what each value alone cannot show to be wrong.

import { isIP } from 'node:net';
import { type Config, consoleDatabases, type DatabaseSettings, type GlobalKey, type SettingKey } from './config.js';
import { sectionName } from './decode.js';
import { nowhere, type Place, type Problem, problemAt, shown } from './problems.js';
import type { RawConfig } from './raw.js';
import { settings } from './settings.js';
import { sameValue } from './values.js';

const addresses = 'IP addresses, host names, or `*` for all addresses of this machine';

/** Four numbers and more are an address or nothing; what else has no colon and no space, a resolver may know. */
function isNoHost(name: string): boolean {
  return /[\s/:]|^\d+(\.\d+){3,}\.?$/.test(name) && isIP(name.replace(/%.*$/, '')) === 0;
}

/** Shorter ones can be guessed. */
const adminTokenBytesMin = 16;

export interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** @param raw where the values came from, for file and line; null for values set at run time */
export function checkConfig(config: Config, raw: RawConfig | null): Findings {
  const checker = new Checker(config, raw);
  checker.checkListening();
  checker.checkHttp();
  checker.checkTls();
  checker.checkAuthentication();
  checker.checkPolicy();
  checker.checkDatabases();
  for (const database of config.databases.values()) checker.checkDatabase(database);
  return checker;
}

class Checker implements Findings {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly #config: Config;
  readonly #raw: RawConfig | null;

  constructor(config: Config, raw: RawConfig | null) {
    this.#config = config;
    this.#raw = raw;
  }

  checkListening(): void {
    const { listen_addr, listen_port, unix_socket_dir, http_listen } = this.#config.weir;
    if (listen_addr.length === 0 && unix_socket_dir === '') {
      this.#problem('listen_addr', 'no client could connect: both `listen_addr` and `unix_socket_dir` are empty');
    }
    for (const address of listen_addr) {
      if (address === '*' || !isNoHost(address)) continue;
      this.#add(this.problems, ['listen_addr'], 'neither an address nor a host name', shown(address), addresses);
    }
    if (http_listen !== null && isNoHost(http_listen.host)) {
      this.#problem('http_listen', `"${http_listen.host}" is neither an address nor a host name`);
    }
    if (http_listen !== null && http_listen.port !== 0 && http_listen.port === listen_port) {
      const clash = listen_addr.includes(http_listen.host) || listen_addr.includes('*');
      if (clash) this.#problem('http_listen', 'the same address and port as `listen_addr` and `listen_port`');
    }
  }

  checkHttp(): void {
    const { http_admin_token } = this.#config.weir;
    if (http_admin_token !== null && Buffer.byteLength(http_admin_token.reveal()) < adminTokenBytesMin) {
      this.#problem('http_admin_token', `too short: at least ${adminTokenBytesMin} bytes`);
    }
  }

  checkTls(): void {
    const { weir } = this.#config;
    const shows = weir.client_tls_sslmode !== 'disable';
    if (shows || weir.client_tls_cert_file !== '' || weir.client_tls_key_file !== '') {
      const reason = shows ? `\`client_tls_sslmode\` is ${weir.client_tls_sslmode}` : 'key and certificate go together';
      if (weir.client_tls_key_file === '') this.#problem('client_tls_key_file', `missing: ${reason}`);
      if (weir.client_tls_cert_file === '') this.#problem('client_tls_cert_file', `missing: ${reason}`);
    }
    if (this.#verifiesClients() && weir.client_tls_ca_file === '') {
      this.#problem('client_tls_ca_file', `missing: \`client_tls_sslmode\` is ${weir.client_tls_sslmode}`);
    }
    if ((weir.server_tls_key_file === '') !== (weir.server_tls_cert_file === '')) {
      const missing = weir.server_tls_key_file === '' ? 'server_tls_key_file' : 'server_tls_cert_file';
      this.#problem(missing, 'missing: key and certificate go together');
    }
  }

  /** What a policy decides by has to be known of every statement and session. */
  checkPolicy(): void {
    const { policy, weir } = this.#config;
    if (policy === null) return;
    if (!weir.track_session_state) this.#problem('track_session_state', 'a policy needs it');
    if (weir.max_prepared_statements === 0) {
      this.#problem('max_prepared_statements', "a policy needs statements under names of weir's: more than 0");
    }
  }

  checkAuthentication(): void {
    const { weir, databases, users } = this.#config;
    if (weir.auth_type === 'cert' && !this.#verifiesClients()) {
      this.#problem('auth_type', '`cert` needs `client_tls_sslmode` to be verify-ca or verify-full');
    }
    const queries = !sameValue(weir.auth_query, settings.auth_query.default);
    const asks = weir.auth_user !== '' || [...databases.values()].some((database) => database.auth_user !== undefined);
    if (queries && !asks) this.#tolerated(['auth_query'], 'without effect: it needs `auth_user`');
    const stored = weir.auth_file !== '' || asks || [...users.values()].some((user) => user.password !== undefined);
    if (weir.auth_type !== 'any' && !stored) {
      this.#warn(
        ['auth_type'],
        'nobody can log in: there is neither `auth_file` nor `auth_user` nor a user with a password',
      );
    }
    this.#checkAuthDatabase(weir.auth_dbname, ['auth_dbname']);
  }

  checkDatabases(): void {
    const { dialect, databases, file } = this.#config;
    if (databases.size > 0) return;
    const entry = dialect === 'ini' ? 'NAME = ... in [databases]' : '[databases.NAME]';
    const message = `there is none: nobody can connect but to the console; add ${entry}`;
    this.warnings.push(problemAt({ file, line: null }, 'databases', message));
  }

  checkDatabase(database: DatabaseSettings): void {
    const path = (key: SettingKey) => ['databases', database.name, key] as const;
    const { weir } = this.#config;
    if (consoleDatabases.includes(database.name)) {
      this.#add(this.problems, ['databases', database.name], 'this name is reserved for the console');
    }
    const least = database.min_pool_size ?? weir.min_pool_size;
    const size = database.pool_size ?? weir.default_pool_size;
    if (least > size) {
      const message = `\`min_pool_size\` is ${least}, more than the pool size of ${size}`;
      this.#tolerated(path(database.min_pool_size === undefined ? 'pool_size' : 'min_pool_size'), message);
    }
    if (weir.auth_type === 'any' && database.user === undefined) {
      this.#add(this.problems, path('user'), 'missing: with `auth_type` any every database needs a `user`');
    }
    if (database.password !== undefined && database.user === undefined) {
      this.#tolerated(path('password'), 'without effect: it is the password of `user`, which is not set');
    }
    if (database.auth_query !== undefined && database.auth_user === undefined && weir.auth_user === '') {
      this.#tolerated(path('auth_query'), 'without effect: it needs `auth_user`');
    }
    if (database.auth_dbname !== undefined) this.#checkAuthDatabase(database.auth_dbname, path('auth_dbname'));
    this.#checkHosts(database, path('host'));
  }

  #checkHosts(database: DatabaseSettings, path: readonly string[]): void {
    const allowed = 'host names, addresses, or directories of Unix sockets; the port has its own key `port`';
    for (const host of database.hosts) {
      if (host.kind === 'unix') continue;
      // What looks like a URL is not shown: it may hold a password.
      if (/[\s/@?]/.test(host.host)) this.#add(this.problems, path, 'not a host name', null, allowed);
      else if (isNoHost(host.host)) {
        this.#add(this.problems, path, 'not a host name or address', shown(host.host), allowed);
      }
    }
  }

  #checkAuthDatabase(name: string, path: readonly string[]): void {
    if (name === '' || this.#config.databases.has(name) || this.#config.databases.has('*')) return;
    this.#tolerated(path, `there is no database "${name}" in this file`);
  }

  #verifiesClients(): boolean {
    const { client_tls_sslmode } = this.#config.weir;
    return client_tls_sslmode === 'verify-ca' || client_tls_sslmode === 'verify-full';
  }

  #problem(key: GlobalKey, message: string): void {
    this.#add(this.problems, [key], message);
  }

  #warn(path: readonly string[], message: string): void {
    this.#add(this.warnings, path, message);
  }

  /** PgBouncer starts with it, so a pgbouncer.ini may hold it; a weir.toml may not. */
  #tolerated(path: readonly string[], message: string): void {
    this.#add(this.#config.dialect === 'ini' ? this.warnings : this.problems, path, message);
  }

  #add(
    to: Problem[],
    path: readonly string[],
    message: string,
    received: string | null = null,
    allowed: string | null = null,
  ): void {
    const full = path.length === 1 ? [sectionName(this.#config), ...path] : path;
    to.push(problemAt(this.#place(path), full.join('.'), message, { received, allowed }));
  }

  /** The line of the key, or of its section when the key itself is not in the file. */
  #place(path: readonly string[]): Place {
    if (this.#raw === null) return nowhere;
    const [first, name, key] = path;
    if (path.length === 1) return (this.#raw.weir.entries.get(first!) ?? this.#raw.weir).place;
    const section = (first === 'users' ? this.#raw.users : this.#raw.databases).get(name!);
    return (section?.entries.get(key ?? '') ?? section ?? this.#raw.weir).place;
  }
}
