// Many readers on a few shared servers, in memory, under one seed: answers come in pieces, late, as errors or never; servers stall and are
// lost, clients cancel and leave. Each answer reaches who asked, whole and once; what has not been answered is handed back to be asked again.

import { serialize } from 'pg-protocol';
import t from 'tap';
import { footprint } from '../../lib/session/index.js';
import {
  bindCompleteMessage,
  commandComplete,
  dataRow,
  errorResponse,
  parseCompleteMessage,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from '../../lib/wire/index.js';
import { Lane, Reader } from '../support/lane-rig.js';
import { backendTexts, wholeFramesEnd } from '../support/message-texts.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 1_000_000);
/** Steps of one world; then all that is open is answered, and the next begins. */
const worldSteps = 5_000;
const lanesCount = 3;
const readersCount = 14;
const depthMax = 8;

/** xorshift32: small, seeded, good enough to choose with. */
function random(from: number): (below: number) => number {
  let state = from | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const idle = readyForQuery(TransactionStatus.Idle);
const description = rowDescription([{ name: 'c', typeOid: 25, typeSize: -1 }]);

/** PostgreSQL, as far as reads go: answers each message, in order, with the word that was asked for. */
class Peer {
  readonly lane: Lane;
  readonly #draw: (below: number) => number;
  readonly #names = new Map<string, string>();
  #asked = Buffer.alloc(0);
  /** What it will say. */
  #answers = Buffer.alloc(0);
  /** An error makes it skip what comes before the next Sync. */
  #skips = false;
  #bound = '';
  /** Words that came, in order. */
  readonly words: string[] = [];

  constructor(of: Lane | undefined, draw: (below: number) => number) {
    this.lane = new Lane(of);
    this.#draw = draw;
  }

  get silent(): boolean {
    return this.#answers.length === 0;
  }

  /** Reads what has been sent to it. */
  hear(): void {
    this.#asked = Buffer.concat([this.#asked, this.lane.toServer.takeLog()]);
    while (this.#asked.length >= 5) {
      const end = 1 + this.#asked.readInt32BE(1);
      if (this.#asked.length < end) return;
      this.#obey(this.#asked.toString('latin1', 0, 1), this.#asked.subarray(5, end));
      this.#asked = this.#asked.subarray(end);
    }
  }

  /** Says some of it. */
  speak(most: number): void {
    const bytes = Buffer.from(this.#answers.subarray(0, most));
    this.#answers = this.#answers.subarray(bytes.length);
    if (bytes.length > 0) this.lane.answer(bytes);
  }

  #say(...frames: Buffer[]): void {
    this.#answers = Buffer.concat([this.#answers, ...frames]);
  }

  #obey(tag: string, body: Buffer): void {
    if (tag === 'S') {
      this.#skips = false;
      this.#say(idle);
    } else if (this.#skips) return;
    else if (tag === 'Q') {
      this.#run(body.toString('latin1', 0, body.length - 1), true);
      this.#skips = false;
      this.#say(idle);
    } else if (tag === 'P') {
      const [name = '', text = ''] = body.toString('latin1').split('\0');
      this.#names.set(name, text);
      this.#say(parseCompleteMessage);
    } else if (tag === 'B') {
      const [, name = ''] = body.toString('latin1').split('\0');
      const word = /r\d+q\d+/.exec(body.toString('latin1'))?.[0];
      this.#bound = `${this.#names.get(name) ?? '?'} ${word ?? ''}`;
      this.#say(bindCompleteMessage);
    } else if (tag === 'D') this.#say(description);
    else if (tag === 'E') this.#run(this.#bound, false);
  }

  #run(text: string, simple: boolean): void {
    const word = /r\d+q\d+/.exec(text)?.[0] ?? text;
    this.words.push(word);
    const kind = this.#draw(24);
    const rowsCount = kind < 2 ? 0 : 1 + this.#draw(3);
    if (simple && kind !== 1) this.#say(description);
    for (let i = 0; kind > 1 && i < rowsCount; i++) this.#say(dataRow([word]));
    if (kind <= 2) {
      // What it says it could not do, before its rows or in the middle of them.
      const sqlstate = ['22012', '25006', '57014'][this.#draw(3)] as string;
      if (sqlstate === '57014') this.lane.server.cancelSent = this.#draw(2) === 0;
      this.#say(errorResponse({ severity: 'ERROR', sqlstate, message: word }));
      this.#skips = true;
    } else this.#say(commandComplete(`SELECT ${rowsCount}`));
  }
}

class Asker extends Reader {
  #number = 0;
  /** What it waits for. */
  word: string | undefined;
  #frames: Buffer[] = [];
  /** It has to be asked once more. */
  again = false;
  answered = 0;
  returned = 0;
  lost = 0;
  readonly problems: string[] = [];

  constructor(name: string, lane: Lane) {
    super(name, lane);
    const statement = lane.registry.hold(Buffer.from('select $1\0\0\0'), () => footprint({ read: lane.shape }));
    this.channel.statements.set('p', statement);
  }

  /** Asks for a new word, or for the one it could not have. */
  askOn(lane: Lane, draw: (below: number) => number): void {
    this.lane = lane;
    if (this.word === undefined) {
      this.word = `${this.name}q${this.#number++}`;
      const { query, parse, bind, execute, describe, sync } = serialize;
      const asked: Buffer[][] = [
        [query(`select '${this.word}'`)],
        [parse({ text: `select '${this.word}'` }), bind(), describe({ type: 'P' }), execute(), sync()],
        [bind({ statement: 'p', values: [this.word] }), execute(), sync()],
      ];
      this.#frames = asked[draw(asked.length)] as Buffer[];
    }
    this.again = false;
    this.ask(...this.#frames);
  }

  /** Looks at what has come: nothing but its own word, ended by one ReadyForQuery when it is done. */
  #judge(isDone: boolean): void {
    const log = this.received.takeLog();
    // One that is lost may end in the middle of a message.
    const texts = backendTexts(isDone || this.again ? log : log.subarray(0, wholeFramesEnd(log)));
    for (const text of texts) {
      const word = /r\d+q\d+/.exec(text)?.[0];
      if (word !== undefined && word !== this.word) this.problems.push(`${this.word} got ${text}`);
    }
    const ends = texts.filter((text) => text.startsWith('ReadyForQuery')).length;
    if (ends !== (isDone ? 1 : 0)) this.problems.push(`${this.word}: ${ends} ends: ${texts.join(', ')}`);
    if (isDone && !texts.some((text) => /^(CommandComplete|ErrorResponse)/.test(text)))
      this.problems.push(`${this.word}: no answer: ${texts.join(', ')}`);
    if (!isDone && this.again && texts.length > 0)
      this.problems.push(`${this.word} is to be asked again, behind ${texts}`);
  }

  #over(): void {
    this.word = undefined;
    this.read = undefined;
  }

  override onReadDone(): void {
    if (this.word === undefined) this.problems.push(`${this.name} was told twice`);
    this.#judge(true);
    this.answered++;
    this.#over();
  }

  override onReadReturned(): void {
    this.hand();
  }

  /** Its read is handed back. */
  hand(): void {
    this.again = true;
    this.returned++;
    this.#judge(false);
    this.read = undefined;
  }

  override onReadLost(): void {
    this.loseIt();
  }

  /** A part of the answer has come, and no more will. */
  loseIt(): void {
    this.#judge(false);
    this.lost++;
    this.#over();
  }
}

interface Tally {
  answered: number;
  returned: number;
  lost: number;
  left: number;
}

function world(number: number, tally: Tally): string[] {
  const draw = random(Math.imul(seed, 1_000_003) + number * 7919 + 17);
  const first = new Peer(undefined, draw);
  const peers = [first, ...Array.from({ length: lanesCount - 1 }, () => new Peer(first.lane, draw))];
  const problems: string[] = [];
  let named = 0;
  const askers = Array.from({ length: readersCount }, () => new Asker(`r${named++}`, first.lane));
  const some = <T>(list: readonly T[]): T => list[draw(list.length)] as T;

  const count = (asker: Asker): void => {
    problems.push(...asker.problems);
    tally.answered += asker.answered;
    tally.returned += asker.returned;
    tally.lost += asker.lost;
  };
  const lose = (peer: Peer): void => {
    const head = peer.lane.server.firstRead;
    const begun = head?.started && !head.dropped ? head : undefined;
    for (const read of peer.lane.server.takeReads('first')) if (read !== begun) (read.reader as Asker).hand();
    if (begun !== undefined) (begun.reader as Asker).loseIt();
    peers[peers.indexOf(peer)] = new Peer(first.lane, draw);
  };

  for (let step = 0; step < worldSteps; step++) {
    const peer = some(peers);
    const { server } = peer.lane;
    const what = draw(100);
    if (what < 45) {
      const asker = some(askers);
      if (asker.read === undefined && server.reads < depthMax) asker.askOn(peer.lane, draw);
      peer.hear();
    } else if (what < 96) peer.speak([1, 7, 60, 10_000][draw(4)] as number);
    else if (what === 96) {
      // Stalled: all but the first go elsewhere.
      for (const read of server.takeReads('second')) (read.reader as Asker).hand();
    } else if (what < 99) {
      const at = draw(askers.length);
      const asker = askers[at] as Asker;
      if (asker.read !== undefined) asker.lane.server.dropRead(asker.read);
      tally.left++;
      count(asker);
      askers[at] = new Asker(`r${named++}`, first.lane);
    } else if (draw(2) === 0) lose(peer);
    if (server.reads > depthMax) problems.push(`${server.reads} reads on one server`);
  }
  // All is answered in the end; who was handed back asks until it is.
  const isOpen = (): boolean =>
    askers.some(({ word }) => word !== undefined) || peers.some(({ lane }) => lane.server.reads > 0);
  for (let round = 0; round < 1_000 && isOpen(); round++) {
    for (const peer of peers) {
      peer.hear();
      peer.speak(1_000_000);
    }
    for (const asker of askers) if (asker.again) asker.askOn(some(peers).lane, draw);
  }
  for (const asker of askers) {
    count(asker);
    if (asker.word !== undefined) problems.push(`${asker.name} hangs on ${asker.word}`);
  }
  for (const { lane, silent } of peers) {
    if (!silent || lane.server.reads !== 0 || !lane.server.quiet) problems.push('a server is not quiet in the end');
    const odd = lane.diary.filter((text) => /doubt|ended|violates|lost/.test(text));
    problems.push(...odd);
  }
  return problems.map((problem) => `world ${number}: ${problem}`);
}

t.test(`${steps} steps from seed ${seed}: answers of shared servers reach who asked, whole and once`, async (t) => {
  const tally: Tally = { answered: 0, returned: 0, lost: 0, left: 0 };
  const worlds = Math.ceil(steps / worldSteps);
  const problems: string[] = [];
  for (let number = 0; number < worlds && problems.length < 10; number++) {
    problems.push(...world(number, tally));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(problems, []);
  t.comment(JSON.stringify(tally));
  t.ok(
    tally.answered > steps / 20 && tally.returned > steps / 500 && tally.lost > 0 && tally.left > steps / 500,
    'much of all',
  );
});
