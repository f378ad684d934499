// A worker's side: its pools' places and its clients' come from the primary, and what the console and HTTP ask of all goes through it.

import process from 'node:process';
import type { AdminConsole, Fleet } from '../admin/index.js';
import type { OwnSource } from '../http/index.js';
import type { ServerPlaces } from '../pool/index.js';
import type { Pooler, Siblings } from '../pooler/index.js';
import { assert, PoolerError, systemClock } from '../util/index.js';
import { ClientPlaces, type PlaceOffice } from './client-places.js';
import { Link, sentError } from './link.js';
import type {
  Beginning,
  Command,
  InForce,
  PrimaryNotice,
  PrimaryQuestion,
  RecallQuestion,
  WorkerNotice,
  WorkerQuestion,
} from './messages.js';
import { CommonPlaces } from './server-places.js';

/** What a worker answers for, once it is put together. */
export interface WorkerParts {
  readonly pooler: Pooler;
  readonly console: AdminConsole;
  /** Where the primary answers HTTP: what metrics are counted with costs something also while nobody asks. */
  readonly source: OwnSource | undefined;
  readonly reopenLog: () => void;
}

export interface WorkerPart {
  readonly beginning: Beginning;
  readonly siblings: Siblings;
  readonly fleet: Fleet;
  /** From here on the primary's questions are answered, and what is in force elsewhere is in force here. */
  begin(parts: WorkerParts): Promise<void>;
  ready(listening: readonly string[]): void;
  /** The worker cannot serve; resolves when the primary has been told. */
  failed(error: unknown): Promise<void>;
}

type PrimaryLink = Link<WorkerNotice, WorkerQuestion>;

/** A place that nobody has needed for so long is given back. */
const keptTickMs = 1_000;

/** Of a process that the primary has started. @param onOrphaned the primary is gone */
export async function joinPrimary(onOrphaned: () => void): Promise<WorkerPart> {
  let parts: WorkerParts | undefined;
  /** Commands come behind those that were given before. */
  let informed: Promise<void> = Promise.resolve();
  const link: PrimaryLink = new Link(
    {
      send: (message) => {
        if (process.connected) process.send?.(message);
      },
      onMessage: (listener) => process.on('message', listener),
    },
    (notice) => takeNotice(notice as PrimaryNotice, places, parts),
    async (question) => {
      const asked = question as PrimaryQuestion;
      if (asked.kind === 'recall') {
        clients.recall();
        return null;
      }
      await informed;
      return answer(asked, parts);
    },
  );
  const places = new CommonPlaces(link);
  const clients = new ClientPlaces(officeOf(link), systemClock);
  setInterval(() => clients.tick(), keptTickMs).unref();
  process.once('disconnect', () => {
    link.close();
    onOrphaned();
  });
  const beginning = await link.ask({ kind: 'begin' });
  return {
    beginning,
    siblings: siblingsOf(beginning, link, places, clients),
    fleet: {
      rows: (command) => link.ask({ kind: 'rows', command }),
      control: async (command, argument) => (await link.ask({ kind: 'control', command, argument })) ?? undefined,
      set: (key, value) => link.ask({ kind: 'set', key, value }),
      grant: async (grant) => {
        await link.ask({ kind: 'grant', grant });
      },
      revoke: async (revocation) => {
        await link.ask({ kind: 'revoke', revocation });
      },
    },
    begin: async (made) => {
      parts = made;
      informed = link.ask({ kind: 'in-force' }).then((inForce) => obeyAll(inForce, beginning, made));
      await informed;
    },
    ready: (listening) => link.notify({ kind: 'ready', listening }),
    failed: (error) => {
      link.notify({ kind: 'failed', error: sentError(error) });
      // Behind the turn in which the link sends.
      return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    },
  };
}

/** One that cannot be obeyed, such as about a database that is configured no more, keeps nobody from serving. */
async function obeyAll(
  { commands, reloads }: InForce,
  beginning: Beginning,
  { console, pooler }: WorkerParts,
): Promise<void> {
  const reload: Command = { kind: 'control', command: 'reload', argument: undefined };
  // The configuration was read before the reload.
  for (const command of reloads === beginning.reloads ? commands : [reload, ...commands]) {
    try {
      await obey(command, console);
    } catch (error) {
      pooler.log.warn({ err: error }, 'a command that is in force could not be obeyed by a new worker');
    }
  }
}

function officeOf(link: PrimaryLink): PlaceOffice {
  return {
    admit: async (database, user, limits) => {
      try {
        await link.ask({ kind: 'admit', database, user, limits });
        return undefined;
      } catch (error) {
        if (error instanceof PoolerError) return error;
        throw error;
      }
    },
    dismiss: (database, user, count) => link.notify({ kind: 'dismiss', database, user, count }),
  };
}

