// One attempt to connect and log in to a PostgreSQL server: TLS negotiation, startup packet, authentication, first parameters.

import { randomBytes } from 'node:crypto';
import {
  chooseServerAnswer,
  md5Hash,
  md5Response,
  ScramClient,
  type ScramClientStep,
  type ServerRequest,
} from '../auth/index.js';
import { FrameInbox, Peer, type PeerHandler } from '../net/index.js';
import { onConnected, onFailure, onSslAnswer, type TlsAttempt, type TlsMove } from '../tls/index.js';
import { assert, PoolerError } from '../util/index.js';
import {
  Backend,
  passwordMessage,
  readBackendKey,
  readErrorFields,
  readParameterStatus,
  saslInitialResponse,
  saslResponse,
  sslRequestMessage,
  startupMessage,
} from '../wire/index.js';
import { ServerRefusal } from './ask.js';
import { type Address, addressText, type ServerTarget } from './target.js';

/** A server that has said ReadyForQuery for the first time; the peer's handler is whoever takes it over. */
export interface LoggedIn {
  readonly peer: Peer;
  readonly address: Address;
  readonly pid: number;
  readonly cancelSecret: Buffer;
  /** Reported parameters by the names the server uses; latin1 strings. */
  readonly parameters: Map<string, string>;
  readonly tls: boolean;
  /** What followed the ReadyForQuery. */
  readonly rest: Buffer;
}

export type LoginAttempt =
  | { readonly kind: 'ready'; readonly server: LoggedIn }
  | { readonly kind: 'again'; readonly attempt: TlsAttempt };

const secondsText = (ms: number): string => `${ms / 1_000} s`;

function dialOptions(address: Address): { host: string; port: number } | { path: string } {
  if (address.kind === 'tcp') return { host: address.ip, port: address.port };
  // A leading @ is PostgreSQL's way to name the abstract namespace.
  const path = address.path.startsWith('@') ? `\0${address.path.slice(1)}` : address.path;
  return { path: `${path}/.s.PGSQL.${address.port}` };
}

/**
 * Opens a connection and, where the attempt asks for it, TLS on it. The handler hears of data only after that.
 * @throws PoolerError
 */
async function open(
  target: ServerTarget,
  address: Address,
  attempt: TlsAttempt,
  wire: Wire,
): Promise<{ attempt: TlsAttempt; channelBinding: Buffer | undefined; tls: boolean } | { again: TlsAttempt }> {
  await wire.connected;
  wire.peer.setKeepAlive(target.keepAlive);
  const move = onConnected(attempt);
  if (move.kind === 'send-startup') return { attempt, channelBinding: undefined, tls: false };
  wire.peer.writeOwned(sslRequestMessage());
  const answer = await wire.firstBytes();
  const next: TlsMove = onSslAnswer(attempt, answer[0] as number, answer.length - 1);
  switch (next.kind) {
    case 'start-tls': {
      const { tls } = target;
      assert(tls !== undefined, 'TLS is negotiated only with a TLS context');
      const channelBinding = await new Promise<Buffer | undefined>((resolve, reject) => {
        tls.connect(wire.peer.socketForTls(undefined), address.kind === 'tcp' ? address.name : '', (outcome) => {
          if (outcome.kind === 'failed') {
            reject(outcome.error);
            return;
          }
          wire.peer.adoptTls(outcome.socket);
          resolve(outcome.channelBinding);
        });
      }).catch((error: unknown) => {
        const after = onFailure(attempt, 'handshake', error as PoolerError);
        if (after.kind === 'reconnect') return after.attempt;
        throw error;
      });
      if (channelBinding !== undefined && !Buffer.isBuffer(channelBinding)) return { again: channelBinding };
      return { attempt, channelBinding, tls: true };
    }
    case 'send-startup':
      return { attempt: next.attempt, channelBinding: undefined, tls: false };
    case 'reconnect':
      return { again: next.attempt };
    case 'fail':
      throw next.error;
    case 'send-ssl-request':
      throw new PoolerError('TLS negotiation went astray', { sqlstate: '08P01' });
    default:
      return next satisfies never;
  }
}

