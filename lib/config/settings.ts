// The one table of settings: every key weir knows, with its type, range, default and the sentence users read about it.

import {
  bool,
  endpoint,
  int,
  intOr,
  list,
  listOf,
  mode,
  oneOf,
  type Setting,
  seconds,
  secret,
  setting,
  text,
} from './schema.js';

const connectionsMax = 1_000_000;
/** As many as the cancel keys can tell apart. */
export const workersMax = 64;
const poolSizeMax = 10_000;
const secondsIntMax = 1_000_000_000;
const sslmodes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
const tlsProtocols = listOf(['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3', 'all', 'secure', 'legacy']);
const notYet = 'not supported yet';
const noKnob = 'Node.js offers no way to set this socket option; the operating system decides';

const listening = {
  listen_addr: setting(
    ['weir'],
    list,
    ['127.0.0.1'],
    'Addresses or host names to listen on for TCP, separated by commas; `*` is every address. Empty: only the Unix socket is served.',
    { change: 'restart', iniDefault: [] },
  ),
  listen_port: setting(
    ['weir'],
    int(0, 65_535),
    6432,
    'Port for TCP and for the name of the Unix socket (`.s.PGSQL.<port>`). 0 lets the operating system choose a TCP port.',
    { change: 'restart' },
  ),
  listen_backlog: setting(
    ['weir'],
    int(1, 65_535),
    4096,
    'Connections the kernel queues before weir accepts them (it may cap this itself); further ones are dropped, and try again only after a second.',
    { change: 'restart', iniDefault: 128 },
  ),
  unix_socket_dir: setting(
    ['weir'],
    text,
    '/tmp',
    'Directory of the Unix socket weir listens on, and where a database without `host` is looked for; a name starting with `@` is in the abstract namespace. Empty: no Unix socket.',
    { change: 'restart' },
  ),
  unix_socket_mode: setting(['weir'], mode, 0o777, 'Permissions of the Unix socket, in octal.', { change: 'restart' }),
  unix_socket_group: setting(
    ['weir'],
    text,
    '',
    'Group (name or number) that owns the Unix socket. Empty: the group of the process.',
    { change: 'restart' },
  ),
  http_listen: setting(
    ['weir'],
    endpoint,
    null,
    'Host and port of the HTTP server with `/metrics`, `/healthz`, `/readyz` and `/hazards`, such as `127.0.0.1:9127` or `[::1]:9127`. Empty: no HTTP server.',
    { change: 'restart', origin: 'weir' },
  ),
  http_admin_token: setting(
    ['weir'],
    secret,
    null,
    'Who sends it (`Authorization: Bearer ...`) may list, give and take temporary roles of the policy by `/grants`; at least 16 bytes, best given by an environment variable. Not set: there is no `/grants`. It travels as it is, so only over loopback or behind TLS.',
    { change: 'restart', origin: 'weir' },
  ),
};

const clients = {
  max_client_conn: setting(
    ['weir'],
    int(1, connectionsMax),
    100,
    'Client connections of the whole process; the next one is refused with `no more connections allowed (max_client_conn)`. The console is exempt. The limit of open files must allow this many plus all server connections.',
  ),
  max_db_client_connections: setting(
    ['weir', 'database'],
    int(0, connectionsMax),
    0,
    'Client connections per database; the next one is refused. 0: no limit (in a database: the global value).',
  ),
  max_user_client_connections: setting(
    ['weir', 'user'],
    int(0, connectionsMax),
    0,
    'Client connections per user over all databases; the next one is refused. 0: no limit (in a user: the global value).',
  ),
  max_pending_logins: setting(
    ['weir'],
    int(1, connectionsMax),
    1000,
    'Clients that may be connected without having logged in yet; beyond it a new connection is closed at once, so that unfinished logins cannot use up the process.',
    { origin: 'weir' },
  ),
  client_login_timeout: setting(
    ['weir'],
    seconds,
    60,
    'Seconds a client has from connecting to being logged in; then it is disconnected with `client_login_timeout`. 0: no limit.',
  ),
  client_idle_timeout: setting(
    ['weir', 'user'],
    seconds,
    0,
    'A client that sends nothing for this many seconds, outside a transaction, is disconnected with `client_idle_timeout`. 0: never.',
  ),
  ignore_startup_parameters: setting(
    ['weir'],
    list,
    [],
    'Startup parameters that are dropped. Weir needs it less than PgBouncer: any setting a client begins with is kept for it and restored on whichever server it gets. `options` drops the whole `options` parameter.',
  ),
  track_extra_parameters: setting(
    ['weir'],
    list,
    ['IntervalStyle'],
    "Accepted for PgBouncer's sake: weir keeps every setting that PostgreSQL reports, and every one given at startup, per client anyway.",
    { change: 'restart' },
  ),
  application_name_add_host: setting(
    ['weir'],
    bool,
    false,
    "Appends the client's address and port to its `application_name` at login.",
  ),
  disable_pqexec: setting(
    ['weir'],
    bool,
    false,
    'Refuses the simple query protocol, which may carry several statements in one message, with `PQexec disallowed`.',
    { change: 'restart' },
  ),
  max_packet_size: setting(
    ['weir'],
    int(1024, 2_147_483_647, 'bytes'),
    2_147_483_647,
    'Largest protocol message (one statement, one row) passed on after login; a larger one ends the connection. Messages are streamed, so this is no memory limit.',
  ),
  login_notify_message: setting(['weir'], text, '', 'Text sent to each client as a NOTICE after login. Empty: none.'),
};

