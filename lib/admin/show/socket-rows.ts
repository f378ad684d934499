// Clients and servers as rows of SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS.

import { ClientConnection } from '../../client/index.js';
import type { Pool } from '../../pool/index.js';
import { idleWord, type Pooler } from '../../pooler/index.js';
import type { ServerConnection } from '../../server/index.js';
import type { Row } from '../command.js';
import { consoleDatabase } from '../databases.js';

export const columns = {
  type: 'text',
  user: 'text',
  database: 'text',
  replication: 'text',
  state: 'text',
  addr: 'text',
  port: 'int4',
  local_addr: 'text',
  local_port: 'int4',
  connect_time: 'text',
  request_time: 'text',
  wait: 'int4',
  wait_us: 'int4',
  close_needed: 'int4',
  ptr: 'text',
  link: 'text',
  remote_pid: 'int4',
  tls: 'text',
  application_name: 'text',
  prepared_statements: 'int4',
  id: 'int4',
} as const;

/** Of SHOW SOCKETS, behind the others. */
export const bufferColumns = {
  recv_pos: 'int4',
  pkt_pos: 'int4',
  pkt_remain: 'int4',
  send_pos: 'int4',
  send_remain: 'int4',
  pkt_avail: 'int4',
  send_avail: 'int4',
} as const;

export type SocketRow = Row<typeof columns>;

export interface ClientRow {
  readonly client: ClientConnection;
  readonly row: SocketRow;
  /** Its state as SHOW SOCKETS names it. */
  readonly socketState: 'cl_active' | 'cl_waiting' | 'cl_login';
}

export interface ServerRow {
  readonly server: ServerConnection;
  readonly row: SocketRow;
  readonly socketState: 'sv_active' | 'sv_idle' | 'sv_used' | 'sv_tested' | 'sv_being_canceled';
}

/** Every client, also those that are not logged in yet. */
export function* clientRows(pooler: Pooler): Iterable<ClientRow> {
  const now = pooler.clock.now();
  for (const client of pooler.clients) {
    const shown = clientState(client, now);
    if (shown === undefined) continue;
    const { socketState, ...state } = shown;
    yield { client, socketState, row: { ...clientEnds(client), ...state } };
  }
}

type StateColumns = Pick<
  SocketRow,
  'user' | 'database' | 'state' | 'wait' | 'wait_us' | 'link' | 'application_name' | 'prepared_statements'
>;

/** The columns that depend on what the client is doing; undefined for one that is gone. */
function clientState(
  client: ClientConnection,
  now: number,
): (StateColumns & Pick<ClientRow, 'socketState'>) | undefined {
  const { state } = client;
  switch (state.kind) {
    case 'login': {
      const { user, database, waitingForServer } = state.progress;
      return {
        user: user || '(nouser)',
        database: database || '(nodb)',
        state: waitingForServer ? 'waiting' : 'login',
        ...waited(waitingForServer ? now - client.connectedMs : 0),
        link: '',
        application_name: '',
        prepared_statements: 0,
        socketState: waitingForServer ? 'cl_waiting' : 'cl_login',
      };
    }
    case 'console':
      return {
        user: state.user,
        database: consoleDatabase,
        state: 'idle',
        ...waited(0),
        link: '',
        application_name: client.applicationName,
        prepared_statements: 0,
        socketState: 'cl_active',
      };
    case 'replication':
      return {
        user: state.user,
        database: state.database,
        state: 'active',
        ...waited(0),
        link: '',
        application_name: client.applicationName,
        prepared_statements: 0,
        socketState: 'cl_active',
      };
    case 'idle':
    case 'waiting':
    case 'reading':
    case 'active': {
      const { session } = state;
      const sinceMs =
        state.kind === 'waiting'
          ? state.ticket.sinceMs
          : state.kind === 'active'
            ? state.server.channel.queryStartedMs
            : state.kind === 'reading'
              ? state.read.sentMs
              : undefined;
      return {
        user: session.user,
        database: session.database,
        state: state.kind === 'reading' ? 'active' : state.kind,
        ...waited(sinceMs === undefined ? 0 : now - sinceMs),
        link: state.kind === 'active' || state.kind === 'reading' ? pointer(state.server.id) : '',
        application_name: utf8(session.channel.settings.get('application_name') ?? ''),
        prepared_statements: session.channel.statements.size,
        socketState: state.kind === 'waiting' ? 'cl_waiting' : 'cl_active',
      };
    }
    case 'closed':
      return undefined;
    default:
      return state satisfies never;
  }
}