/** The socket during the login. */
class Wire implements PeerHandler {
  readonly peer: Peer;
  readonly inbox = new FrameInbox();
  readonly connected: Promise<void>;
  #first: ((bytes: Buffer) => void) | undefined;
  #failFirst: ((error: Error) => void) | undefined;
  #failConnect: (error: Error) => void = () => {};
  readonly #where: string;

  constructor(address: Address) {
    this.#where = addressText(address);
    let settle: () => void = () => {};
    this.connected = new Promise((resolve, reject) => {
      settle = resolve;
      this.#failConnect = reject;
    });
    this.connected.catch(() => {});
    this.peer = Peer.connect(dialOptions(address), this, () => settle());
  }

  /** The next bytes as they come, once: the answer to SSLRequest is no frame. */
  firstBytes(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#first = resolve;
      this.#failFirst = reject;
    });
  }

  onData(bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.from(bytes.subarray(start, end));
    if (this.#first === undefined) {
      this.inbox.push(copy);
      return;
    }
    const first = this.#first;
    this.#first = undefined;
    this.#failFirst = undefined;
    first(copy);
  }

  onPressure(): void {}
  onRelief(): void {}

  onClose(error: Error | undefined): void {
    const code = (error as NodeJS.ErrnoException | undefined)?.code;
    this.fail(
      new PoolerError(
        code === undefined
          ? `server at ${this.#where} closed the connection`
          : `could not connect to server at ${this.#where}: ${code}`,
        {
          sqlstate: '08006',
          hint: this.#hint(code),
          cause: error,
        },
      ),
    );
  }

  #hint(code: string | undefined): string {
    const common = 'Check that PostgreSQL runs there and accepts connections.';
    if (code !== 'ENOENT') return common;
    return `${common} This is a Unix socket, which weir looks for where the database has no \`host\`: set it if PostgreSQL is reached by TCP.`;
  }

  fail(error: Error): void {
    this.#failConnect(error);
    this.#failFirst?.(error);
    this.#first = undefined;
    this.inbox.fail(error);
  }
}

/**
 * Connects and logs in.
 * @param signal cuts the connection when it is aborted, also after the login
 * @throws PoolerError; a ServerRefusal carries the server's own error
 */
