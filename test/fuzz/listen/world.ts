// A PostgreSQL that only knows LISTEN and NOTIFY, the hub in front of it with clients at any moment of what they do, and what each must be told.

import { ClientListening } from '../../../lib/client/client-listening.js';
import { NotificationMemory } from '../../../lib/client/notification-queue.js';
import { type ListeningServer, NotificationHub } from '../../../lib/client/notifications.js';
import type { Pool } from '../../../lib/pool/index.js';
import type { ChannelUse } from '../../../lib/session/index.js';
import { PoolerError } from '../../../lib/util/index.js';
import { Random } from '../../support/random.js';

const channels = ['a', 'b', 'c'] as const;
const clientsMax = 5;

interface Notification {
  /** Its place in the one order of all commits. */
  readonly at: number;
  readonly channel: string;
  /** It may have been lost with the server that listens, by this loss. */
  lostBy: number | undefined;
}

type Said = { readonly kind: 'notification'; readonly of: Notification } | { readonly kind: 'answer' };

/** The backend that listens: what it was sent is run, and what it says arrives, at any time. */
class Backend implements ListeningServer {
  readonly #world: ListenWorld;
  readonly hub: () => NotificationHub;
  retires = false;
  /** Sent and not run. */
  sent: string | undefined;
  /** Whether there is one; made by the first text. */
  connected = false;
  readonly listens = new Set<string>();
  /** Said, and not arrived. */
  readonly said: Said[] = [];

  constructor(world: ListenWorld, hub: () => NotificationHub) {
    this.#world = world;
    this.hub = hub;
  }

  run(sql: string): void {
    if (this.sent !== undefined) throw new Error('one text at a time');
    this.sent = sql;
  }

  rest(): void {
    this.stop();
  }

  stop(): void {
    if (this.connected) this.#world.loseSaid(this);
    this.connected = false;
    this.retires = false;
    this.sent = undefined;
    this.said.length = 0;
    this.listens.clear();
  }

  /** PostgreSQL runs what it was sent: all of it commits at once. */
  runs(): void {
    const sql = this.sent;
    if (sql === undefined) return;
    this.sent = undefined;
    this.connected = true;
    for (const statement of sql.split(';')) {
      const channel = /"(.*)"/.exec(statement)?.[1];
      if (channel === undefined) continue;
      if (statement.startsWith('LISTEN')) this.listens.add(channel);
      else this.listens.delete(channel);
    }
    this.said.push({ kind: 'answer' });
  }

  arrives(): void {
    const next = this.said.shift();
    if (next === undefined) return;
    if (next.kind === 'answer') this.hub().answered(undefined);
    else {
      const frame = frameOf(next.of);
      this.hub().onNotification(frame, 0, frame.length);
    }
  }
}