const pools = {
  pool_mode: setting(
    ['weir', 'database', 'user'],
    oneOf(['session', 'transaction', 'statement']),
    'transaction',
    'When a server goes back to the pool: at the end of the client session, of the transaction, or of each statement (then transactions of several statements are refused). A user overrides its database, a database the global value.',
    { iniDefault: 'session' },
  ),
  default_pool_size: setting(
    ['weir'],
    int(1, poolSizeMax),
    20,
    'Server connections per pool, that is per database and user; further clients wait. `pool_size` of a user or database overrides it.',
  ),
  pool_size: setting(
    ['database', 'user'],
    int(1, poolSizeMax),
    20,
    'Server connections per pool of this database or user; a user overrides its database. Not set: `default_pool_size`.',
  ),
  min_pool_size: setting(
    ['weir', 'database'],
    int(0, poolSizeMax),
    0,
    'Servers kept connected per pool, even idle, once a client has used the pool (at once where the database has `user`). May not exceed the pool size.',
  ),
  reserve_pool_size: setting(
    ['weir', 'database', 'user'],
    int(0, poolSizeMax),
    0,
    'Further servers a pool may open when a client has waited `reserve_pool_timeout`. 0: none.',
  ),
  reserve_pool_timeout: setting(
    ['weir'],
    seconds,
    5,
    'Seconds a client waits before the reserve of its pool is used. 0: the reserve is not used.',
  ),
  max_db_connections: setting(
    ['weir', 'database'],
    int(0, connectionsMax),
    0,
    'Server connections per database over all its pools; pools then wait, and idle servers of other pools of the database give way. 0: no limit (in a database: the global value).',
  ),
  max_user_connections: setting(
    ['weir', 'user'],
    int(0, connectionsMax),
    0,
    'Server connections per user over all databases. 0: no limit (in a user: the global value).',
  ),
  server_round_robin: setting(
    ['weir'],
    bool,
    false,
    'Takes the server that has been idle longest instead of the one used last, so that load spreads over several hosts.',
  ),
  query_wait_refusal: setting(
    ['weir'],
    bool,
    true,
    'Refuses at once, with `query_wait_timeout`, whoever would wait longer than that by how fast clients have been served in the last seconds; false: lets it wait. Nobody is refused while fewer than some ten clients a second are served.',
    { origin: 'weir' },
  ),
  weight: setting(
    ['user'],
    int(1, 1_000),
    1,
    'Where clients of several users wait for servers of one pool (a database with a `user` of its own), how many of this user are served for one of a user of weight 1.',
    { origin: 'weir' },
  ),
  query_wait_timeout: setting(
    ['weir', 'database', 'user'],
    seconds,
    120,
    'Seconds a client waits for a server; then it is disconnected with `query_wait_timeout`. 0: no limit. A user overrides its database; -1 in either is the same as not set.',
    { unsetValue: -1 },
  ),
  query_wait_notify: setting(
    ['weir'],
    seconds,
    5,
    'Seconds after which a waiting client is sent a NOTICE that it is queued. 0: never.',
  ),
  pool_idle_timeout: setting(
    ['weir'],
    seconds,
    0,
    'A pool without clients and servers for this many seconds is forgotten, with its counters. 0: never.',
  ),
  autodb_idle_timeout: setting(
    ['weir'],
    seconds,
    3600,
    'A database that came from `*` and was not used for this many seconds is forgotten, with its counters. 0: never.',
  ),
};

