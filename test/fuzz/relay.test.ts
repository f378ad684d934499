// A random client program, run on a model PostgreSQL directly and through the relay over changing servers, gets the same messages.

import fc from 'fast-check';
import { serialize } from 'pg-protocol/dist/index.js';
import t from 'tap';
import { Backend, Frontend, TransactionStatus } from '../../lib/wire/index.js';
import { backendTexts, frontendTexts } from '../support/message-texts.js';
import { ModelServer } from '../support/model-server.js';
import { type ClientRig, RelayRig } from '../support/relay-rig.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 1_500);

/** One thing a client does; what it is exactly may hang on where the direct run stands. */
interface Move {
  readonly what: (typeof whats)[number];
  readonly name: string;
  readonly portal: string;
  readonly text: number;
  readonly count: number;
}

const whats = [
  'query',
  'query',
  'parse',
  'parse',
  'bind',
  'bind',
  'execute',
  'execute',
  'describe',
  'describePortal',
  'close',
  'closePortal',
  'sync',
  'sync',
  'sync',
  'flush',
  'run',
  'run',
  'again',
  'again',
  'function',
  'copyData',
  'copyEnd',
  'copyFail',
  'wait',
  'discard',
] as const;

const move: fc.Arbitrary<Move> = fc.record({
  what: fc.constantFrom(...whats),
  name: fc.constantFrom('', '', 'a', 'b', 'c', 'd'),
  portal: fc.constantFrom('', '', '', 'p'),
  text: fc.nat(14),
  count: fc.nat(3),
});

/** Statements; with `n` in them when each run of one shall be told from another's. */
const texts = [
  'select x',
  'rows 3 y',
  'echo $1',
  'show timezone',
  'do z',
  'begin',
  'commit',
  'rollback',
  'fail f',
  'notice n',
  '',
  'nonsense',
  'copyin c',
  'copybad 2 d',
  'copyout 2 e',
] as const;
const simpleTexts = [
  ...texts,
  "set timezone = 'Asia/Tokyo'",
  "set timezone = 'Europe/Rome'",
  'select x; select y',
  'begin; do z; commit',
  'do a; fail b; do c',
  'copyin c; select y; copyin d',
  'leak mine',
] as const;

interface Program {
  /** Messages; `wait` lets everything be answered before the next. */
  readonly messages: (Buffer | 'wait')[];
  readonly expected: string[];
  readonly done: readonly string[];
}

/**
 * Runs the moves on a server of its own, where every message is answered at once, and leaves out what a client should
 * not do, or what weir documents to answer otherwise: a Parse inside a failed transaction it knows of.
 */
function direct(moves: readonly Move[]): Program {
  const replies: Buffer[] = [];
  let failed = false;
  let answered = false;
  const model = new ModelServer((bytes) => {
    replies.push(bytes);
    if (bytes[0] === Backend.ErrorResponse) failed = true;
    if (bytes[0] === Backend.ReadyForQuery) answered = true;
  });
  const messages: (Buffer | 'wait')[] = [];
  let copySynced = false;
  let dataLines = 0;
  let lateData = false;
  const say = (message: Buffer): void => {
    messages.push(message);
    const copying = model.copyingIn;
    answered = false;
    model.feed(message);
    // Without the end of its data only an error ends a COPY: a client says Sync when it has seen that.
    if (failed && copying && !model.copyingIn && message[0] === Frontend.CopyData) messages.push('wait');
    if (failed && answered) {
      // What an error took back is known to nobody before the error is: messages sent on regardless may go astray.
      failed = false;
      messages.push('wait');
    }
    if (model.copyingIn && !copying) {
      dataLines = 0;
      copySynced = false;
    }
  };
  const sync = (): void => {
    // Between the data of a COPY a Sync would make replies uncertain; before it, a client waits for CopyInResponse.
    if (model.copyingIn && (copySynced || dataLines > 0)) return;
    copySynced = model.copyingIn;
    say(serialize.sync());
    if (copySynced) messages.push('wait');
  };
  const parse = (name: string, text: string): void => {
    if (model.status === TransactionStatus.Failed) return;
    // Weir answers a name that is taken without a look at the text.
    if (name !== '' && model.statements.has(name) && text === 'nonsense') return;
    say(serialize.parse({ name, text }));
  };
  for (const { what, name, portal, text, count } of moves) {
    const chosen = texts[text % texts.length] as string;
    if (model.copyingIn && !/^(copy|sync|flush|wait)/.test(what)) continue;
    // Data comes late after a COPY that failed; before one that may begin, nobody sends any.
    if (what !== 'copyData' && what !== 'copyEnd' && what !== 'copyFail') lateData = false;
    else if (!model.copyingIn && !lateData) continue;
    if (model.copyingIn) lateData = true;
    switch (what) {
      case 'query':
        say(serialize.query(simpleTexts[(text * 4 + count) % simpleTexts.length] as string));
        break;
      case 'parse':
        parse(name, chosen);
        break;
      case 'bind':
        say(serialize.bind({ statement: name, portal, values: count > 1 ? ['v'.repeat(count > 2 ? 9_000 : 3)] : [] }));
        break;
      case 'execute':
        say(serialize.execute({ portal, rows: count }));
        break;
      case 'run':
        parse(name, chosen);
        if (model.copyingIn) break;
        say(serialize.bind({ statement: name, values: ['w'] }));
        say(serialize.execute());
        break;
      case 'again':
        say(serialize.bind({ statement: name, values: ['again'] }));
        say(serialize.execute());
        break;
      case 'describe':
        // As with Parse: the statement may have to be prepared for it.
        if (model.status !== TransactionStatus.Failed) say(serialize.describe({ type: 'S', name }));
        break;
      case 'describePortal':
        say(serialize.describe({ type: 'P', name: portal }));
        break;
      case 'close':
        say(serialize.close({ type: 'S', name }));
        break;
      case 'closePortal':
        say(serialize.close({ type: 'P', name: portal }));
        break;
      case 'sync':
        sync();
        break;
      case 'flush':
        say(serialize.flush());
        break;
      case 'function':
        say(Buffer.from('F\0\0\0\x08abcd', 'latin1'));
        break;
      case 'copyData':
        dataLines++;
        say(serialize.copyData(Buffer.from(`line ${dataLines}\n`.repeat(count === 3 ? 1_000 : 1))));
        break;
      case 'copyEnd':
        say(serialize.copyDone());
        // A query may go on with another COPY.
        dataLines = 0;
        copySynced = false;
        break;
      case 'copyFail':
        say(serialize.copyFail('given up'));
        break;
      case 'discard':
        say(serialize.query(count === 0 ? 'discard all' : count === 1 ? 'DEALLOCATE  ALL;' : ' Discard All '));
        break;
      case 'wait':
        messages.push('wait');
        break;
      default:
        what satisfies never;
    }
  }
  while (model.copyingIn) say(serialize.copyDone());
  say(serialize.sync());
  if (model.status !== TransactionStatus.Idle) say(serialize.query('rollback'));
  return { messages, expected: backendTexts(Buffer.concat(replies)), done: model.done };
}