export async function logIn(
  target: ServerTarget,
  address: Address,
  attempt: TlsAttempt,
  signal?: AbortSignal,
): Promise<LoginAttempt> {
  signal?.throwIfAborted();
  const wire = new Wire(address);
  const cut = (): void => {
    wire.fail(new PoolerError('nobody needs the connection any more', { sqlstate: '57P01' }));
    wire.peer.destroy();
  };
  signal?.addEventListener('abort', cut);
  const timer =
    target.connectTimeoutMs > 0
      ? setTimeout(() => {
          wire.fail(
            new PoolerError(
              `no login at ${addressText(address)} within ${secondsText(target.connectTimeoutMs)} (server_connect_timeout)`,
              {
                sqlstate: '08006',
                hint: 'Check network and load of the server, or raise server_connect_timeout.',
              },
            ),
          );
          wire.peer.destroy();
        }, target.connectTimeoutMs)
      : undefined;
  try {
    const opened = await open(target, address, attempt, wire);
    if ('again' in opened) {
      wire.peer.destroy();
      return { kind: 'again', attempt: opened.again };
    }
    const startup: [string, string][] = [
      ['user', Buffer.from(target.user).toString('latin1')],
      ['database', Buffer.from(target.dbname).toString('latin1')],
    ];
    for (const [name, value] of target.parameters) startup.push([name, value]);
    wire.peer.writeOwned(startupMessage(0, startup));
    const server = await converse(target, address, wire, opened);
    if ('again' in server) {
      wire.peer.destroy();
      return { kind: 'again', attempt: server.again };
    }
    return { kind: 'ready', server };
  } catch (error) {
    wire.peer.destroy();
    if (error instanceof PoolerError) error.at = addressText(address);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function converse(
  target: ServerTarget,
  address: Address,
  wire: Wire,
  opened: { attempt: TlsAttempt; channelBinding: Buffer | undefined; tls: boolean },
): Promise<LoggedIn | { again: TlsAttempt }> {
  const parameters = new Map<string, string>();
  let key: { pid: number; secret: Buffer } = { pid: 0, secret: Buffer.alloc(4) };
  let scram: ScramClient | undefined;
  let scramVerified = true;
  let sent: Sent = 'nothing';
  let authenticated = false;
  for (;;) {
    const frame = await wire.inbox.next();
    switch (frame[0]) {
      case Backend.Authentication: {
        const code = frame.readInt32BE(5);
        const payload = frame.subarray(9);
        if (code === 0) {
          if (!scramVerified) throw new PoolerError('the server skipped its part of SCRAM', { sqlstate: '08P01' });
          authenticated = true;
        } else if (code === 3) {
          answerPassword(target, wire, 'cleartext', payload);
          sent = 'password';
        } else if (code === 5) {
          answerPassword(target, wire, 'md5', payload);
          sent = 'password';
        } else if (code === 10) {
          scram = startScram(target, payload, opened.channelBinding);
          scramVerified = false;
          await sendScram(wire, scram.start());
        } else if ((code === 11 || code === 12) && scram !== undefined) {
          scramVerified = await sendScram(wire, scram.step(Buffer.from(payload)));
          sent = 'scram';
        } else {
          throw new PoolerError(`the server asks for authentication method ${code}, which weir does not speak`, {
            sqlstate: '0A000',
            hint: 'Use scram-sha-256, md5, password or trust for this user in pg_hba.conf.',
          });
        }
        break;
      }
      case Backend.ParameterStatus: {
        const parameter = readParameterStatus(frame, 0, frame.length);
        if (parameter !== undefined) parameters.set(parameter.name, parameter.value);
        break;
      }
      case Backend.BackendKeyData:
        key = readBackendKey(frame, 0, frame.length);
        break;
      case Backend.ErrorResponse: {
        const fields = readErrorFields(frame, 0, frame.length);
        const stage = authenticated ? 'authenticated' : sent;
        const hint = fields.hint ?? refusalHint(fields.sqlstate, stage, target, addressText(address));
        const refusal = new ServerRefusal(fields.message, {
          sqlstate: fields.sqlstate,
          ...(fields.detail === undefined ? {} : { detail: fields.detail }),
          ...(hint === undefined ? {} : { hint }),
        });
        const after = authenticated ? undefined : onFailure(opened.attempt, fields.sqlstate, refusal);
        if (after?.kind === 'reconnect') return { again: after.attempt };
        throw refusal;
      }
      case Backend.NoticeResponse:
      case Backend.NegotiateProtocolVersion:
        break;
      case Backend.ReadyForQuery:
        if (!authenticated) throw new PoolerError('the server is ready before authentication', { sqlstate: '08P01' });
        return {
          peer: wire.peer,
          address,
          pid: key.pid,
          cancelSecret: key.secret,
          parameters,
          tls: opened.tls,
          rest: wire.inbox.rest(),
        };
      default:
        throw new PoolerError('the server does not speak the PostgreSQL protocol', { sqlstate: '08P01' });
    }
  }
}

/** What a server has had of weir's password. */
type Sent = 'nothing' | 'password' | 'scram';

/** What to change so that the server takes the login: its own words leave out what weir has done. */
function refusalHint(
  sqlstate: string,
  stage: Sent | 'authenticated',
  target: ServerTarget,
  where: string,
): string | undefined {
  if (sqlstate === '3D000') {
    return `Create the database in PostgreSQL at ${where}, or change the name that weir asks for (dbname).`;
  }
  // LDAP, PAM and RADIUS behind PostgreSQL refuse a password by 28000; behind SCRAM it is about channel binding.
  if (sqlstate === '28P01' || (sqlstate === '28000' && stage === 'password')) {
    return `The password that weir has for user "${target.user}" (${target.credentialSource()}) is not the one in PostgreSQL at ${where}: change either.`;
  }
  if (sqlstate !== '28000' || stage !== 'nothing') return undefined;
  return `See pg_hba.conf of PostgreSQL at ${where}: it says who may log in from here, and how.`;
}

function answerPassword(target: ServerTarget, wire: Wire, request: ServerRequest, payload: Buffer): void {
  const credential = target.credential();
  const answer = chooseServerAnswer(request, credential);
  if (answer.kind === 'refused') throw answer.failure.error;
  if (answer.kind === 'send-password' && credential.kind === 'plain') {
    wire.peer.writeOwned(passwordMessage(credential.password.reveal()));
  } else if (answer.kind === 'send-md5') {
    const hash =
      credential.kind === 'md5'
        ? credential.hash
        : credential.kind === 'plain'
          ? md5Hash(target.user, credential.password)
          : undefined;
    assert(hash !== undefined, 'md5 is answered from a password or its hash');
    wire.peer.writeOwned(passwordMessage(md5Response(hash, payload.subarray(0, 4))));
  }
}

function startScram(target: ServerTarget, payload: Buffer, channelBinding: Buffer | undefined): ScramClient {
  const credential = target.credential();
  const answer = chooseServerAnswer('sasl', credential);
  if (answer.kind === 'refused') throw answer.failure.error;
  const offered = payload
    .toString('latin1')
    .split('\0')
    .filter((name) => name !== '');
  assert(credential.kind === 'plain' || credential.kind === 'scram-keys', 'SCRAM is started from a password or keys');
  return new ScramClient({
    credentials:
      credential.kind === 'plain'
        ? { kind: 'password', user: target.user, password: credential.password }
        : { kind: 'keys', keys: credential.keys },
    offered,
    ...(channelBinding === undefined ? {} : { channelBinding }),
    bindingMode: 'prefer',
    keyCache: target.keyCache,
    random: randomBytes,
  });
}

/** Sends what the step says; answers whether the server has proved itself. */
async function sendScram(wire: Wire, first: ScramClientStep): Promise<boolean> {
  let step = first;
  while (step.kind === 'deriving') step = await step.next;
  switch (step.kind) {
    case 'initial':
      wire.peer.writeOwned(saslInitialResponse(step.mechanism, step.send));
      return false;
    case 'response':
      wire.peer.writeOwned(saslResponse(step.send));
      return false;
    case 'verified':
      return true;
    case 'failed':
      throw step.failure.error;
    default:
      return step satisfies never;
  }
}

/**
 * Sends a CancelRequest to where the server is; resolves when the other end has closed, and so has passed it on.
 * @throws PoolerError when that is not seen in time: the request may still arrive
 */
export async function sendCancel(
  target: Pick<ServerTarget, 'tls' | 'keepAlive'>,
  address: Address,
  attempt: TlsAttempt,
  message: Buffer,
  timeoutMs: number,
): Promise<void> {
  const wire = new Wire(address);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    wire.peer.destroy();
  }, timeoutMs);
  try {
    const opened = await open(target as ServerTarget, address, attempt, wire);
    if ('again' in opened) {
      wire.peer.destroy();
      await sendCancel(target, address, opened.again, message, timeoutMs);
      return;
    }
    wire.peer.writeOwned(message);
    await wire.inbox.next().catch(() => {});
    if (timedOut) throw new PoolerError('cancel_wait_timeout', { sqlstate: '08006' });
  } finally {
    clearTimeout(timer);
    wire.peer.destroy();
  }
}
