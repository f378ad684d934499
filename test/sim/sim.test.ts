// Many clients on few servers in memory, with faults, under one seed: every reply reaches who asked, in order, and every lease returns.

import { serialize } from 'pg-protocol';
import t from 'tap';
import { commandComplete, dataRow, readyForQuery, rowDescription, TransactionStatus } from '../../lib/wire/index.js';
import { type ClientRig, RelayRig, type ServerRig } from '../support/relay-rig.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 150_000);
const clientsCount = 12;
const serversCount = 3;
/** Steps of one world; then it is wound up and looked at, and the next begins. */
const worldSteps = 3_000;

/** mulberry32: small, seeded, good enough to choose with. */
function random(from: number): (below: number) => number {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What no client may ever see: a server says it out of turn. */
const nonsense = Buffer.concat([
  rowDescription([{ name: 'evil', typeOid: 25, typeSize: -1 }]),
  dataRow(['evil']),
  commandComplete('SELECT 1'),
  readyForQuery(TransactionStatus.Idle),
]);

class Actor {
  readonly rig: ClientRig;
  readonly #name: string;
  readonly #draw: (below: number) => number;
  #asked = 0;
  /** Bytes it has decided to say. */
  #plan: Buffer = Buffer.alloc(0);
  /** Replies that end a batch: asked for, and come. */
  #batches = 0;
  readies = 0;
  #lastToken = -1;
  #inTransaction = false;
  /** Waits for all its answers before it goes on. */
  #patient = false;
  answers = 0;
  readonly problems: string[] = [];

  constructor(rig: ClientRig, draw: (below: number) => number) {
    this.rig = rig;
    this.#name = rig.name;
    this.#draw = draw;
  }

  get idle(): boolean {
    return this.#plan.length === 0 && this.readies === this.#batches;
  }

  #token(): string {
    return `${this.#name}q${this.#asked++}`;
  }

  /** Says some bytes of what it means to say, or thinks of something. */
  act(): void {
    if (this.rig.closed !== undefined) return;
    if (this.#plan.length === 0) {
      if (this.#patient && this.readies < this.#batches) return;
      this.#patient = this.#draw(2) === 0;
      this.#plan = this.#batch();
    }
    const most = this.#draw(3) === 0 ? 1 + this.#draw(20) : this.#plan.length;
    const said = this.#plan.subarray(0, most);
    this.#plan = this.#plan.subarray(most);
    this.rig.say(Buffer.from(said));
  }

  /** Ends its transaction, so that all can be wound up. */
  finish(): void {
    if (this.rig.closed !== undefined) return;
    this.rig.say(Buffer.from(this.#plan));
    this.#plan = Buffer.alloc(0);
    this.#batches += 2;
    this.rig.say(serialize.sync(), serialize.query('rollback'));
  }

  #simple(text: string): Buffer {
    this.#batches++;
    return serialize.query(text);
  }

  #extended(...messages: Buffer[]): Buffer {
    this.#batches++;
    return Buffer.concat([...messages, serialize.sync()]);
  }

  #named(): Buffer {
    const name = ['', 'a', 'b', 'c', 'd', 'e', 'f'][this.#draw(7)] as string;
    const parse =
      this.#draw(2) === 0 ? [serialize.parse({ name, text: this.#draw(4) === 0 ? 'rows 2 x' : 'echo $1' })] : [];
    const close = this.#draw(8) === 0 ? [serialize.close({ type: 'S', name })] : [];
    return Buffer.concat([
      ...close,
      ...parse,
      serialize.bind({ statement: name, values: [this.#token()] }),
      serialize.execute(),
    ]);
  }

  #batch(): Buffer {
    const draw = this.#draw;
    switch (draw(16)) {
      case 0:
        return this.#simple(`rows ${1 + draw(30)} ${this.#token()}`);
      case 1:
        return this.#simple(`fail ${this.#token()}`);
      case 2:
        this.#inTransaction = !this.#inTransaction;
        return this.#simple(this.#inTransaction ? 'begin' : draw(2) === 0 ? 'commit' : 'rollback');
      case 3:
        return Buffer.concat([this.#simple(`leak ${this.#name}`), this.#simple('leaked')]);
      case 4:
        return this.#simple('leaked');
      case 5:
        return Buffer.concat([this.#simple(`set timezone = 'Zone/${this.#name}'`), this.#simple('show timezone')]);
      case 6:
        return this.#simple('show timezone');
      case 7:
        return this.#simple(`copyout ${1 + draw(5)} ${this.#token()}`);
      case 8:
        return Buffer.concat([
          this.#simple(`copyin ${this.#token()}`),
          serialize.copyData(Buffer.alloc(draw(5_000), 'x')),
          serialize.copyDone(),
        ]);
      case 9:
        return Buffer.concat([
          this.#simple(`copybad 1 ${this.#token()}`),
          serialize.copyData(Buffer.alloc(9)),
          serialize.copyFail('late'),
        ]);
      case 10:
        return this.#extended(
          this.#named(),
          serialize.parse({ text: 'fail x' }),
          serialize.bind({}),
          serialize.execute(),
          this.#named(),
        );
      case 11:
        return this.#simple(draw(2) === 0 ? 'discard all' : 'deallocate all');
      case 12:
        return this.#extended(this.#named(), this.#named(), this.#named());
      case 13:
        return Buffer.concat([
          this.#extended(this.#named()),
          this.#extended(this.#named()),
          this.#simple(`select ${this.#token()}`),
        ]);
      default:
        return this.#simple(`select ${this.#token()}`);
    }
  }

  /** Reads what has come and judges it. */
  read(): void {
    for (const text of this.rig.read()) {
      if (text.startsWith('ReadyForQuery')) {
        this.readies++;
        if (this.readies > this.#batches) this.problems.push('an answer to nothing');
      }
      // Errors of its own statements and rows name who asked, and when.
      const token = /\b(c\d+)q(\d+)/.exec(text);
      if (token !== null) {
        const number = Number(token[2]);
        if (token[1] !== this.#name) this.problems.push(`the reply of another: ${text}`);
        // The rows of one query have one token.
        if (number < this.#lastToken) this.problems.push(`out of order: ${text} after ${this.#lastToken}`);
        this.#lastToken = number;
        this.answers++;
      } else if (text.startsWith('DataRow') && !this.#isOwn(text.slice(8))) {
        this.problems.push(`a row of nobody's: ${text}`);
      }
      const foreign = /\b(c\d+)\b/.exec(text);
      if (foreign !== null && foreign[1] !== this.#name) this.problems.push(`the name of another: ${text}`);
    }
  }

  #isOwn(value: string): boolean {
    return ['-', 'UTC', this.#name, `Zone/${this.#name}`, 'x.0', 'x.1', 'NULL'].includes(value);
  }
}

interface Tally {
  answers: number;
  killed: number;
  left: number;
  doubts: number;
}

function world(number: number, tally: Tally): string[] {
  const draw = random(seed * 1_000_003 + number);
  const rig = new RelayRig({ servers: serversCount, statementsMax: 3, choose: draw, limits: { statementsMax: 100 } });
  const problems: string[] = [];
  const actors: Actor[] = [];
  const join = (): Actor => new Actor(rig.addClient(), draw);
  for (let i = 0; i < clientsCount; i++) actors.push(join());
  /** Servers that do nothing until this step. */
  const slowUntil = new Map<ServerRig, number>();
  const faulty = number % 4 !== 0;

  for (let step = 0; step < worldSteps; step++) {
    const at = draw(actors.length);
    const actor = actors[at] as Actor;
    actor.act();
    const server = rig.servers[draw(rig.servers.length)] as ServerRig;
    if (step >= (slowUntil.get(server) ?? 0)) {
      server.deliver([1, 30, 500, 100_000][draw(4)]);
      server.answer([1, 30, 500, 100_000][draw(4)]);
    }
    actor.read();
    if (faulty && draw(150) === 0) {
      switch (draw(5)) {
        case 0:
          tally.left++;
          actor.rig.close('left');
          break;
        case 1:
          tally.killed++;
          server.close();
          break;
        case 2:
          server.model.terminate();
          break;
        case 3:
          slowUntil.set(server, step + 200);
          break;
        default:
          // All it owes has come or comes now, and more in the same piece.
          if (
            server.state !== 'closed' &&
            server.toServer.length === 0 &&
            !server.model.midMessage &&
            server.channel.complete &&
            !server.model.copyingIn
          ) {
            server.fromServer.writeOwned(nonsense);
            server.answer();
          }
      }
    }
    for (const doubt of server.doubts.splice(0)) {
      tally.doubts++;
      // Nothing but that nonsense is a reason.
      if (!faulty || !/of type 84|nobody asked|client that has left/.test(doubt))
        problems.push(`${server.name}: ${doubt}`);
    }
    if (actor.rig.closed !== undefined) {
      if (!faulty) problems.push(`${actor.rig.name}: ${actor.rig.closed}`);
      actor.read();
      problems.push(...actor.problems);
      tally.answers += actor.answers;
      actors[at] = join();
    }
  }

  for (let round = 0; round < 3; round++) {
    if (round === 1) for (const actor of actors) actor.finish();
    rig.settle();
  }
  for (const actor of actors) {
    actor.read();
    problems.push(...actor.problems);
    tally.answers += actor.answers;
    if (actor.rig.closed === undefined && !actor.idle) problems.push(`${actor.rig.name} has not got all its answers`);
  }
  if (rig.leases !== 0) problems.push(`${rig.leases} leases did not return`);
  if (rig.waiting.length !== 0) problems.push('somebody still waits');
  for (const server of rig.servers) {
    if (!server.channel.quiet || server.state !== 'idle') problems.push(`${server.name} is not idle`);
    if (server.doubts.length > 0) problems.push(`${server.name}: ${server.doubts[0]}`);
  }
  for (const client of rig.clients) client.close('end');
  for (const server of [...rig.servers]) server.close();
  if (rig.registry.size !== 0) problems.push(`${rig.registry.size} statements are held by nobody`);
  return problems;
}

t.test(`no reply goes astray and no lease is lost, whatever breaks (SEED=${seed} STEPS=${steps})`, async (t) => {
  t.plan(3);
  const tally: Tally = { answers: 0, killed: 0, left: 0, doubts: 0 };
  const problems: string[] = [];
  for (let number = 0; number * worldSteps < steps; number++) {
    problems.push(...world(number, tally).map((problem) => `world ${number}: ${problem}`));
  }
  t.same(problems.slice(0, 10), []);
  t.ok(tally.answers > steps / 8, `${tally.answers} answers were judged`);
  t.ok(
    tally.killed > 0 && tally.left > 0 && tally.doubts > 0,
    `${tally.killed} servers died, ${tally.left} clients left, ${tally.doubts} doubts`,
  );
});
