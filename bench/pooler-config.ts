// Writes the same settings as a PgBouncer configuration and as weir's: pure text, so that tests can compare the two.

import type { CertificateFiles } from './certificates.js';
import type { Endpoint } from './targets.js';

export interface PoolerSettings {
  readonly port: number;
  /** PostgreSQL, as the pooler reaches it. */
  readonly server: Endpoint;
  readonly serverConnections: number;
  readonly clientsMax: number;
  readonly certificate: CertificateFiles | undefined;
}

export interface ConfigFile {
  readonly name: string;
  readonly text: string;
}

export interface PgbouncerSettings extends PoolerSettings {
  readonly directory: string;
  /** As `pgbouncer --version` says it. */
  readonly version: string;
}

export function pgbouncerFiles(settings: PgbouncerSettings): ConfigFile[] {
  const { server, certificate } = settings;
  const lines = [
    '[databases]',
    `${server.database} = host=${server.host} port=${server.port} dbname=${server.database} user=${server.user} password=${server.password.reveal()}`,
    '',
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${settings.port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${settings.directory}/userlist.txt`,
    'pool_mode = transaction',
    `default_pool_size = ${settings.serverConnections}`,
    `max_client_conn = ${settings.clientsMax}`,
    'server_tls_sslmode = disable',
    'log_connections = 0',
    'log_disconnections = 0',
    // Off by default until 1.24, unknown before 1.21.
    ...(prepareRefusal(settings.version) === undefined ? ['max_prepared_statements = 200'] : []),
    ...(certificate === undefined
      ? []
      : [
          'client_tls_sslmode = allow',
          `client_tls_cert_file = ${certificate.certificate}`,
          `client_tls_key_file = ${certificate.key}`,
        ]),
  ];
  return [
    { name: 'pgbouncer.ini', text: `${lines.join('\n')}\n` },
    { name: 'userlist.txt', text: `"${server.user}" "${server.password.reveal()}"\n` },
  ];
}

export type TomlValue = string | number | boolean;

export interface WeirSettings extends PoolerSettings {
  readonly metricsPort: number;
  readonly more: Readonly<Record<string, TomlValue>>;
}

export function weirToml(settings: WeirSettings): string {
  const { server, certificate } = settings;
  const global = {
    listen_addr: '127.0.0.1',
    listen_port: settings.port,
    http_listen: `127.0.0.1:${settings.metricsPort}`,
    auth_type: 'trust',
    pool_mode: 'transaction',
    default_pool_size: settings.serverConnections,
    max_client_conn: settings.clientsMax,
    server_tls_sslmode: 'disable',
    log_connections: false,
    log_disconnections: false,
    ...(certificate === undefined
      ? {}
      : {
          client_tls_sslmode: 'allow',
          client_tls_cert_file: certificate.certificate,
          client_tls_key_file: certificate.key,
        }),
    ...settings.more,
  };
  const password = server.password.reveal();
  const database = { host: server.host, port: server.port, dbname: server.database, user: server.user, password };
  return [
    ...table('weir', global),
    ...table(`databases.${server.database}`, database),
    ...table(`users.${server.user}`, { password }),
  ].join('\n');
}

/** Transaction pooling carries prepared statements since PgBouncer 1.21. Undefined when this version does. */
export function prepareRefusal(version: string): string | undefined {
  const match = /(\d+)\.(\d+)/.exec(version);
  const [major, minor] = [Number(match?.[1]), Number(match?.[2])];
  if (major > 1 || (major === 1 && minor >= 21)) return undefined;
  return `${version} has no prepared statements in transaction mode; 1.21 and later have`;
}

function table(name: string, entries: Readonly<Record<string, TomlValue>>): string[] {
  // JSON's strings are TOML's basic strings for everything that is written here.
  return [`[${name}]`, ...Object.entries(entries).map(([key, value]) => `${key} = ${JSON.stringify(value)}`), ''];
}