/** Numbers from 0 up to but without `below`, in the order drawn. */
type Draw = (below: number) => number;

function drawing(from: readonly number[]): Draw {
  let i = 0;
  return (below) => (from[i++ % from.length] as number) % below;
}

/** Moves some bytes somewhere. */
function stir(rig: RelayRig, draw: Draw): void {
  for (let i = draw(4); i > 0; i--) {
    const server = rig.servers[draw(rig.servers.length)];
    const most = [1, 7, 100, 100_000][draw(4)] as number;
    if (draw(2) === 0) server?.deliver(most);
    else server?.answer(most);
  }
}

function through(
  rig: RelayRig,
  clients: readonly { readonly client: ClientRig; readonly program: Program }[],
  draw: Draw,
): void {
  const queues = clients.map(({ client, program }) => ({ client, left: [...program.messages] }));
  const able = (): typeof queues =>
    queues.filter(({ client, left }) => left.length > 0 && !(left[0] === 'wait' && client.waiting));
  while (queues.some(({ left }) => left.length > 0)) {
    // Who waits for a server cannot be answered before others go on.
    if (able().length === 0) rig.settle();
    const candidates = able();
    if (candidates.length === 0) throw new Error('nobody gets on');
    const { client, left } = candidates[draw(candidates.length)] as (typeof queues)[number];
    const message = left.shift();
    if (message === undefined) continue;
    if (message === 'wait') {
      rig.settle();
      continue;
    }
    if (draw(3) === 0) {
      for (let at = 0; at < message.length; ) {
        const piece = 1 + draw(Math.min(message.length, 3_000));
        client.say(message.subarray(at, at + piece));
        at += piece;
        stir(rig, draw);
      }
    } else {
      client.say(message);
    }
    stir(rig, draw);
  }
  rig.settle();
}

/** What was asked and what came, around the first difference. */
function explain(program: Program, found: readonly string[]): string {
  const { expected } = program;
  let at = 0;
  while (at < expected.length && expected[at] === found[at]) at++;
  const asked = program.messages.map((each) => (each === 'wait' ? 'wait' : frontendTexts(each)[0]?.slice(0, 60)));
  return `reply ${at} is ${found[at]?.slice(0, 100)} instead of ${expected[at]?.slice(0, 100)} in ${asked.join(' | ')}`;
}

const programs = fc.array(fc.array(move, { maxLength: 40, size: 'max' }), { minLength: 1, maxLength: 3 });
const numbers = fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 60, size: 'max' });

t.test(`through the relay clients get what they would get directly (SEED=${seed} STEPS=${steps})`, async (t) => {
  t.plan(2);
  let messages = 0;
  fc.assert(
    fc.property(
      programs,
      numbers,
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      (allMoves, random, servers, statementsMax) => {
        const draw = drawing(random);
        const rig = new RelayRig({
          servers,
          statementsMax,
          choose: draw,
          limits: { statementsMax: 100, inspectBytesMax: 60 },
        });
        const clients = allMoves.map((moves) => ({ client: rig.addClient(), program: direct(moves) }));
        through(rig, clients, draw);
        for (const { client, program } of clients) {
          const found = client.read();
          if (found.join('\n') !== program.expected.join('\n'))
            throw new Error(`${client.name}: ${explain(program, found)}; ${client.closed ?? ''}`);
          messages += found.length;
        }
        const carriedOut = rig.servers.flatMap((server) => server.model.done).length;
        if (carriedOut !== clients.reduce((sum, { program }) => sum + program.done.length, 0))
          throw new Error('something ran twice or never');
        if (rig.leases !== 0 || rig.waiting.length !== 0) throw new Error('a lease was not returned');
        for (const server of rig.servers) {
          if (!server.channel.quiet || server.channel.midMessage) throw new Error('a server is not quiet');
          const named = [...server.model.statements.keys()].filter((name) => name !== '').length;
          if (server.channel.statements.certain > named)
            throw new Error('weir believes in statements the server does not have');
        }
        for (const { client } of clients) client.close('end');
        for (const server of [...rig.servers]) server.close();
        return rig.registry.size === 0;
      },
    ),
    { seed, numRuns: steps },
  );
  t.pass('for every run');
  t.ok(messages > steps * 10, `${messages} messages were compared`);
});