function frameOf({ channel, at }: Notification): Buffer {
  const body = Buffer.from(`\0\0\0\0${channel}\0${at}\0`, 'latin1');
  const head = Buffer.alloc(5);
  head.write('A');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

type Action = { readonly kind: 'listen' | 'unlisten'; readonly channel: string | null };

type Statement = Action | { readonly kind: 'begin' | 'commit' | 'rollback' | 'savepoint' | 'rollback to' | 'error' };

/** What a transaction does when it commits, and when it was asked to, in the order of commits. */
type Intent = Action & { readonly asked: number };

interface Transaction {
  /** Since when, in the order of commits. */
  readonly since: number;
  actions: Intent[];
  /** How many actions there were at each savepoint. */
  readonly savepoints: number[];
  failed: boolean;
}

/** One client, with a server of its own while it is in a transaction. */
class Client {
  readonly name: string;
  readonly #world: ListenWorld;
  readonly listening: ClientListening;
  /** What it listens on by PostgreSQL's rules. */
  readonly listens = new Set<string>();
  /** The same, as far as it has been told. */
  readonly sure = new Set<string>();
  #transaction: Transaction | undefined;
  /** What it has asked for, and how far that is. */
  #doing: { readonly statement: Statement; stage: 'waits' | 'sent' | 'run'; readonly since: number } | undefined;
  /** What its own server has to say at the end of its lease. */
  #left: Action[] = [];
  #refused = false;
  /** What it must still be told. */
  readonly due = new Map<number, Notification>();
  readonly #heard = new Set<number>();
  #lastHeard = 0;
  gaps = 0;
  gone = false;

  constructor(name: string, world: ListenWorld) {
    this.name = name;
    this.#world = world;
    this.listening = new ClientListening({
      hub: () => world.hub,
      onNotified: () => this.tell(),
      goOn: () => this.#goOn(),
      fail: (error) => world.wrong(`${name} is cut off: ${error.message}`),
    });
  }

  get busy(): boolean {
    return this.#doing !== undefined;
  }

  get inTransaction(): boolean {
    return this.#transaction !== undefined;
  }

  /** Asks for something. */
  says(statement: Statement): void {
    this.#world.note(`${this.name} ${statement.kind} ${'channel' in statement ? (statement.channel ?? '*') : ''}`);
    this.#doing = { statement, stage: 'waits', since: this.#world.now };
    if (statement.kind === 'begin')
      this.#transaction = { since: this.#world.now, actions: [], savepoints: [], failed: false };
    // From here on it depends on who is first.
    if (statement.kind === 'unlisten' && this.#transaction === undefined) this.#unsure(statement.channel);
    this.#goOn();
  }

  #unsure(channel: string | null): void {
    for (const each of channel === null ? [...this.sure] : [channel]) this.sure.delete(each);
  }

  #goOn(): void {
    const doing = this.#doing;
    if (doing?.stage !== 'waits') return;
    this.listening.beforeFeed();
    const ready = this.#ready(doing.statement);
    if (ready === 'wait') return;
    doing.stage = 'sent';
    this.listening.afterFeed(1);
    this.#refused = ready !== 'ready';
    if (!this.#refused && this.#commits(doing.statement)) this.listening.onCommitSent();
  }

  #commits({ kind }: Statement): boolean {
    return kind === 'commit' && this.#transaction?.actions.some((action) => action.kind === 'listen') === true;
  }

  /** What the channel asks before it sends the statement. */
  #ready(statement: Statement): ReturnType<ClientListening['ready']> {
    const uses: ChannelUse[] = [];
    if (statement.kind === 'listen') uses.push({ kind: 'listen', channel: statement.channel });
    else if (statement.kind === 'unlisten') {
      if (this.#transaction?.failed === true || this.listening.channels.length === 0) return 'ready';
      uses.push({ kind: 'unlisten', channel: statement.channel });
    } else if (!this.#commits(statement)) return 'ready';
    return this.listening.ready(uses);
  }

  /** Its server runs the statement, or answers it, whichever is next. */
  goesOn(): void {
    const doing = this.#doing;
    if (doing?.stage === 'sent') {
      doing.stage = 'run';
      this.#runs(doing.statement);
    } else if (doing?.stage === 'run') this.#answered(doing.statement);
  }

  #runs(statement: Statement): void {
    const transaction = this.#transaction;
    if (this.#refused) {
      if (transaction !== undefined) transaction.failed = true;
      return;
    }
    switch (statement.kind) {
      case 'listen':
      case 'unlisten':
        if (transaction === undefined) this.#commit([statement]);
        else if (!transaction.failed) transaction.actions.push({ ...statement, asked: this.#doing?.since ?? 0 });
        break;
      case 'savepoint':
        if (transaction !== undefined && !transaction.failed) transaction.savepoints.push(transaction.actions.length);
        break;
      case 'rollback to': {
        const kept = transaction?.savepoints.at(-1);
        if (transaction === undefined) break;
        if (kept === undefined) transaction.failed = true;
        else {
          transaction.actions.length = kept;
          transaction.failed = false;
        }
        break;
      }
      case 'error':
        if (transaction !== undefined) transaction.failed = true;
        break;
      case 'commit':
        if (transaction !== undefined && !transaction.failed) {
          this.#commit(transaction.actions);
          // What is committed behind an UNLISTEN is not the client's any more; what was before it is.
          for (const { kind, channel, asked } of transaction.actions) {
            if (kind !== 'unlisten') continue;
            for (const [at, due] of this.due)
              if (at > asked && (channel === null || due.channel === channel)) this.due.delete(at);
          }
        }
        break;
      case 'begin':
      case 'rollback':
        break;
      default:
        statement satisfies never;
    }
  }

  #commit(actions: readonly Action[]): void {
    this.#left = [...actions];
    for (const { kind, channel } of actions) {
      if (kind === 'listen') this.listens.add(channel ?? '');
      else if (channel === null) this.listens.clear();
      else this.listens.delete(channel);
    }
    for (const channel of this.sure) if (!this.listens.has(channel)) this.sure.delete(channel);
  }

  /** The answer has come, and with it, before anything is told, what the look at its server shows. */
  #answered({ kind }: Statement): void {
    if (this.#transaction !== undefined && kind !== 'commit' && kind !== 'rollback') {
      this.#doing = undefined;
      return;
    }
    this.#transaction = undefined;
    const found = new Set<string>();
    const unlistened: (string | null)[] = [];
    for (const { kind: how, channel } of this.#left) {
      if (how === 'listen') found.add(channel ?? '');
      else {
        unlistened.push(channel);
        if (channel === null) found.clear();
        else found.delete(channel);
      }
    }
    this.#left = [];
    const unexpected = this.listening.onChannels([...found], unlistened);
    if (unexpected.length > 0) this.#world.wrong(`${this.name} listens on ${unexpected.join()} unheard of`);
    this.listening.settle();
    this.#doing = undefined;
    for (const channel of this.listens) this.sure.add(channel);
    const told = new Set(this.listening.channels);
    for (const channel of this.listens)
      if (!told.has(channel)) this.#world.wrong(`${this.name} is not told of ${channel}`);
    for (const channel of told) if (!this.listens.has(channel)) this.#world.wrong(`${this.name} is told of ${channel}`);
    this.tell();
  }

  /** Whether a notification on the channel that is committed now must be told, may be, or must not. */
  concerns(channel: string): 'must' | 'may' | 'no' {
    if (this.sure.has(channel)) return 'must';
    if (this.listens.has(channel)) return 'may';
    const doing = this.#doing;
    // What its statement does has not been done yet, or has just been.
    if (doing === undefined) return 'no';
    const acts = [doing.statement, ...(this.#transaction?.actions ?? [])];
    const commits = this.#transaction === undefined || doing.statement.kind === 'commit';
    const listens = acts.some((act) => act.kind === 'listen' && act.channel === channel);
    return commits && listens && doing.stage !== 'run' ? 'may' : 'no';
  }

  /** Between its batches it is told what there is, as far as it reads. */
  tell(): void {
    // What waits to be sent has not begun.
    const between = this.#doing === undefined || this.#doing.stage === 'waits';
    if (!between || this.inTransaction || this.gone) return;
    let room = this.#world.random.oneIn(4) ? this.#world.random.below(3) : 1_000;
    this.listening.tell(
      () => room-- > 0,
      (frame) => this.#hears(frame),
    );
  }

  #hears(frame: Buffer): void {
    if (frame[0] !== 0x41) {
      this.gaps++;
      this.#world.gaps++;
      // What was lost before is explained.
      for (const [at, due] of this.due) if (due.lostBy !== undefined) this.due.delete(at);
      if (this.gaps > this.#world.losses) this.#world.wrong(`${this.name} is told of more gaps than there were`);
      return;
    }
    const at = Number(frame.toString('latin1', 11, frame.length - 1));
    const notification = this.#world.notifications.get(at);
    if (notification === undefined) {
      this.#world.wrong(`${this.name} hears what nobody has sent`);
      return;
    }
    this.#world.told++;
    if (this.#heard.has(at)) this.#world.wrong(`${this.name} hears ${at} twice`);
    if (at < this.#lastHeard) this.#world.wrong(`${this.name} hears ${at} behind ${this.#lastHeard}`);
    if (this.#world.forbidden.get(at)?.has(this) === true)
      this.#world.wrong(`${this.name} hears ${at}, and did not listen`);
    this.#lastHeard = at;
    this.#heard.add(at);
    this.due.delete(at);
  }

  leaves(): void {
    this.#world.note(`${this.name} leaves`);
    this.gone = true;
    this.listening.end();
  }
}

export class ListenWorld {
  readonly random: Random;
  readonly diary: string[] = [];
  readonly notifications = new Map<number, Notification>();
  /** Who must not be told of a notification. */
  readonly forbidden = new Map<number, ReadonlySet<Client>>();
  readonly memory = new NotificationMemory(1_000_000, 10_000_000);
  readonly hub: NotificationHub;
  told = 0;
  gaps = 0;
  losses = 0;
  now = 0;
  readonly #backend: Backend;
  #clients: Client[] = [];
  #later: (() => void)[] = [];
  #made = 0;
  #problem: string | undefined;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.#backend = new Backend(this, () => this.hub);
    const pool = { sweep: () => {}, pause: () => {}, resume: () => {} } as unknown as Pool;
    let ms = 0;
    this.hub = new NotificationHub(pool, {
      memory: this.memory,
      clock: { now: () => (ms += this.random.below(3_000)), wallMs: () => 0 },
      events: { listenerLost: () => {}, listenerBack: () => {} },
      listener: () => this.#backend,
      later: (_ms, go) => {
        this.#later.push(go);
        return () => {
          this.#later = this.#later.filter((each) => each !== go);
        };
      },
    });
  }

  note(line: string): void {
    this.diary.push(`${this.now}: ${line}`);
    if (this.diary.length > 200) this.diary.shift();
  }

  wrong(problem: string): void {
    this.#problem ??= problem;
  }

  /** @returns what went wrong */
  play(steps: number): string | undefined {
    for (let i = 0; i < steps && this.#problem === undefined; i++) this.#step();
    this.#quiet();
    for (const client of this.#clients) {
      for (const { at, channel, lostBy } of client.due.values()) {
        this.wrong(`${client.name} has not heard ${at} on ${channel}${lostBy === undefined ? '' : ', nor of the gap'}`);
      }
    }
    for (const client of this.#clients) client.leaves();
    for (let i = 0; i < 20; i++) this.#hubGoesOn();
    if (this.hub.size !== 0 || this.#backend.listens.size !== 0)
      this.wrong('somebody is listened for, and nobody is there');
    if (this.memory.bytes !== 0) this.wrong(`${this.memory.bytes} bytes are kept for nobody`);
    return this.#problem;
  }

  #step(): void {
    const { random } = this;
    const client = this.#clients.length > 0 ? random.pick(this.#clients) : undefined;
    random.weighted<() => void>([
      [this.#clients.length < clientsMax ? 3 : 0, () => this.#clients.push(new Client(`client ${++this.#made}`, this))],
      [12, () => this.#notify(random.pick(channels))],
      [client !== undefined && !client.busy ? 20 : 0, () => client?.says(this.#statement(client))],
      [client?.busy === true ? 20 : 0, () => client?.goesOn()],
      [client !== undefined ? 3 : 0, () => client?.tell()],
      [client !== undefined ? 2 : 0, () => this.#leave(client)],
      [12, () => this.#backend.runs()],
      [14, () => this.#backend.arrives()],
      [1, () => this.#lose()],
      [4, () => this.#later.shift()?.()],
      [1, () => this.#retire()],
    ])();
  }

  #leave(client: Client | undefined): void {
    client?.leaves();
    this.#clients = this.#clients.filter((each) => each !== client);
  }

  #statement(client: Client): Statement {
    const { random } = this;
    const channel = random.pick(channels);
    const usual: (readonly [number, Statement])[] = [
      [5, { kind: 'listen', channel }],
      [3, { kind: 'unlisten', channel }],
      [1, { kind: 'unlisten', channel: null }],
    ];
    if (!client.inTransaction) return random.weighted<Statement>([...usual, [4, { kind: 'begin' }]]);
    return random.weighted<Statement>([
      ...usual,
      [4, { kind: 'commit' }],
      [2, { kind: 'rollback' }],
      [2, { kind: 'savepoint' }],
      [2, { kind: 'rollback to' }],
      [1, { kind: 'error' }],
    ]);
  }

  #notify(channel: string): void {
    const notification: Notification = { at: ++this.now, channel, lostBy: undefined };
    this.note(`notify ${channel}`);
    this.notifications.set(notification.at, notification);
    const forbidden = new Set<Client>();
    for (const client of this.#clients) {
      const concerned = client.concerns(channel);
      if (concerned === 'must') client.due.set(notification.at, notification);
      else if (concerned === 'no') forbidden.add(client);
    }
    this.forbidden.set(notification.at, forbidden);
    if (this.#backend.connected && this.#backend.listens.has(channel))
      this.#backend.said.push({ kind: 'notification', of: notification });
    else if (!this.#backend.connected || this.hub.hasGap) notification.lostBy = this.losses;
  }

  /** What a backend has said and nobody has read is gone with it. */
  loseSaid(backend: Backend): void {
    for (const said of backend.said) if (said.kind === 'notification') said.of.lostBy = this.losses;
  }

  #lose(): void {
    // Also one that was not made at all.
    if (!this.#backend.connected && this.#backend.sent === undefined) return;
    this.note('the server that listens is lost');
    this.losses++;
    this.#backend.stop();
    this.hub.failed(new PoolerError('lost', { sqlstate: '08006' }));
  }

  #retire(): void {
    if (!this.#backend.connected) return;
    this.losses++;
    this.note('the server that listens is to be replaced');
    this.#backend.retires = true;
    this.hub.sweep();
  }

  #hubGoesOn(): void {
    this.#later.shift()?.();
    this.hub.sweep();
    this.#backend.runs();
    while (this.#backend.said.length > 0) this.#backend.arrives();
  }

  /** Everything that is under way comes to its end. */
  #quiet(): void {
    for (let i = 0; i < 60; i++) {
      this.#hubGoesOn();
      for (const client of this.#clients) {
        if (client.busy) client.goesOn();
        else if (client.inTransaction) client.says({ kind: this.random.oneIn(2) ? 'commit' : 'rollback' });
        else client.tell();
      }
    }
  }
}