function clientEnds(client: ClientConnection): Omit<SocketRow, keyof StateColumns> {
  const { address, peer, state } = client;
  return {
    type: 'C',
    replication: state.kind !== 'replication' ? 'none' : state.physical ? 'physical' : 'logical',
    addr: address.ip,
    port: address.port,
    local_addr: address.unix ? 'unix' : (peer.localAddress ?? ''),
    local_port: address.unix ? 0 : (peer.localPort ?? 0),
    connect_time: timeText(client.connectedWallMs),
    request_time: timeText(client.requestedWallMs),
    close_needed: 0,
    ptr: pointer(client.id),
    // The process behind a Unix socket is not known.
    remote_pid: 0,
    tls: client.tls ?? '',
    id: client.id,
  };
}

/** Every server that has logged in. */
export function* serverRows(pooler: Pooler): Iterable<ServerRow> {
  const now = pooler.clock.now();
  for (const pool of pooler.pools) {
    for (const server of pool.servers) {
      const state = serverState(pool, server, now);
      if (state !== undefined) yield { server, socketState: `sv_${state}`, row: serverRow(pool, server, state) };
    }
  }
}

type ServerWord = 'active' | 'idle' | 'used' | 'tested' | 'being_canceled';

function serverState(pool: Pool, server: ServerConnection, now: number): ServerWord | undefined {
  const { state } = server;
  switch (state.kind) {
    case 'active':
    case 'tested':
    case 'being_canceled':
      return state.kind;
    case 'idle':
      return idleWord(pool, state.sinceMs, now);
    case 'shared':
      return server.channel.reads > 0 ? 'active' : 'idle';
    case 'closed':
      return undefined;
    default:
      return state satisfies never;
  }
}

function serverRow(pool: Pool, server: ServerConnection, state: ServerWord): SocketRow {
  const { address, peer, channel, lessee } = server;
  return {
    type: 'S',
    user: pool.user,
    database: pool.database,
    replication: 'none',
    state,
    addr: address.kind === 'unix' ? 'unix' : address.ip,
    port: address.port,
    local_addr: address.kind === 'unix' ? 'unix' : (peer.localAddress ?? ''),
    local_port: address.kind === 'unix' ? 0 : (peer.localPort ?? 0),
    connect_time: timeText(server.connectedWallMs),
    request_time: timeText(server.requestedWallMs),
    // PgBouncer does not use these for servers either.
    wait: 0,
    wait_us: 0,
    close_needed: pool.retires(server) ? 1 : 0,
    ptr: pointer(server.id),
    link: lessee instanceof ClientConnection ? pointer(lessee.id) : '',
    remote_pid: server.pid,
    tls: tlsText(server),
    application_name: utf8(channel.settings.get('application_name') ?? ''),
    prepared_statements: channel.statements.size,
    id: server.id,
  };
}

function tlsText(server: ServerConnection): string {
  const socket = server.peer.tlsSocket;
  return socket === undefined ? '' : `${socket.getProtocol() ?? 'TLS'}/${socket.getCipher().name}`;
}

/** An address for people to match `link` with `ptr`: made of the id, which is unique. */
function pointer(id: number): string {
  return `0x${id.toString(16).padStart(8, '0')}`;
}

/** As PgBouncer writes times, in UTC. */
export function timeText(wallMs: number): string {
  const iso = new Date(wallMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
}

function waited(ms: number): { wait: number; wait_us: number } {
  const us = Math.max(0, Math.round(ms * 1_000));
  return { wait: Math.floor(us / 1_000_000), wait_us: us % 1_000_000 };
}

/** Settings are kept byte for byte. */
function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