function siblingsOf(
  { index, count, secretKey }: Beginning,
  link: PrimaryLink,
  places: ServerPlaces,
  clients: ClientPlaces,
): Siblings {
  return {
    index,
    count,
    secretKey: Buffer.from(secretKey, 'hex'),
    places,
    admit: (database, user, limits) => clients.admit(database, user, limits),
    dismiss: (database, user) => clients.dismiss(database, user),
    cancel: async (pid, secret) => {
      await link.ask({ kind: 'cancel', pid, secret: secret.toString('hex') });
    },
    vacate: async (order) => {
      await link.ask({ kind: 'vacate', order }).catch(() => {});
    },
    listens: (databases) => link.notify({ kind: 'listens', databases }),
    sendersOf: (place, pids) => link.ask({ kind: 'senders', place, pids }).catch(() => []),
    catchUp: async (database) => {
      await link.ask({ kind: 'catch-up', database }).catch(() => {});
    },
    settingsAltered: () => link.notify({ kind: 'settings-altered' }),
    endVacancy: (order, dropped) => link.notify({ kind: 'end-vacancy', order, dropped }),
    standInFor: async (pid, address) => {
      const lent = await link.ask({ kind: 'stand-in', pid, address });
      if (lent === null) return undefined;
      const { id } = lent;
      return {
        pid: lent.pid,
        // A process that has ended has no client any more.
        acted: link.ask({ kind: 'stand-in-acted', pid, id }).then(
          () => {},
          () => {},
        ),
        release: () => {
          link.ask({ kind: 'stand-in-release', pid, id }).catch(() => {});
        },
      };
    },
    loginFailed: (place, user) => link.notify({ kind: 'login-failed', place, user }),
    loginSucceeded: (place, user) => link.notify({ kind: 'login-succeeded', place, user }),
  };
}

function takeNotice(notice: PrimaryNotice, places: CommonPlaces, parts: WorkerParts | undefined): void {
  switch (notice.kind) {
    case 'granted':
      places.granted(notice.pool);
      break;
    case 'refused':
      places.refused(notice.pool, notice.full);
      break;
    case 'wanted':
      places.seeker(notice.pool)?.onPlaceWanted(notice.urgently);
      break;
    case 'kept':
      places.seeker(notice.pool)?.onPlaceKept();
      break;
    case 'login-failed':
      parts?.pooler.throttle.failed(notice.place, notice.user);
      break;
    case 'login-succeeded':
      parts?.pooler.throttle.succeeded(notice.place, notice.user);
      break;
    case 'listens':
      if (parts !== undefined) parts.pooler.senders.elsewhere = new Set(notice.databases);
      break;
    case 'settings-altered':
      parts?.pooler.renewWelcomes();
      break;
    case 'end-vacancy':
      parts?.pooler.vacancy.end(notice.order, notice.dropped);
      break;
    case 'shutdown':
      parts?.pooler.shutdown(notice.mode);
      break;
    case 'reopen-log':
      parts?.reopenLog();
      break;
    default:
      notice satisfies never;
  }
}

async function answer(
  question: Exclude<PrimaryQuestion, RecallQuestion>,
  parts: WorkerParts | undefined,
): Promise<unknown> {
  if (parts === undefined) throw new PoolerError('a process of the pooler is starting', { sqlstate: '57P03' });
  const { pooler, console, source } = parts;
  switch (question.kind) {
    case 'cancel':
      await pooler.cancelOwn(question.pid, Buffer.from(question.secret, 'hex'));
      return null;
    case 'vacate':
      await pooler.vacancy.obey(question.order);
      return null;
    case 'senders':
      return question.pids.map((pid) => pooler.senders.pidOf(question.place, pid) ?? null);
    case 'catch-up':
      await pooler.senders.catchUp(question.database);
      return null;
    case 'stand-in':
      return pooler.standIns.lend(question.pid, question.address);
    case 'stand-in-acted':
      await pooler.standIns.acted(question.id);
      return null;
    case 'stand-in-release':
      pooler.standIns.release(question.id);
      return null;
    case 'rows':
      return console.here.rows(question.command);
    case 'control':
    case 'set':
    case 'grant':
    case 'revoke':
      return (await obey(question, console)) ?? null;
    case 'order':
      return pooler.grants.order(question.order);
    case 'grants':
      return pooler.grants.list();
    case 'metrics':
    case 'readiness':
    case 'hazards':
      assert(source !== undefined, 'the primary asks for what it answers by HTTP');
      if (question.kind === 'readiness') return source.ownReadiness();
      return question.kind === 'metrics' ? source.readings() : source.hazards();
    default:
      return question satisfies never;
  }
}

function obey(command: Command, { here }: AdminConsole): Promise<unknown> {
  switch (command.kind) {
    case 'set':
      return here.set(command.key, command.value);
    case 'control':
      return here.control(command.command, command.argument);
    case 'grant':
      return here.grant(command.grant);
    case 'revoke':
      return here.revoke(command.revocation);
    default:
      return command satisfies never;
  }
}