const servers = {
  server_lifetime: setting(
    ['weir', 'database'],
    seconds,
    3600,
    'A server connected for longer is closed when next idle. 0: each server is used once (in a database: the global value).',
  ),
  server_idle_timeout: setting(['weir'], seconds, 600, 'A server idle for longer is closed. 0: never.'),
  server_connect_timeout: setting(
    ['weir'],
    seconds,
    15,
    'Seconds in which connecting and logging in to a server must succeed. 0: no limit.',
  ),
  server_login_retry: setting(
    ['weir'],
    seconds,
    15,
    'Seconds between attempts after a server could not be reached or refused the login; meanwhile clients of the pool are told the error.',
  ),
  server_check_delay: setting(
    ['weir'],
    seconds,
    30,
    'A server idle for longer is checked with `server_check_query` before it is lent. 0: it is always checked.',
  ),
  server_check_query: setting(
    ['weir'],
    text,
    '<empty>',
    'Statement that shows a server is alive. `<empty>` sends an empty query; an empty value turns the check off.',
  ),
  server_reset_query: setting(
    ['weir'],
    text,
    'DISCARD ALL',
    'Statement run on a server between two clients in session mode. Empty: none, and what one client leaves behind the next one finds.',
  ),
  server_reset_query_always: setting(
    ['weir'],
    bool,
    false,
    'Runs `server_reset_query` after every lease, in transaction and statement mode too.',
  ),
  server_fast_close: setting(
    ['weir'],
    bool,
    false,
    'In session mode a server that is to be closed (RECONNECT, changed settings) is closed after the current transaction, with its client, instead of at the end of the session.',
  ),
  dns_max_ttl: setting(
    ['weir'],
    seconds,
    15,
    'Seconds an address found for a host name is used before it is looked up again; idle servers at an address that is gone are closed.',
  ),
};

const timeouts = {
  query_timeout: setting(
    ['weir', 'user'],
    seconds,
    0,
    'A statement that runs longer is ended with its server connection, and the client gets `query_timeout`. 0: no limit (in a user: the global value). Prefer `statement_timeout` in PostgreSQL and set this slightly higher.',
  ),
  transaction_timeout: setting(
    ['weir', 'user'],
    seconds,
    0,
    'A transaction open for longer is ended with its connections. 0: no limit (in a user: the global value).',
  ),
  idle_transaction_timeout: setting(
    ['weir', 'user'],
    seconds,
    0,
    'A client that stays idle inside a transaction for longer is disconnected. 0: no limit (in a user: the global value).',
  ),
  cancel_wait_timeout: setting(
    ['weir'],
    seconds,
    10,
    'Seconds a cancel request may wait for a connection to its server; then it is dropped. 0: no limit.',
  ),
};

const authentication = {
  auth_type: setting(
    ['weir'],
    oneOf(['any', 'trust', 'plain', 'md5', 'scram-sha-256', 'cert'], {
      hba: `${notYet}: choose one method for all clients`,
      ldap: notYet,
      pam: notYet,
    }),
    'scram-sha-256',
    'How clients prove who they are. `md5` uses SCRAM for users whose stored password is a SCRAM secret; `cert` takes the user name from the client certificate; `trust` asks for nothing but the user must exist; `any` ignores the user name and needs `user` in every database.',
    { iniDefault: 'md5' },
  ),
  auth_file: setting(
    ['weir'],
    text,
    '',
    'File with one `"user" "password"` pair a line; the password in plain text, as md5 or as a SCRAM secret. Relative to the working directory.',
  ),
  auth_user: setting(
    ['weir', 'database'],
    text,
    '',
    'User as whom `auth_query` is run to find the password of users that are not in `auth_file`. Empty: no query is made.',
  ),
  auth_query: setting(
    ['weir', 'database'],
    text,
    'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin',
    'Statement that finds the stored password of user `$1`: one row of user name and password, or none.',
  ),
  auth_dbname: setting(
    ['weir', 'database'],
    text,
    '',
    'Database of this file in which `auth_query` runs. Empty: the one the client asked for.',
  ),
  scram_iterations: setting(
    ['weir'],
    int(1, 10_000_000),
    4096,
    'Iterations of the SCRAM secret made from a password that is stored in plain text; more make each login slower.',
  ),
  auth_failure_delay: setting(
    ['weir'],
    { ...seconds, max: 60 },
    0.5,
    'Seconds a failed login is answered late, which slows down guessing. Clients with a connect timeout below it never learn why they failed. 0: at once.',
    { origin: 'weir' },
  ),
  max_login_failures: setting(
    ['weir'],
    int(0, 1_000_000),
    20,
    'Failed logins from one address within `login_failure_window`; beyond it further logins from there are refused without looking at the password. 0: no limit.',
    { origin: 'weir' },
  ),
  login_failure_window: setting(
    ['weir'],
    { ...seconds, min: 1, max: 86_400 },
    60,
    'Seconds over which `max_login_failures` counts.',
    { origin: 'weir' },
  ),
  admin_users: setting(
    ['weir'],
    list,
    [],
    'Users who may log in to the console (database `pgbouncer` or `weir`) and run every command.',
  ),
  stats_users: setting(['weir'], list, [], 'Users who may log in to the console and run SHOW commands.'),
};

