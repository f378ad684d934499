// The whole way of a client from its first byte to its session: TLS, startup packet, proof, limits, settings.

import type { PoolSettings } from '../config/index.js';
import { consoleDatabases } from '../config/index.js';
import type { Peer } from '../net/index.js';
import type { Subject } from '../policy/index.js';
import type { OwnServer, Pool } from '../pool/index.js';
import type { Settings } from '../session/index.js';
import { PoolerError } from '../util/index.js';
import {
  authenticationOk,
  backendKeyData,
  errorResponse,
  negotiateProtocolVersion,
  noticeResponse,
  parameterStatus,
  protocolVersions,
  readyForQuery,
  TransactionStatus,
} from '../wire/index.js';
import { authenticate } from './authenticate.js';
import { beginSession } from './beginnings.js';
import type { ClientConnection } from './connection.js';
import { ClientGone, type Dialogue } from './dialogue.js';
import type { ClientAddress, House } from './house.js';
import { RandomPool } from './random-pool.js';
import { replicationWelcome } from './replication.js';
import { readStartup, type StartupRequest } from './startup-parameters.js';

/** A login that failed: what the client is told, and what only the log may say. */
export class LoginFailure extends PoolerError {
  readonly reason: string;
  /** Counted against whoever tries passwords. */
  readonly guess: boolean;

