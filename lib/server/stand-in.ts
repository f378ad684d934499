// A connection whose backend PostgreSQL signals in a client's stead: it sleeps, and what wakes it is told.

import { FrameInbox } from '../net/index.js';
import { firstAttempt } from '../tls/index.js';
import { Backend, cancelRequestMessage, ownQueryMessage, readErrorFields, terminateMessage } from '../wire/index.js';
import { askOnce } from './ask.js';
import { type LoggedIn, logIn, sendCancel } from './login.js';
import type { Address, ServerTarget } from './target.js';

export type Signal = 'cancel' | 'terminate';

/** By the SQLSTATE with which PostgreSQL obeys. */
const signals: Readonly<Record<string, Signal>> = { '57014': 'cancel', '57P01': 'terminate' };

/** The client whose statement signals it may have died with its process. */
const sleepSecondsMax = 60;
/** How long it may take to wake one that is not needed any more. */
const cancelMsMax = 5_000;
/** A time-out of the role's would look like a cancel. */
const awake =
  "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')";
/** More than PostgreSQL gathers before it sends: when it comes, a signal is not overlooked any more. */
const asleep = `SELECT pg_catalog.repeat('.', 32768); SELECT pg_catalog.pg_sleep(${sleepSecondsMax})`;

export class StandIn {
  readonly pid: number;
  readonly #target: ServerTarget;
  readonly #login: LoggedIn;
  readonly #onSignal: (signal: Signal) => void;
  #sleeps = true;
  #closed = false;

  private constructor(target: ServerTarget, login: LoggedIn, onSignal: (signal: Signal) => void) {
    this.#target = target;
    this.#login = login;
    this.#onSignal = onSignal;
    this.pid = login.pid;
  }

  /**
   * Logs in as the target says, and sleeps.
   * @param onSignal may be called again: a backend that was cancelled may be terminated
   * @throws PoolerError
   */
  static async open(target: ServerTarget, address: Address, onSignal: (signal: Signal) => void): Promise<StandIn> {
    let attempt = await logIn(target, address, firstAttempt(target.tls?.mode ?? 'disable', address.kind));
    while (attempt.kind === 'again') attempt = await logIn(target, address, attempt.attempt);
    const login = attempt.server;
    try {
      await askOnce(login, awake, target.connectTimeoutMs);
      const standIn = new StandIn(target, login, onSignal);
      await standIn.#sleep();
      return standIn;
    } catch (error) {
      login.peer.destroy();
      throw error;
    }
  }

  /** A backend that sleeps would not notice that nobody is there any more: it is woken. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { peer, address, pid, cancelSecret } = this.#login;
    try {
      if (this.#sleeps) {
        const attempt = firstAttempt(this.#target.tls?.mode ?? 'disable', address.kind);
        await sendCancel(this.#target, address, attempt, cancelRequestMessage(pid, cancelSecret), cancelMsMax);
      }
    } finally {
      peer.writeOwned(terminateMessage);
      peer.end();
    }
  }

  /** Resolves once it sleeps. */
  #sleep(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { peer } = this.#login;
      const inbox = new FrameInbox();
      peer.handler = {
        onData: (bytes, start, end) => {
          inbox.push(Buffer.from(bytes.subarray(start, end)));
          resolve();
        },
        onPressure: () => {},
        onRelief: () => {},
        onClose: (error) => inbox.fail(error ?? new Error('the connection was closed')),
      };
      this.#listen(inbox).catch((error: unknown) => {
        this.#sleeps = false;
        reject(error);
      });
      peer.writeOwned(ownQueryMessage(asleep));
    });
  }

  async #listen(inbox: FrameInbox): Promise<never> {
    for (;;) {
      const frame = await inbox.next();
      if (frame[0] === Backend.ReadyForQuery) this.#sleeps = false;
      if (frame[0] !== Backend.ErrorResponse) continue;
      const signal = signals[readErrorFields(frame, 0, frame.length).sqlstate];
      if (signal !== undefined && !this.#closed) this.#onSignal(signal);
    }
  }
}