const tls = {
  client_tls_sslmode: setting(
    ['weir'],
    oneOf(sslmodes),
    'disable',
    'TLS with clients: `disable` refuses it, `allow` and `prefer` let the client choose, `require` insists on it, `verify-ca` and `verify-full` also insist on a client certificate signed by `client_tls_ca_file`.',
  ),
  client_tls_key_file: setting(
    ['weir'],
    text,
    '',
    'Private key (PEM) shown to clients; needed unless TLS is disabled.',
  ),
  client_tls_cert_file: setting(
    ['weir'],
    text,
    '',
    'Certificate chain (PEM) of the key; needed unless TLS is disabled. Read again at RELOAD even if its name did not change.',
  ),
  client_tls_ca_file: setting(['weir'], text, '', 'Certificates (PEM) that client certificates must be signed by.'),
  client_tls_protocols: setting(
    ['weir'],
    tlsProtocols,
    ['secure'],
    'TLS versions offered to clients; `secure` is 1.2 and 1.3, `all` and `legacy` every version.',
  ),
  client_tls_ciphers: setting(
    ['weir'],
    text,
    'default',
    'Ciphers up to TLS 1.2 in OpenSSL syntax; `default`, `secure`, `fast` and `normal` are the defaults of Node.js, `all` every cipher.',
  ),
  client_tls13_ciphers: setting(
    ['weir'],
    text,
    '',
    'Cipher suites of TLS 1.3, separated by colons. Empty: the defaults.',
  ),
  client_tls_ecdhcurve: setting(['weir'], text, 'auto', 'Curve for the key exchange: `auto`, `none` or a name.'),
  client_tls_dheparams: setting(
    ['weir'],
    text,
    'auto',
    'Parameters of a DHE key exchange: `auto`, `none` or `legacy`.',
  ),
  server_tls_sslmode: setting(
    ['weir'],
    oneOf(sslmodes),
    'prefer',
    'TLS with PostgreSQL over TCP: `disable`; `allow` tries without first; `prefer` tries with it first; `require` insists; `verify-ca` also checks who signed the certificate; `verify-full` also its host name.',
  ),
  server_tls_ca_file: setting(
    ['weir'],
    text,
    '',
    'Certificates (PEM) that the certificate of a server must be signed by. Empty: the roots that come with Node.js.',
  ),
  server_tls_key_file: setting(
    ['weir'],
    text,
    '',
    'Private key (PEM) with which weir identifies itself to PostgreSQL.',
  ),
  server_tls_cert_file: setting(['weir'], text, '', 'Certificate (PEM) of that key.'),
  server_tls_protocols: setting(['weir'], tlsProtocols, ['secure'], 'TLS versions accepted from servers.'),
  server_tls_ciphers: setting(['weir'], text, 'default', 'As `client_tls_ciphers`, towards servers.'),
  server_tls13_ciphers: setting(['weir'], text, '', 'As `client_tls13_ciphers`, towards servers.'),
};

const statements = {
  max_prepared_statements: setting(
    ['weir'],
    int(0, 100_000),
    200,
    'Prepared statements kept on one server; beyond it the one unused longest is closed there and prepared again when needed. 0: named statements are passed on as they are, which is safe in session mode only.',
  ),
  max_client_statements: setting(
    ['weir'],
    int(1, 1_000_000),
    10_000,
    'Prepared statements one client may hold; a further one is refused with an error.',
    { origin: 'weir' },
  ),
  statement_memory_limit: setting(
    ['weir'],
    int(1024, 1_073_741_824, 'bytes'),
    1_048_576,
    'Largest prepared statement weir keeps in order to prepare it on other servers; a larger one is refused with an error.',
    { origin: 'weir' },
  ),
  notification_queue_limit: setting(
    ['weir'],
    int(1024, 1_073_741_824, 'bytes'),
    16_777_216,
    'Bytes of notifications kept for one client that listens and is in a transaction, runs a statement or does not read: each counts with 128 bytes more than it has on the wire. A client for which more come is cut off with SQLSTATE 53400.',
    { origin: 'weir' },
  ),
  notification_memory_limit: setting(
    ['weir'],
    int(1024, 1_000_000_000_000, 'bytes'),
    268_435_456,
    'The same for all clients of one process together, where a notification that several are to be told of counts once, and 16 bytes for each further client. Beyond it the client for which most is kept is cut off.',
    { origin: 'weir' },
  ),
  inspect_limit: setting(
    ['weir'],
    int(0, 16_777_216, 'bytes'),
    65_536,
    'Statements longer than this are not parsed: they count as unknown, and the whole session is looked at after them.',
    { origin: 'weir' },
  ),
};