  constructor(error: PoolerError, reason: string, guess: boolean) {
    super(error.message, {
      sqlstate: error.sqlstate,
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
    this.reason = reason;
    this.guess = guess;
  }
}

export type LoginOutcome =
  /** A cancel request, dealt with; or a client that left without a word. */
  | { readonly kind: 'over' }
  | { readonly kind: 'console'; readonly request: StartupRequest; readonly role: 'admin' | 'stats' }
  | {
      readonly kind: 'replication';
      readonly request: StartupRequest;
      readonly pool: Pool;
      readonly server: OwnServer;
      readonly cancelSecret: Buffer;
    }
  | {
      readonly kind: 'session';
      readonly request: StartupRequest;
      readonly pool: Pool;
      readonly settings: PoolSettings;
      readonly state: Settings;
      readonly cancelSecret: Buffer;
    };

/** What has become known of a client so far, for whoever logs a failure. */
export interface LoginProgress {
  user: string;
  database: string;
  /** Waiting for the first server of a pool, not for the client. */
  waitingForServer: boolean;
}

const cancelSecrets = new RandomPool();

/** While weir waited for something, the client may have. */
function hasLeft(peer: Peer, connection: ClientConnection): boolean {
  return peer.closed || connection.state.kind === 'closed';
}

function failure(message: string, sqlstate: string, hint?: string): PoolerError {
  return new PoolerError(message, { sqlstate, ...(hint === undefined ? {} : { hint }) });
}

/**
 * @throws LoginFailure or PoolerError, which the caller tells the client; ClientGone when nobody is there to tell
 */
export async function logInClient(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  address: ClientAddress,
  connection: ClientConnection,
  progress: LoginProgress,
): Promise<LoginOutcome> {
  const startup = await readFirstPackets(house, peer, dialogue, address);
  if (startup === undefined) return { kind: 'over' };
  const { request, minor } = startup;
  progress.user = request.user;
  progress.database = request.database;

  if (consoleDatabases.includes(request.database)) return logInConsole(house, peer, dialogue, address, request);
  if (house.closing !== undefined) throw house.closing;
  if (house.settingsFor(request.database, request.user) === undefined) {
    throw failure(`no such database: ${request.database}`, '3D000', 'Add it to [databases], or a "*" entry.');
  }
  if (house.isDisabled(request.database)) {
    throw failure(`database ${request.database} is disabled`, '57P03', 'ENABLE it on the console.');
  }
  await prove(house, peer, dialogue, address, request);

  // Only now: whoever has not proved anything makes no pool. Since the proof began, the client may have left.
  if (peer.closed) throw new ClientGone('client closed the connection during login', { sqlstate: '08006' });
  const found = house.poolFor(request.database, request.user);
  if (found instanceof PoolerError) throw found;
  const refused = await house.admit(request.database, request.user, found.settings);
  if (refused !== undefined) throw refused;
  if (hasLeft(peer, connection)) {
    house.dismiss(request.database, request.user);
    throw new ClientGone('client closed the connection during login', { sqlstate: '08006' });
  }
  connection.admitted = { database: request.database, user: request.user };

  const { pool } = found;
  progress.waitingForServer = true;
  const cancelSecret = cancelSecrets.next(minor >= 2 ? 32 : 4);
  const subject = subjectOf(connection, dialogue, request);
  const denied = house.loginDenied(subject, request.replication !== undefined, request.settings);
  if (denied !== undefined) throw denied;
  if (request.replication !== undefined) {
    const server = await pool.openOwn(new Map([...request.settings, ['replication', request.replication]]));
    progress.waitingForServer = false;
    if (hasLeft(peer, connection)) {
      server.login.peer.destroy();
      server.release();
      throw new ClientGone('client closed the connection during login', { sqlstate: '08006' });
    }
    welcome(house, peer, connection, replicationWelcome(server), cancelSecret);
    return { kind: 'replication', request, pool, server, cancelSecret };
  }
  await pool.greeted();
  const limits = house.timeLimits(subjectOf(connection, dialogue, request));
  const beginning = await beginSession(house, pool, request, address, limits);
  progress.waitingForServer = false;
  if (peer.closed) throw new ClientGone('client closed the connection during login', { sqlstate: '08006' });

  welcome(house, peer, connection, beginning.frames, cancelSecret);
  return { kind: 'session', request, pool, settings: found.settings, state: beginning.settings, cancelSecret };
}

function subjectOf(
  connection: ClientConnection,
  dialogue: Dialogue,
  { user, database, settings }: StartupRequest,
): Subject {
  const application = Buffer.from(settings.get('application_name') ?? '', 'latin1').toString('utf8');
  const certificate = dialogue.tls?.peer?.commonName;
  return { ...connection.subject, user, database, application, certificate };
}

/** Everything up to and with the startup packet; undefined after a cancel request. */
async function readFirstPackets(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  address: ClientAddress,
): Promise<{ request: StartupRequest; minor: number } | undefined> {
  const { tls } = house;
  let askedSsl = false;
  let askedGss = false;
  for (;;) {
    const packet = await dialogue.packet(address.unix ? undefined : tls);
    switch (packet.kind) {
      case 'bad':
        throw new PoolerError('bad packet', { sqlstate: '08P01', detail: packet.reason });
      case 'cancel':
        await house.cancel(packet.pid, packet.secret);
        return undefined;
      case 'gss':
        dialogue.refuseUnread('GSSAPI encryption');
        if (askedGss) throw failure('bad packet', '08P01');
        askedGss = true;
        peer.writeOwned(Buffer.from('N'));
        break;
      case 'ssl':
        dialogue.refuseUnread('SSL');
        if (askedSsl || dialogue.tls !== undefined) throw failure('bad packet', '08P01');
        askedSsl = true;
        if (tls === undefined || address.unix) {
          peer.writeOwned(Buffer.from('N'));
        } else {
          peer.writeOwned(Buffer.from('S'));
          await dialogue.startTls(tls);
        }
        break;
      case 'startup': {
        if (packet.major !== protocolVersions.newest.major) {
          throw failure(
            `unsupported frontend protocol ${packet.major}.${packet.minor}: server supports 3.0 to 3.2`,
            '0A000',
            'Use a driver that speaks protocol 3.',
          );
        }
        if (tls?.policy.plain === 'refused' && dialogue.tls === undefined && !address.unix) {
          throw failure('SSL required', '28000', 'Connect with sslmode=require or stronger.');
        }
        const request = readStartup(packet.parameters, house.config.weir.ignore_startup_parameters);
        if (request instanceof PoolerError) throw request;
        const { newest } = protocolVersions;
        if (packet.minor > newest.minor || request.protocolOptions.length > 0) {
          peer.writeOwned(negotiateProtocolVersion(Math.min(packet.minor, newest.minor), request.protocolOptions));
        }
        return { request, minor: Math.min(packet.minor, newest.minor) };
      }
      default:
        packet satisfies never;
    }
  }
}

/** The clients of a Unix socket have no address: each user is one of its own. */
export function throttlePlace(address: ClientAddress, user: string): string {
  return address.unix ? `unix ${user}` : address.ip;
}

function throttled(house: House, address: ClientAddress, user: string): LoginFailure | undefined {
  const waitMs = house.throttle.delayMs(throttlePlace(address, user), user);
  if (waitMs <= 0) return undefined;
  return new LoginFailure(
    failure('login rejected', '28000', `Too many failed logins; try again in ${Math.ceil(waitMs / 1_000)} s.`),
    'throttled after too many failed logins',
    false,
  );
}

async function prove(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  address: ClientAddress,
  request: StartupRequest,
): Promise<void> {
  const { user, database } = request;
  const before = throttled(house, address, user);
  if (before !== undefined) throw before;
  let secret = house.secretOf(user);
  const known = secret !== undefined;
  if (!known && house.config.weir.auth_type !== 'any' && !consoleDatabases.includes(database)) {
    secret = await house.lookUpSecret(database, user);
  }
  const proof = await authenticate(house, peer, dialogue, database, user, secret);
  // Others from there may have failed meanwhile: of guesses made at the same time no more are answered than one by one.
  const after = throttled(house, address, user);
  if (after !== undefined) throw after;
  if (proof.kind === 'failed') throw new LoginFailure(proof.failure.error, proof.failure.reason, true);
  house.guessSucceeded(throttlePlace(address, user), user);
  if (!known && secret !== undefined) house.rememberLookedUp(database, user, secret);
}

async function logInConsole(
  house: House,
  peer: Peer,
  dialogue: Dialogue,
  address: ClientAddress,
  request: StartupRequest,
): Promise<LoginOutcome> {
  // The proof first: who is not asked for one learns whether a name is an administrator's.
  await prove(house, peer, dialogue, address, request);
  const role = house.console.roleOf(request.user);
  if (role === undefined) {
    throw new LoginFailure(
      failure('not allowed', '42501', 'Add the user to admin_users or stats_users.'),
      'neither in admin_users nor in stats_users',
      false,
    );
  }
  const frames = [authenticationOk()];
  const version = '15.0 (weir)';
  for (const [name, value] of [
    ['server_version', version],
    ['client_encoding', 'UTF8'],
    ['server_encoding', 'UTF8'],
    ['DateStyle', 'ISO, MDY'],
    ['TimeZone', 'GMT'],
    ['standard_conforming_strings', 'on'],
    ['is_superuser', role === 'admin' ? 'on' : 'off'],
  ] as const) {
    frames.push(parameterStatus(name, value));
  }
  frames.push(readyForQuery(TransactionStatus.Idle));
  for (const frame of frames) peer.writeOwned(frame);
  return { kind: 'console', request, role };
}

function welcome(house: House, peer: Peer, connection: ClientConnection, begun: Buffer, cancelSecret: Buffer): void {
  const { login_notify_message } = house.config.weir;
  connection.clientPid = house.newClientPid(connection);
  const frames = [begun, backendKeyData(connection.clientPid, cancelSecret)];
  if (login_notify_message !== '') {
    frames.push(noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: login_notify_message }));
  }
  frames.push(readyForQuery(TransactionStatus.Idle));
  peer.writeOwned(Buffer.concat(frames));
}

/** The FATAL a client gets before it is cut off. */
export function fatal(error: PoolerError): Buffer {
  return errorResponse({
    severity: 'FATAL',
    sqlstate: error.sqlstate,
    message: error.message,
    detail: error.detail,
    hint: error.hint,
  });
}
