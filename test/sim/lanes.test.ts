// Many readers on a few shared servers, in memory, under one seed: answers come in pieces, late, as errors or never; servers stall and are
// lost, clients cancel and leave. Each answer reaches who asked, whole and once; what has not been answered is handed back to be asked again.

import { serialize } from 'pg-protocol';
import t from 'tap';
import { footprint } from '../../lib/session/index.js';
import { Lane, Reader } from '../support/lane-rig.js';
import { backendTexts, wholeFramesEnd } from '../support/message-texts.js';
import { ModelServer } from '../support/model-server.js';
import { Random } from '../support/random.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 1_000_000);
/** Steps of one world; then all that is open is answered, and the next begins. */
const worldSteps = 5_000;
const lanesCount = 3;
const readersCount = 14;
const depthMax = 8;

/** A server that several share, with what it was asked and has to say on its way. */
class Peer {
  readonly lane: Lane;
  readonly #model = new ModelServer((bytes) => {
    this.#answers = Buffer.concat([this.#answers, bytes]);
  });
  #answers: Buffer = Buffer.alloc(0);

  constructor(of?: Lane) {
    this.lane = new Lane(of);
  }

  get silent(): boolean {
    return this.#answers.length === 0;
  }

  hear(): void {
    this.#model.feed(this.lane.toServer.takeLog());
  }

  /** Says some of it. */
  speak(most: number): void {
    const bytes = Buffer.from(this.#answers.subarray(0, most));
    this.#answers = this.#answers.subarray(bytes.length);
    if (bytes.length > 0) this.lane.answer(bytes);
  }
}

class Asker extends Reader {
  #number = 0;
  /** What it waits for. */
  word: string | undefined;
  /** It has to be asked once more. */
  again = false;
  answered = 0;
  returned = 0;
  lost = 0;
  readonly problems: string[] = [];

  constructor(name: string, lane: Lane) {
    super(name, lane);
    const statement = lane.registry.hold(Buffer.from('echo $1\0\0\0'), () => footprint({ read: lane.shape }));
    this.channel.statements.set('p', statement);
  }

  /** Asks for a new word, or for the one it could not have: that is answered then, as on a server of its own. */
  askOn(lane: Lane, random: Random): void {
    this.lane = lane;
    const fails = this.word === undefined && random.oneIn(5);
    this.word ??= `${this.name}q${this.#number++}`;
    const sqlstate = random.pick(['22012', '25006', '57014']);
    if (fails && sqlstate === '57014') lane.server.cancelSent = random.oneIn(2);
    const rows = random.below(fails ? 2 : 4);
    const text = `rows ${rows} ${this.word}${fails ? ` then ${sqlstate}` : ''}`;
    const { query, parse, bind, execute, describe, sync } = serialize;
    const asked = [
      [query(text)],
      [parse({ text }), bind(), describe({ type: 'P' }), execute(), sync()],
      [bind({ statement: 'p', values: [this.word] }), execute(), sync()],
    ];
    this.again = false;
    this.ask(...random.pick(asked));
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
    this.again = true;
    this.returned++;
    this.#judge(false);
    this.read = undefined;
  }

  override onReadLost(): void {
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
  const random = new Random(seed * 1_000_003 + number);
  const first = new Peer();
  const peers = [first, ...Array.from({ length: lanesCount - 1 }, () => new Peer(first.lane))];
  const problems: string[] = [];
  let named = 0;
  const askers = Array.from({ length: readersCount }, () => new Asker(`r${named++}`, first.lane));

  const count = (asker: Asker): void => {
    problems.push(...asker.problems);
    tally.answered += asker.answered;
    tally.returned += asker.returned;
    tally.lost += asker.lost;
  };
  const lose = (peer: Peer): void => {
    const head = peer.lane.server.firstRead;
    const begun = head?.started && !head.dropped ? head : undefined;
    for (const read of peer.lane.server.takeReads('first')) if (read !== begun) (read.reader as Asker).onReadReturned();
    if (begun !== undefined) (begun.reader as Asker).onReadLost();
    peers[peers.indexOf(peer)] = new Peer(first.lane);
  };

  for (let step = 0; step < worldSteps; step++) {
    const peer = random.pick(peers);
    const { server } = peer.lane;
    const what = random.below(100);
    if (what < 45) {
      const asker = random.pick(askers);
      if (asker.read === undefined && server.reads < depthMax) asker.askOn(peer.lane, random);
      peer.hear();
    } else if (what < 96) peer.speak(random.pick([1, 7, 60, 10_000]));
    else if (what === 96) {
      // Stalled: all but the first go elsewhere.
      for (const read of server.takeReads('second')) (read.reader as Asker).onReadReturned();
    } else if (what < 99) {
      const at = random.below(askers.length);
      const asker = askers[at] as Asker;
      if (asker.read !== undefined) asker.lane.server.dropRead(asker.read);
      tally.left++;
      count(asker);
      askers[at] = new Asker(`r${named++}`, first.lane);
    } else lose(peer);
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
    for (const asker of askers) if (asker.again) asker.askOn(random.pick(peers).lane, random);
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