const hazardValues = oneOf(['auto', 'pin', 'refuse']);

function onHazard(what: string, auto: string): Setting<typeof hazardValues, 'weir'> {
  return setting(
    ['weir'],
    hazardValues,
    'auto',
    `${what}: \`auto\` ${auto}, \`pin\` keeps the server with the client, \`refuse\` answers with an error.`,
    {
      origin: 'weir',
    },
  );
}

const transactions = {
  defer_begin: setting(
    ['weir'],
    bool,
    true,
    'Whether weir answers BEGIN itself and sends it along with the statement behind it: one round trip less, and no server is held while the client thinks. The transaction, and `now()`, then begin with that statement.',
    { origin: 'weir' },
  ),
} as const;

const readLanes = {
  lanes: setting(
    ['weir', 'database', 'user'],
    oneOf(['auto', 'off']),
    'auto',
    'Whether short reads of many clients share servers (lanes) in transaction and statement pooling: `auto` for statements that have proven to be short and to write nothing. A user overrides its database.',
    { origin: 'weir' },
  ),
  lane_depth: setting(['weir'], int(1, 1_000), 32, 'Reads a lane may have been sent and not answered.', {
    origin: 'weir',
  }),
  lane_busy_us: setting(
    ['weir'],
    int(0, 1_000_000, 'microseconds'),
    500,
    'Work waiting on a lane, by what its reads usually take, at which the next read goes to another lane or server if there is one. Less spreads reads over more servers, more leaves more of them to others and costs less processor time.',
    { origin: 'weir' },
  ),
  lane_stall_ms: setting(
    ['weir'],
    int(1, 60_000, 'milliseconds'),
    20,
    'A read that takes longer keeps its lane for itself: those behind it are sent again elsewhere. A statement that often does so is not sent on lanes.',
    { origin: 'weir' },
  ),
  lane_views: setting(
    ['weir'],
    bool,
    false,
    'Whether statements that read views, foreign tables, or tables with row security or rules may be sent on lanes: these may run functions that no statement names. What such a function changes of the session, other clients may meet; what it does outside of the transaction (NOTIFY, dblink) may be done twice.',
    { origin: 'weir' },
  ),
  lane_reply_limit: setting(
    ['weir'],
    int(0, 1_000_000_000, 'bytes'),
    16_384,
    'Bytes of an answer; a statement whose answers are often longer is not sent on lanes.',
    { origin: 'weir' },
  ),
} as const;

const sessionState = {
  track_session_state: setting(
    ['weir'],
    bool,
    true,
    'Whether transaction mode keeps what clients leave in their sessions apart. `false` is for comparison only: what one client sets or leaves behind, the next one meets.',
    { origin: 'weir' },
  ),
  read_catalog: setting(
    ['weir'],
    bool,
    true,
    'Whether a new server is asked, once a minute for each pool, which functions have names that PostgreSQL uses itself, and which relations are views: so that none is taken for harmless.',
    { origin: 'weir' },
  ),
  trusted_functions: setting(
    ['weir'],
    list,
    [],
    'Functions of your own, or of extensions, that change nothing of the session, as statements name them: `st_distance, app.tally`. After any other function weir does not know, the server is looked at.',
    { origin: 'weir', change: 'restart' },
  ),
  pin_timeout: setting(
    ['weir'],
    seconds,
    0,
    'A client that keeps a server because of what it has left there, and says nothing for this long between two transactions, is ended with an error that names the reason. 0: never.',
    { origin: 'weir' },
  ),
  leak_probe_every: setting(
    ['weir'],
    int(0, 1_000_000_000, 'leases'),
    0,
    'After every so many leases the real state of the server is compared with what weir believes; differences are counted by cause and put right. 0: never.',
    { origin: 'weir' },
  ),
  'on_hazard.setting': onHazard(
    'A setting changed for the session',
    'carries it to whichever server the client has next',
  ),
  'on_hazard.role': onHazard('SET ROLE and SET SESSION AUTHORIZATION', 'carries it likewise'),
  'on_hazard.statement': onHazard('PREPARE, EXECUTE and DEALLOCATE', 'carries the statements likewise'),
  'on_hazard.listen': onHazard('LISTEN and UNLISTEN', 'lets one server listen for all clients of a pool'),
  'on_hazard.cursor': onHazard('A cursor WITH HOLD', 'keeps the server until it is closed'),
  'on_hazard.temp': onHazard(
    'A temporary object that outlives its transaction',
    'keeps the server until it is dropped',
  ),
  'on_hazard.advisory_lock': onHazard('An advisory lock of the session', 'keeps the server until all are unlocked'),
  'on_hazard.sequence': onHazard(
    'currval and lastval',
    'keeps the server from nextval or INSERT on for clients of an application that has asked once',
  ),
  'on_hazard.load': onHazard(
    'LOAD, setseed, dblink and others that nothing undoes',
    'keeps the server until the client leaves and closes it then',
  ),
  'on_hazard.unknown': onHazard(
    'A statement whose effects are not known, such as DO, CALL, or a function of your own',
    'looks at the session behind it',
  ),
};

