// The client inside weir that holds the server which listens for the clients of a pool.

import type { Pool } from '../pool/index.js';
import type { ServerConnection } from '../server/index.js';
import { type Settings, unseen } from '../session/index.js';
import type { Clock, PoolerError } from '../util/index.js';
import { queryMessage } from '../wire/index.js';
import { errorIn, InternalClient } from './internal-client.js';
import type { NotificationMemory } from './notification-queue.js';
import { type HubEvents, NotificationHub } from './notifications.js';
import { type SenderLookUp, SenderQueue } from './sender-queue.js';

/** Since when a server has a setting that ends idle sessions. */
const idleTimeoutVersion = 140_000;

/** @param pool has the one server */
export function newHub(
  pool: Pool,
  memory: NotificationMemory,
  clock: Clock,
  events: HubEvents,
  senders: SenderLookUp,
): NotificationHub {
  return new NotificationHub(pool, {
    memory,
    clock,
    events,
    listener: (hub) => {
      const listener = new Listener(pool, hub, senders);
      return {
        get retires() {
          return listener.retires;
        },
        run: (sql) => listener.listen(sql),
        rest: () => listener.rest(),
        stop: () => listener.stop(),
      };
    },
    later: (waitMs, go) => {
      const timer = setTimeout(go, waitMs).unref();
      return () => clearTimeout(timer);
    },
  });
}

/** The client inside weir that holds the listening server. */
class Listener extends InternalClient {
  readonly #hub: NotificationHub;
  readonly #senders: SenderLookUp;
  readonly #told: SenderQueue;

  constructor(pool: Pool, hub: NotificationHub, senders: SenderLookUp) {
    super(pool, unseen);
    this.#hub = hub;
    this.#senders = senders;
    this.#told = new SenderQueue(senders, (bytes, start, end) => hub.onNotification(bytes, start, end));
    this.channel.onNotification = (bytes, start, end) =>
      this.#told.onNotification(this.server?.channel.place ?? '', bytes, start, end);
  }

  get retires(): boolean {
    return this.server !== undefined && this.pool.retires(this.server);
  }

  /** Payloads come in the encoding of whoever listens, and nothing may end a session that only listens. */
  protected override settingsOn(server: ServerConnection): Settings {
    const own: [string, string][] = [['client_encoding', 'UTF8']];
    if (server.channel.version >= idleTimeoutVersion) own.push(['idle_session_timeout', '0']);
    return server.loginSettings.withAll(own);
  }

  protected onAnswer(answer: Buffer): void {
    const error = errorIn(answer);
    this.#told.behind(() => this.#hub.answered(error));
  }

  protected onFailure(error: PoolerError): void {
    this.#told.end();
    this.#hub.failed(error);
  }

  listen(sql: string): void {
    this.#senders.onListening(this.pool.target.dbname);
    this.run(queryMessage(sql));
  }

  rest(): void {
    this.#told.end();
    this.release();
  }

  stop(): void {
    this.#told.end();
    this.drop();
  }
}