const logging = {
  logfile: setting(
    ['weir'],
    text,
    '',
    'File the log is appended to; opened again at RELOAD. Empty: standard output only. Relative to the working directory.',
  ),
  log_level: setting(
    ['weir'],
    oneOf(['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace']),
    'info',
    'Least important kind of line that is logged.',
    { origin: 'weir' },
  ),
  log_format: setting(
    ['weir'],
    oneOf(['auto', 'json', 'pretty']),
    'auto',
    'Form of a log line: `json`, `pretty` for people, `auto` is pretty on a terminal and JSON elsewhere.',
    { change: 'restart', origin: 'weir' },
  ),
  verbose: setting(
    ['weir'],
    int(0, 3),
    0,
    'Raises `log_level`: 1 to debug, 2 and 3 to trace, like `-v` on the command line.',
  ),
  log_connections: setting(['weir'], bool, true, 'Logs each successful login.'),
  log_disconnections: setting(['weir'], bool, true, 'Logs each close with its reason.'),
  log_pooler_errors: setting(['weir'], bool, true, 'Logs each error weir itself sends to a client.'),
  log_stats: setting(['weir'], bool, true, 'Logs one line of totals every `stats_period`.'),
  stats_period: setting(
    ['weir'],
    int(1, secondsIntMax, 'seconds'),
    60,
    'Seconds over which the averages of SHOW STATS are taken and after which totals are logged.',
  ),
};

const gate = {
  policy_file: setting(
    ['weir'],
    text,
    '',
    'TOML file with the `[policy]` that says who may run which statement; see below. Relative to the working directory, and read again at RELOAD. Empty: the `[policy]` of the weir.toml itself, and without one no policy.',
    { origin: 'weir' },
  ),
  policy_grant_max: setting(
    ['weir'],
    { ...seconds, min: 1 },
    7 * 86_400,
    'Longest time, in seconds, for which GRANT ACCESS or `POST /grants` may give a user a role of the policy.',
    { origin: 'weir' },
  ),
};

const processSettings = {
  workers: setting(
    ['weir'],
    intOr('auto', workersMax),
    1,
    'Processes that serve clients, each on a core of its own; `auto` is one for each core the process may use. All limits hold over all of them together: servers go where clients wait. With more than one, a process that serves nobody starts them, replaces one that dies, and answers HTTP and the console for all.',
    { change: 'restart', origin: 'weir' },
  ),
  pidfile: setting(
    ['weir'],
    text,
    '',
    'File the process id is written to. Empty: none. Relative to the working directory.',
    { change: 'restart' },
  ),
  tcp_keepalive: setting(['weir'], bool, true, 'Turns on TCP keepalive on client and server connections.'),
  tcp_keepidle: setting(
    ['weir'],
    int(0, 32_767, 'seconds'),
    0,
    'Seconds a connection is silent before the first keepalive probe. 0: what the operating system has.',
  ),
};

const audit = {
  audit_dir: setting(
    ['weir'],
    text,
    '',
    'Directory of the audit trail: JSON lines, one record a statement, in files that are only ever added to. It is made if it is not there, and belongs to one weir. Empty: there is no trail.',
    { change: 'restart', origin: 'weir' },
  ),
  audit_key_file: setting(
    ['weir'],
    text,
    '',
    'File with the key that seals are made with (HMAC-SHA-256): 32 bytes or more, such as `openssl rand -hex 32` makes, readable by weir alone. Without it seals are plain hashes, which whoever can write in `audit_dir` can make anew.',
    { change: 'restart', origin: 'weir' },
  ),
  audit_statements: setting(
    ['weir'],
    listOf(['all', 'writes', 'ddl', 'denied']),
    ['all'],
    'Which statements are recorded: `all`, those that do more than read (`writes`), those that define something (`ddl`), those a rule has something to say of (`denied`). What weir cannot read counts as all of these. Logins and their ends are recorded too. Empty: nothing is.',
    { origin: 'weir' },
  ),
  audit_rules: setting(
    ['weir'],
    list,
    [],
    'Rules of the policy, by name, whose statements are recorded beside those of `audit_statements`: an allowing rule for what is to be accounted for.',
    { origin: 'weir' },
  ),
  audit_mode: setting(
    ['weir'],
    oneOf(['after', 'before']),
    'after',
    '`after`: a statement is recorded when it has been answered. `before`: it is not sent to PostgreSQL before a record of its beginning is on disk, and its end is a record of its own.',
    { origin: 'weir' },
  ),
  audit_on_full: setting(
    ['weir'],
    oneOf(['block', 'refuse', 'drop']),
    'block',
    'What becomes of statements while the disk takes no records or `audit_queue_bytes` are waiting: they wait (`block`), get an error with SQLSTATE 53100 (`refuse`), or run without a record (`drop`), which is counted.',
    { origin: 'weir' },
  ),
  audit_sql: setting(
    ['weir'],
    oneOf(['full', 'normalised', 'hash']),
    'full',
    'How statements are written down: as the client sent them, without their literals, or as the SHA-256 of their text.',
    { origin: 'weir' },
  ),
  audit_parameters: setting(
    ['weir'],
    oneOf(['none', 'redacted', 'full']),
    'none',
    'What is written down of the parameters of prepared statements: nothing, the length of each in bytes (`redacted`), or their values.',
    { origin: 'weir' },
  ),
  audit_user_tag: setting(
    ['weir'],
    text,
    'user',
    'Name of the tag, in the comment a statement ends with (sqlcommenter), that says for whom it is run. Without the tag that is the `application_name`.',
    { origin: 'weir' },
  ),
  audit_segment_bytes: setting(
    ['weir'],
    int(64 * 1024, 2_147_483_647, 'bytes'),
    256 * 1024 * 1024,
    'Bytes after which another file is begun.',
    { origin: 'weir' },
  ),
  audit_segment_age: setting(
    ['weir'],
    seconds,
    86_400,
    'Seconds after which another file is begun where this one has records. 0: never.',
    { origin: 'weir' },
  ),
  audit_keep_segments: setting(
    ['weir'],
    int(0, 1_000_000),
    0,
    'Files kept of each process; the oldest are removed. 0: all.',
    { origin: 'weir' },
  ),
  audit_keep_days: setting(
    ['weir'],
    int(0, 100_000, 'days'),
    0,
    'Days a file is kept after it was last written. 0: for ever.',
    { origin: 'weir' },
  ),
  audit_flush_interval: setting(
    ['weir'],
    { ...seconds, min: 0.001, max: 60 },
    0.1,
    'Seconds after which records are on disk at the latest, with `audit_mode = after`: what was not is lost with the process.',
    { origin: 'weir' },
  ),
  audit_queue_bytes: setting(
    ['weir'],
    int(64 * 1024, 1_073_741_824, 'bytes'),
    16 * 1024 * 1024,
    'Bytes of records of one process that may wait for the disk; see `audit_on_full`.',
    { origin: 'weir' },
  ),
};

const databaseKeys = {
  dbname: setting(
    ['database'],
    text,
    '',
    'Name of the database in PostgreSQL. Not set: the name of this entry, or with `*` the name the client asked for.',
  ),
  host: setting(
    ['database'],
    { ...list, itemsMax: 64 },
    [],
    'Host names or addresses separated by commas, used in turn; a name starting with `/` is the directory of a Unix socket, with `@` an abstract one. Not set: the Unix socket in `unix_socket_dir`.',
  ),
  port: setting(['database'], int(1, 65_535), 5432, 'Port of every host.'),
  user: setting(
    ['weir', 'database'],
    text,
    '',
    'In a database: user all its clients share towards PostgreSQL, so that it has one pool; not set: the user who logged in. Global: operating system user the process changes to once it listens, when started as root.',
    { change: 'restart' },
  ),
  password: setting(
    ['database', 'user'],
    secret,
    null,
    'In a database: password of its `user`; not set: the one in `auth_file`. In a user (weir only): the password of that user, in plain text, as md5 or as a SCRAM secret; it takes precedence over `auth_file`.',
  ),
  load_balance_hosts: setting(
    ['database'],
    oneOf(['round-robin', 'disable']),
    'round-robin',
    'Which host a new server connection goes to: the next in the list, or the same until it fails.',
  ),
  target_session_attrs: setting(
    ['database'],
    oneOf(['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby']),
    'any',
    'What a server must be to be used, as in libpq; checked when it is connected, from what PostgreSQL 14 or later reports. `prefer-standby` takes any server when no standby answers.',
    { origin: 'weir' },
  ),
  connect_query: setting(
    ['database'],
    text,
    '',
    'Statement run on each new server connection before any client gets it. The settings and the role it leaves are what sessions begin with and what RESET and DISCARD ALL go back to. It runs once more on the first connection, which is then made anew with them, and behind a reset of everything. An error, or a transaction left open, is logged and ignored.',
  ),
  client_encoding: setting(['database'], text, '', 'Value of `client_encoding` asked of the server at connect.'),
  datestyle: setting(['database'], text, '', 'Value of `DateStyle` asked of the server at connect.'),
  timezone: setting(['database'], text, '', 'Value of `TimeZone` asked of the server at connect.'),
  application_name: setting(['database'], text, '', 'Value of `application_name` asked of the server at connect.'),
};

const withoutEffect = {
  auth_hba_file: setting(['weir'], text, '', '', {
    noEffect: 'only auth_type `hba` reads it, which is not supported yet',
  }),
  auth_ident_file: setting(['weir'], text, '', '', {
    noEffect: 'only auth_type `hba` reads it, which is not supported yet',
  }),
  auth_ldap_options: setting(['weir'], text, '', '', {
    noEffect: 'only auth_type `ldap` reads it, which is not supported yet',
  }),
  conffile: setting(['weir'], text, '', '', {
    noEffect: 'weir reads again the file it was started with; SHOW CONFIG names it',
  }),
  dns_nxdomain_ttl: setting(['weir'], seconds, 15, '', {
    noEffect: 'a failed look-up is repeated after `server_login_retry`',
  }),
  dns_zone_check_period: setting(['weir'], seconds, 0, '', { noEffect: 'zones are not watched; see `dns_max_ttl`' }),
  job_name: setting(['weir'], text, 'pgbouncer', '', { change: 'restart', noEffect: 'of use on Windows only' }),
  peer_id: setting(['weir'], int(0, 16_383), 0, '', { noEffect: 'peering is not supported yet' }),
  pkt_buf: setting(['weir'], int(1, 2_147_483_647, 'bytes'), 4096, '', {
    change: 'restart',
    noEffect: 'buffers are sized by the Node.js streams',
  }),
  resolv_conf: setting(['weir'], text, '', '', {
    change: 'restart',
    noEffect: 'names are looked up by the operating system',
  }),
  sbuf_loopcnt: setting(['weir'], int(0, 2_147_483_647), 5, '', { noEffect: 'each socket gives way after every read' }),
  service_name: setting(['weir'], text, 'pgbouncer', '', { change: 'restart', noEffect: 'of use on Windows only' }),
  so_reuseport: setting(['weir'], bool, false, '', {
    change: 'restart',
    noEffect: 'weir does not share its port with other programs',
  }),
  suspend_timeout: setting(['weir'], seconds, 10, '', { noEffect: 'there is no online take-over by a second process' }),
  syslog: setting(['weir'], bool, false, '', { noEffect: 'weir logs to standard output or `logfile`' }),
  syslog_facility: setting(['weir'], text, 'daemon', '', { noEffect: 'weir logs to standard output or `logfile`' }),
  syslog_ident: setting(['weir'], text, 'pgbouncer', '', { noEffect: 'weir logs to standard output or `logfile`' }),
  tcp_defer_accept: setting(['weir'], bool, true, '', { noEffect: noKnob }),
  tcp_keepcnt: setting(['weir'], int(0, 127), 0, '', { noEffect: 'Node.js fixes the number of keepalive probes' }),
  tcp_keepintvl: setting(['weir'], int(0, 32_767, 'seconds'), 0, '', {
    noEffect: 'Node.js fixes the time between keepalive probes',
  }),
  tcp_socket_buffer: setting(['weir'], int(0, 2_147_483_647, 'bytes'), 0, '', { noEffect: noKnob }),
  tcp_user_timeout: setting(['weir'], int(0, 2_147_483_647, 'milliseconds'), 0, '', { noEffect: noKnob }),
};

/** Groups in the order of the reference. */
export const groups = {
  Listening: listening,
  Clients: clients,
  'Pools and waiting': pools,
  Servers: servers,
  'Time limits on statements and transactions': timeouts,
  Authentication: authentication,
  TLS: tls,
  'Prepared statements and parsing': statements,
  Transactions: transactions,
  'Read lanes': readLanes,
  'What outlives a transaction': sessionState,
  'The gate': gate,
  Logging: logging,
  'Audit trail': audit,
  'Process and sockets': processSettings,
  'Where a database is': databaseKeys,
  'Accepted without effect': withoutEffect,
} satisfies Record<string, Record<string, Setting>>;

/** Every setting by its key. */
export const settings = {
  ...listening,
  ...clients,
  ...pools,
  ...servers,
  ...timeouts,
  ...authentication,
  ...tls,
  ...statements,
  ...transactions,
  ...readLanes,
  ...sessionState,
  ...gate,
  ...logging,
  ...audit,
  ...processSettings,
  ...databaseKeys,
  ...withoutEffect,
};
