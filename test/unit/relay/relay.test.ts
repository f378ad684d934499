// Client and server channels against a model PostgreSQL and against scripted replies: order, statements, errors, COPY, settings, doubt.

import { serialize } from 'pg-protocol/dist/index.js';
import t, { type Test } from 'tap';
import { Settings } from '../../../lib/session/index.js';
import { AssertionFailure } from '../../../lib/util/index.js';
import {
  commandComplete,
  dataRow,
  errorResponse,
  headerBytes,
  noticeResponse,
  parameterStatus,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from '../../../lib/wire/index.js';
import { backendTexts } from '../../support/message-texts.js';
import { modelSettings } from '../../support/model-server.js';
import { RelayRig } from '../../support/relay-rig.js';

const { query, parse, bind, execute, describe, close, sync, flush, copyData, copyDone, copyFail, end } = serialize;
const idle = readyForQuery(TransactionStatus.Idle);
const row = (text: string): Buffer =>
  Buffer.concat([
    rowDescription([{ name: 'c', typeOid: 25, typeSize: -1 }]),
    dataRow([text]),
    commandComplete('SELECT 1'),
  ]);

/** Parse, Bind, Execute of a statement. */
function run(name: string, text: string): Buffer {
  return Buffer.concat([parse({ name, text }), bind({ statement: name }), execute()]);
}

function again(name: string): Buffer {
  return Buffer.concat([bind({ statement: name }), execute()]);
}

function withSettings(values: Record<string, string>): Settings {
  return new Settings(new Map([...modelSettings.login, ...Object.entries(values)]));
}

/** The end of every test: nothing is left anywhere. */
function clean(t: Test, rig: RelayRig): void {
  rig.settle();
  t.equal(rig.leases, 0, 'every lease was returned');
  for (const server of rig.servers)
    t.same([server.channel.owedCount, server.doubts], [0, []], `${server.name} owes nothing`);
  for (const client of rig.clients) client.close('end');
  for (const server of [...rig.servers]) server.close();
  t.equal(rig.registry.size, 0, 'no statement is held');
}

// Simple protocol

t.test('a query goes to a server and its reply to who asked; the lease ends with it', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const [a, b] = [rig.addClient(), rig.addClient()];
  a.say(query('select a1'));
  b.say(query('select b1'));
  t.equal(rig.leases, 2);
  rig.settle();
  t.same(a.read(), ['RowDescription rows', 'DataRow a1.0', 'CommandComplete SELECT 1', 'ReadyForQuery I']);
  t.same(b.read(), ['RowDescription rows', 'DataRow b1.0', 'CommandComplete SELECT 1', 'ReadyForQuery I']);
  t.same([a.lent, b.lent], [['s1'], ['s2']]);
  clean(t, rig);
});

t.test('a transaction keeps its server, also when it has failed', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const client = rig.addClient();
  for (const text of ['begin', 'select x', 'fail y', 'select z']) {
    client.say(query(text));
    rig.settle();
    t.equal(rig.leases, 1, text);
  }
  client.say(query('rollback'));
  rig.settle();
  t.same(client.lent, ['s1']);
  t.same(
    client.read().filter((text) => /^(Ready|Error)/.test(text)),
    [
      'ReadyForQuery T',
      'ReadyForQuery T',
      'ErrorResponse 22012 division by zero y',
      'ReadyForQuery E',
      'ErrorResponse 25P02 current transaction is aborted, commands ignored until end of transaction block',
      'ReadyForQuery E',
      'ReadyForQuery I',
    ],
  );
  clean(t, rig);
});

t.test('who finds no server waits and loses nothing, in the order of asking', async (t) => {
  const rig = new RelayRig();
  const clients = [rig.addClient(), rig.addClient(), rig.addClient()] as const;
  clients[0].say(query('begin'));
  rig.settle();
  for (const [i, client] of clients.entries()) {
    if (i === 0) continue;
    for (const byte of Buffer.concat([query(`select ${i}a`), query(`select ${i}b`)])) client.say(Buffer.from([byte]));
    t.ok(client.waiting);
  }
  clients[0].say(query('commit'));
  rig.settle();
  t.same(
    clients[1].read().filter((text) => text.startsWith('DataRow')),
    ['DataRow 1a.0', 'DataRow 1b.0'],
  );
  t.same(
    clients[2].read().filter((text) => text.startsWith('DataRow')),
    ['DataRow 2a.0', 'DataRow 2b.0'],
  );
  clean(t, rig);
});

t.test('pipelined queries and Syncs are answered one by one, and the lease ends after the last', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(query('select a'), sync(), sync(), query(''), run('', 'select b'), sync(), query('fail c'), sync());
  t.equal(rig.server.channel.owedCount, 10);
  rig.server.deliver();
  rig.server.answer(40);
  t.equal(rig.leases, 1, 'not yet');
  rig.settle();
  t.same(
    client.read().filter((text) => !/^(Row|Command|Parse|Bind)/.test(text)),
    [
      'DataRow a.0',
      'ReadyForQuery I',
      'ReadyForQuery I',
      'ReadyForQuery I',
      'EmptyQueryResponse',
      'ReadyForQuery I',
      'DataRow b.0',
      'ReadyForQuery I',
      'ErrorResponse 22012 division by zero c',
      'ReadyForQuery I',
      'ReadyForQuery I',
    ],
  );
  t.equal(client.lent.length, 1);
  clean(t, rig);
});

t.test('what needs no server gets none', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(flush(), close({ type: 'S', name: 'nothing' }), sync(), copyData(Buffer.from('late')), copyDone());
  t.same(client.read(), ['CloseComplete', 'ReadyForQuery I']);
  t.same(client.lent, []);
  clean(t, rig);
});

t.test('a call of a function is a batch of its own', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  const call = Buffer.from('F\0\0\0\x08abcd', 'latin1');
  client.say(call, query('select x'));
  rig.settle();
  t.same(client.read(), [
    'FunctionCallResponse abcd',
    'ReadyForQuery I',
    'RowDescription rows',
    'DataRow x.0',
    'CommandComplete SELECT 1',
    'ReadyForQuery I',
  ]);
  t.ok(rig.server.written().includes('Query DISCARD ALL'), 'nobody knows what the function did');
  clean(t, rig);
});

// Prepared statements

t.test(
  'a statement is prepared once on each server, under a name of its own, and is there wherever its client lands',
  async (t) => {
    const rig = new RelayRig({ servers: 2 });
    const [a, b] = [rig.addClient(), rig.addClient()];
    a.say(run('mine', 'select x'), sync());
    rig.settle();
    b.say(run('yours', 'select x'), sync());
    rig.settle();
    a.say(again('mine'), sync());
    rig.settle();
    a.say(again('mine'), describe({ type: 'S', name: 'mine' }), sync());
    rig.settle();
    t.same(a.lent, ['s1', 's1', 's2']);
    t.same(
      rig.servers.map((server) => server.written().filter((text) => /Parse|Bind|Describe/.test(text))),
      [
        ['Parse weir_1: select x', 'Describe S weir_1', 'Bind  to weir_1', 'Bind  to weir_1'],
        ['Parse weir_2: select x', 'Describe S weir_2', 'Bind  to weir_2', 'Bind  to weir_2', 'Describe S weir_2'],
      ],
    );
    t.same(b.read().slice(0, 2), ['ParseComplete', 'BindComplete']);
    t.same(a.read(), [
      'ParseComplete',
      'BindComplete',
      'DataRow x.0',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
      'BindComplete',
      'DataRow x.0',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
      'BindComplete',
      'DataRow x.0',
      'CommandComplete SELECT 1',
      'ParameterDescription',
      'RowDescription rows',
      'ReadyForQuery I',
    ]);
    clean(t, rig);
  },
);

t.test('a Parse the server knows is answered at its place among the replies', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(run('a', 'select x'), sync());
  rig.settle();
  client.read();
  client.say(
    query('rows 3 slow'),
    parse({ name: 'b', text: 'select x' }),
    again('b'),
    parse({ name: 'c', text: 'select x' }),
    sync(),
  );
  t.same(client.read(), [], 'not before what was asked earlier');
  rig.settle();
  t.same(
    client.read().filter((text) => !text.startsWith('Command')),
    [
      'RowDescription rows',
      'DataRow slow.0',
      'DataRow slow.1',
      'DataRow slow.2',
      'ReadyForQuery I',
      'ParseComplete',
      'BindComplete',
      'DataRow x.0',
      'ParseComplete',
      'ReadyForQuery I',
    ],
  );
  clean(t, rig);
});

t.test('a Parse of BEGIN that some server has proved is answered while all servers are busy', async (t) => {
  const rig = new RelayRig();
  const [a, b, c] = [rig.addClient(), rig.addClient(), rig.addClient()];
  a.say(run('s', 'begin'), sync(), run('x', 'select x'), sync());
  rig.settle();
  b.say(parse({ name: 'mine', text: 'begin' }), sync());
  t.same(b.read(), ['ParseComplete', 'ReadyForQuery I']);
  t.notOk(b.waiting);
  b.say(parse({ name: 'other', text: 'begin read only' }));
  t.ok(b.waiting, 'not one that nobody has proved');
  c.say(parse({ name: 'mine', text: 'select x' }));
  t.ok(c.waiting, 'not one that may have come to mean something else');
  c.say(sync());
  a.say(query('commit'));
  b.say(sync());
  rig.settle();
  clean(t, rig);
});

t.test('a name that is taken gives 42P05, as an error of the server at its place', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(parse({ name: 's', text: 'select x' }), sync());
  rig.settle();
  client.read();
  client.say(query('begin'), run('', 'select y'), parse({ name: 's', text: 'select z' }), again('s'), sync());
  rig.settle();
  t.same(client.read().slice(2), [
    'ParseComplete',
    'BindComplete',
    'DataRow y.0',
    'CommandComplete SELECT 1',
    'ErrorResponse 42P05 prepared statement "s" already exists',
    'ReadyForQuery E',
  ]);
  t.equal(rig.server.model.status, TransactionStatus.Failed, "the server's transaction failed too");
  client.say(query('rollback'), again('s'), sync());
  rig.settle();
  t.same(
    client.read().slice(2),
    ['BindComplete', 'DataRow x.0', 'CommandComplete SELECT 1', 'ReadyForQuery I'],
    'the name means what it meant',
  );
  clean(t, rig);
});

t.test('a statement nobody prepared gives 26000, by Bind and by Describe, for a name and for none', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  for (const [message, error] of [
    [bind({ statement: 'nope' }), 'prepared statement "nope" does not exist'],
    [describe({ type: 'S', name: 'nope' }), 'prepared statement "nope" does not exist'],
    [bind({}), 'unnamed prepared statement does not exist'],
    [describe({ type: 'S' }), 'unnamed prepared statement does not exist'],
  ] as const) {
    client.say(message, execute(), sync());
    rig.settle();
    t.same(client.read(), [`ErrorResponse 26000 ${error}`, 'ReadyForQuery I']);
  }
  clean(t, rig);
});

t.test('an error takes back every Parse and Close behind it, on both sides', async (t) => {
  const rig = new RelayRig({ statementsMax: 2 });
  const client = rig.addClient();
  client.say(parse({ name: 'kept', text: 'select kept' }), parse({ name: 'old', text: 'select old' }), sync());
  rig.settle();
  client.read();
  client.say(
    run('', 'fail x'),
    close({ type: 'S', name: 'old' }),
    parse({ name: 'old', text: 'select new' }),
    parse({ name: 'again', text: 'select kept' }),
    parse({ name: 'third', text: 'select third' }),
    sync(),
  );
  rig.settle();
  t.same(client.read(), ['ParseComplete', 'BindComplete', 'ErrorResponse 22012 division by zero x', 'ReadyForQuery I']);
  t.equal(client.channel.statements.size, 2);
  t.same(
    [...rig.server.model.statements.keys()].filter((name) => name !== ''),
    ['weir_1', 'weir_2'],
  );
  t.equal(rig.server.channel.statements.size, 2, 'what was to be closed for room is still there');
  t.equal(rig.registry.size, 2, 'nobody holds what was never prepared');
  client.say(
    again('old'),
    again('kept'),
    parse({ name: 'again', text: 'select kept' }),
    sync(),
    again('third'),
    sync(),
  );
  rig.settle();
  t.same(
    client.read().filter((text) => /Data|Error|Parse/.test(text)),
    [
      'DataRow old.0',
      'DataRow kept.0',
      'ParseComplete',
      'ErrorResponse 26000 prepared statement "third" does not exist',
    ],
  );
  clean(t, rig);
});

t.test('a Parse that fails is known to nobody', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(run('s', 'nonsense'), parse({ name: 't', text: 'nonsense' }), sync());
  rig.settle();
  t.same(client.read(), ['ErrorResponse 42601 syntax error at or near "nonsense"', 'ReadyForQuery I']);
  t.same([client.channel.statements.size, rig.server.channel.statements.size, rig.registry.size], [0, 0, 0]);
  client.say(run('s', 'select fine'), sync());
  rig.settle();
  t.ok(client.read().includes('DataRow fine.0'));
  clean(t, rig);
});

t.test('what comes between an error and its Sync goes nowhere, also when the error is already known', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(run('', 'fail x'), flush());
  rig.settle();
  t.same(client.read(), ['ParseComplete', 'BindComplete', 'ErrorResponse 22012 division by zero x']);
  t.equal(rig.leases, 1, 'the server waits for the Sync');
  rig.server.written();
  client.say(
    run('s', 'do never'),
    query('do never'),
    close({ type: 'S', name: 'x' }),
    describe({ type: 'P' }),
    flush(),
    copyData(Buffer.from('x')),
    copyFail('x'),
  );
  rig.settle();
  t.same([client.read(), rig.server.written()], [[], []]);
  client.say(sync(), query('select y'));
  rig.settle();
  t.same(client.read(), [
    'ReadyForQuery I',
    'RowDescription rows',
    'DataRow y.0',
    'CommandComplete SELECT 1',
    'ReadyForQuery I',
  ]);
  t.same(rig.server.model.done, []);
  clean(t, rig);
});

t.test('a Close is answered at its place, and the server keeps the statement for others', async (t) => {
  const rig = new RelayRig();
  const [a, b] = [rig.addClient(), rig.addClient()];
  a.say(
    run('s', 'select x'),
    close({ type: 'S', name: 's' }),
    close({ type: 'S', name: 's' }),
    execute({ portal: '' }),
    sync(),
  );
  rig.settle();
  t.same(a.read().slice(0, 6), [
    'ParseComplete',
    'BindComplete',
    'DataRow x.0',
    'CommandComplete SELECT 1',
    'CloseComplete',
    'CloseComplete',
  ]);
  a.say(again('s'), sync());
  rig.settle();
  t.match(a.read().slice(-2), ['ErrorResponse 26000 prepared statement "s" does not exist', 'ReadyForQuery I']);
  rig.server.written();
  b.say(run('t', 'select x'), sync());
  rig.settle();
  t.notOk(rig.server.written().some((text) => text.startsWith('Close')));
  clean(t, rig);
});

t.test('the unnamed statement follows its client, and is shown to nobody else', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const [a, b] = [rig.addClient(), rig.addClient()];
  a.say(parse({ text: 'select mine' }), sync());
  rig.settle();
  t.same(a.read(), ['ParseComplete', 'ReadyForQuery I']);
  b.say(again(''), sync());
  rig.settle();
  a.say(again(''), sync());
  rig.settle();
  b.say(again(''), sync());
  rig.settle();
  a.say(describe({ type: 'S' }), again(''), sync());
  rig.settle();
  t.same(a.lent, ['s1', 's1', 's1']);
  t.same(b.lent, ['s2', 's2']);
  a.say(again(''), sync());
  rig.settle();
  b.say(again(''), sync());
  rig.settle();
  t.same([a.lent.at(-1), b.lent.at(-1)], ['s2', 's1'], 'each is on the server of the other');
  t.same(
    b.read(),
    Array(3).fill(['ErrorResponse 26000 unnamed prepared statement does not exist', 'ReadyForQuery I']).flat(),
  );
  t.same(
    a.read().filter((text) => /Data|Error|Parse|Row/.test(text)),
    ['DataRow mine.0', 'RowDescription rows', 'DataRow mine.0', 'DataRow mine.0'],
  );
  clean(t, rig);
});

t.test('a Query, a failed Parse and a Close empty the unnamed slot; what an error skipped does not', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const client = rig.addClient();
  const dies = (what: string, ...messages: Buffer[]): void => {
    client.say(parse({ text: 'select it' }), sync(), ...messages);
    rig.settle();
    client.read();
    client.say(again(''), sync());
    rig.settle();
    t.same(client.read(), ['ErrorResponse 26000 unnamed prepared statement does not exist', 'ReadyForQuery I'], what);
  };
  dies('a Query', query('select x'));
  dies('a Parse that fails', parse({ text: 'nonsense' }), sync());
  dies('a Close', close({ type: 'S' }), sync());
  const lives = (what: string, ...messages: Buffer[]): void => {
    client.say(
      parse({ name: 'bad', text: 'fail x' }),
      parse({ text: 'select it' }),
      sync(),
      again('bad'),
      ...messages,
      sync(),
    );
    rig.settle();
    client.read();
    client.say(again(''), close({ type: 'S', name: 'bad' }), sync());
    rig.settle();
    t.same(client.read().slice(0, 2), ['BindComplete', 'DataRow it.0'], what);
  };
  lives('a Query that was skipped', query('select x'));
  lives('a Parse that was skipped', parse({ text: 'select other' }));
  lives('a Close that was skipped', close({ type: 'S' }));
  clean(t, rig);
});

t.test('a full server closes what it used longest ago, and nobody sees it', async (t) => {
  const rig = new RelayRig({ statementsMax: 2 });
  const client = rig.addClient();
  for (const name of ['a', 'b', 'c']) client.say(run(name, `select ${name}`));
  client.say(again('a'), sync());
  rig.settle();
  t.equal(client.read().filter((text) => text === 'CloseComplete').length, 0);
  t.same(
    rig.server.written().filter((text) => /Parse|Close/.test(text)),
    [
      'Parse weir_1: select a',
      'Parse weir_2: select b',
      'Close S weir_1',
      'Parse weir_3: select c',
      'Close S weir_2',
      'Parse weir_4: select a',
    ],
  );
  t.equal(rig.server.channel.statements.size, 2);
  t.same([...rig.server.model.statements.keys()].sort(), ['weir_3', 'weir_4']);
  clean(t, rig);
});

t.test('a statement whose Close was skipped behind an error is in nobody s way', async (t) => {
  for (const [what, message] of [
    ['by a Bind', again('a')],
    ['by a Parse', Buffer.concat([parse({ name: 'same', text: 'select a' }), again('same')])],
  ] as const) {
    const rig = new RelayRig({ statementsMax: 1 });
    const [client, other] = [rig.addClient(), rig.addClient()];
    for (const each of [client, other]) each.say(parse({ name: 'a', text: 'select a' }), sync());
    rig.settle();
    client.read();
    // Sent before the error is known: weir closes a to make room for b, and then prepares a again.
    client.say(run('', 'fail x'), parse({ name: 'b', text: 'select b' }), sync(), message, sync());
    rig.settle();
    const said = client.read().slice(2);
    t.match(said, [/^ErrorResponse 22012/, 'ReadyForQuery I'], what);
    t.match(said.slice(-4), ['BindComplete', 'DataRow a.0', 'CommandComplete SELECT 1', 'ReadyForQuery I'], what);
    t.equal(rig.server.model.statements.size - 1, rig.server.channel.statements.size, `${what}: all are known`);
    for (const each of [other, client]) {
      each.read();
      each.say(again('a'), sync());
      rig.settle();
      t.ok(each.read().includes('DataRow a.0'), `${what}: nobody meets it again`);
    }
    clean(t, rig);
  }
});

t.test('a client may have so many statements and no more', async (t) => {
  const rig = new RelayRig({ limits: { statementsMax: 2 }, statementsMax: 10 });
  const client = rig.addClient();
  for (const name of ['a', 'b']) client.say(parse({ name, text: `select ${name}` }));
  client.say(sync(), parse({ name: 'c', text: 'select c' }), sync());
  rig.settle();
  t.match(client.read(), [
    'ParseComplete',
    'ParseComplete',
    'ReadyForQuery I',
    /^ErrorResponse 53400/,
    'ReadyForQuery I',
  ]);
  client.say(close({ type: 'S', name: 'a' }), parse({ name: 'c', text: 'select c' }), sync());
  rig.settle();
  t.same(client.read(), ['CloseComplete', 'ParseComplete', 'ReadyForQuery I']);
  clean(t, rig);
});

t.test('DISCARD ALL and DEALLOCATE ALL take all statements of the client and the server', async (t) => {
  for (const text of ['discard all', 'deallocate all']) {
    const rig = new RelayRig();
    const [client, other] = [rig.addClient(), rig.addClient()];
    other.say(run('o', 'select o'), sync());
    client.say(run('s', 'select x'), sync());
    rig.settle();
    client.say(query(text));
    rig.settle();
    t.same([client.channel.statements.size, rig.server.channel.statements.size], [0, 0], text);
    client.read();
    other.read();
    client.say(again('s'), sync());
    rig.settle();
    t.match(client.read(), [/^ErrorResponse 26000/, 'ReadyForQuery I']);
    other.say(again('o'), sync());
    client.say(run('s', 'select x'), sync());
    rig.settle();
    t.same(other.read()[1], 'DataRow o.0', 'other clients keep theirs');
    t.ok(client.read().includes('DataRow x.0'));
    clean(t, rig);
  }
});

t.test('statements prepared behind a DISCARD ALL in the same write do not spoil the server', async (t) => {
  const rig = new RelayRig();
  const [client, other] = [rig.addClient(), rig.addClient()];
  client.say(run('before', 'select b'), sync());
  other.say(parse({ name: 'o', text: 'select x' }), sync());
  rig.settle();
  for (let i = 0; i < 3; i++) {
    client.say(query('discard all'), run('s', 'select x'), parse({ name: 'new', text: `select ${i}` }), sync());
    rig.settle();
    client.read();
    other.say(again('o'), sync());
    rig.settle();
    t.ok(other.read().includes('DataRow x.0'), 'another client with the same statement goes on');
    client.say(again('new'), sync());
    rig.settle();
    t.ok(client.read().includes(`DataRow ${i}.0`), 'names given behind it are there');
    client.say(again('before'), sync());
    rig.settle();
    t.match(client.read(), [/^ErrorResponse 26000/, 'ReadyForQuery I'], 'those given before are not');
  }
  clean(t, rig);
});

t.test('a DISCARD ALL that fails or is skipped takes nothing', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(run('a', 'select a'), parse({ text: 'select u' }), sync());
  rig.settle();
  for (const messages of [
    [query('begin'), query('discard all'), query('rollback')],
    [run('', 'fail x'), query('discard all'), sync()],
    [query('begin'), query('discard all'), again('a'), sync(), query('rollback')],
  ]) {
    client.say(...messages);
    rig.settle();
    client.read();
    client.say(again('a'), run('b', 'select b'), close({ type: 'S', name: 'b' }), sync());
    rig.settle();
    t.same(
      client.read().filter((text) => /Data|Error/.test(text)),
      ['DataRow a.0', 'DataRow b.0'],
    );
  }
  clean(t, rig);
});

// Long messages

t.test('a Bind longer than what is held passes with another name and every byte of its values', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const client = rig.addClient();
  client.say(parse({ name: 'e', text: 'echo $1' }), sync());
  rig.settle();
  client.read();
  for (const length of [8_000, 8_192, 20_000, 300_000]) {
    const value = Array.from({ length }, (_, i) => String.fromCharCode(33 + ((i * 7) % 90))).join('');
    const bytes = Buffer.concat([bind({ statement: 'e', values: [value] }), execute(), sync()]);
    for (let at = 0; at < bytes.length; at += 7_001) {
      client.say(bytes.subarray(at, at + 7_001));
      rig.server.deliver();
    }
    rig.settle();
    t.equal(client.read()[1], `DataRow ${value}`, `${length} bytes`);
  }
  clean(t, rig);
});

t.test('names too long for a prefix end the connection', async (t) => {
  const name = 'n'.repeat(9_000);
  for (const message of [bind({ statement: name }), describe({ type: 'S', name }), close({ type: 'S', name })]) {
    const rig = new RelayRig();
    const client = rig.addClient();
    for (let at = 0; at < message.length; at += 1_000) client.say(message.subarray(at, at + 1_000));
    t.match(client.violation, { severity: 'FATAL', sqlstate: '08P01' });
    t.equal(client.closed, 'violation');
  }
});

t.test(
  'a Parse too long to keep is refused with a name and works without one while its server is at hand',
  async (t) => {
    const rig = new RelayRig({ servers: 2 });
    const client = rig.addClient();
    const long = `select ${'x'.repeat(5_000)}`;
    client.say(parse({ name: 's', text: long }), execute(), sync());
    rig.settle();
    t.match(client.read(), [/^ErrorResponse 54000/, 'ReadyForQuery I']);
    client.say(run('', long), sync());
    rig.settle();
    t.match(client.read(), [
      'ParseComplete',
      'BindComplete',
      /^DataRow xxx/,
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    client.say(again(''), sync());
    rig.settle();
    t.match(client.read()[0], /^ErrorResponse 26000 unnamed/, 'it does not follow to another server');
    client.say(query(`notice ${'y'.repeat(6_000)}`));
    rig.settle();
    t.match(client.read().at(-1), 'ReadyForQuery I', 'a long Query passes');
    clean(t, rig);
  },
);

t.test('a message over the limit or of an unknown type ends the connection', async (t) => {
  const header = Buffer.from('Q\0\0\0\0', 'latin1');
  header.writeUInt32BE(1_000_000, 1);
  for (const [message, detail] of [
    [header, /max_packet_size/],
    [Buffer.from('p\0\0\0\x05x', 'latin1'), /password/],
    [Buffer.from('?\0\0\0\x04', 'latin1'), /message type \?/],
    [Buffer.from('\x01\0\0\0\x04', 'latin1'), /code 1/],
  ] as const) {
    const rig = new RelayRig();
    const client = rig.addClient();
    client.say(message);
    t.match(client.violation?.detail, detail);
    client.say(query('select x'));
    t.same(client.read(), [], 'nothing is taken after it');
    t.equal(rig.leases, 0);
  }
});

// COPY

t.test('COPY in, by either protocol, with and without Syncs that the server overlooks', async (t) => {
  const data = [copyData(Buffer.from('1\n')), copyData(Buffer.from('2\n'))];
  const rig = new RelayRig({ servers: 2 });
  const client = rig.addClient();
  const check = (what: string, expected: string[]): void => {
    rig.settle();
    t.same(client.read(), expected, what);
    t.equal(rig.leases, 0, what);
  };
  client.say(query('copyin x'));
  rig.settle();
  client.say(...data, copyDone());
  check('simple', ['CopyInResponse', 'CommandComplete COPY 2', 'ReadyForQuery I']);
  client.say(query('copyin x'), ...data, copyDone(), query('select y'));
  check('simple, all at once', [
    'CopyInResponse',
    'CommandComplete COPY 2',
    'ReadyForQuery I',
    'RowDescription rows',
    'DataRow y.0',
    'CommandComplete SELECT 1',
    'ReadyForQuery I',
  ]);
  client.say(query('copyin x; select y; copyin z'));
  rig.settle();
  client.say(...data, copyDone());
  rig.settle();
  client.say(sync(), copyDone(), sync());
  check('two in one query, with a Sync in the second', [
    'CopyInResponse',
    'CommandComplete COPY 2',
    'RowDescription rows',
    'DataRow y.0',
    'CommandComplete SELECT 1',
    'CopyInResponse',
    'CommandComplete COPY 0',
    'ReadyForQuery I',
    'ReadyForQuery I',
  ]);
  const extended = ['ParseComplete', 'BindComplete', 'CopyInResponse', 'CommandComplete COPY 2', 'ReadyForQuery I'];
  client.say(run('', 'copyin x'), flush());
  rig.settle();
  client.say(...data, copyDone(), sync());
  check('extended', extended);
  client.say(run('', 'copyin x'), ...data, copyDone(), sync());
  check('extended, all at once', extended);
  client.say(run('', 'copyin x'), sync());
  rig.settle();
  t.equal(rig.leases, 1, 'the first Sync is overlooked');
  client.say(...data, sync(), flush(), copyDone(), sync());
  check('extended, with Syncs before and in the data', extended);
  client.say(run('', 'copyin x'), sync(), ...data, copyDone(), sync());
  check('extended, with a Sync before the data, all at once', extended);
  client.say(run('', 'copyin x'), flush());
  rig.settle();
  client.say(copyFail('no'), sync());
  check('given up', [
    'ParseComplete',
    'BindComplete',
    'CopyInResponse',
    'ErrorResponse 57014 COPY from stdin failed: no',
    'ReadyForQuery I',
  ]);
  client.say(query('begin'));
  rig.settle();
  client.say(query('copyin x'), copyFail('no'), query('rollback'));
  check('given up in a transaction', [
    'CommandComplete BEGIN',
    'ReadyForQuery T',
    'CopyInResponse',
    'ErrorResponse 57014 COPY from stdin failed: no',
    'ReadyForQuery E',
    'CommandComplete ROLLBACK',
    'ReadyForQuery I',
  ]);
  clean(t, rig);
});

t.test('COPY out passes', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(query('copyout 2 x'), run('', 'copyout 1 y'), sync());
  rig.settle();
  t.same(client.read(), [
    'CopyOutResponse',
    'CopyData x.0\n',
    'CopyData x.1\n',
    'CopyDone',
    'CommandComplete COPY 2',
    'ReadyForQuery I',
    'ParseComplete',
    'BindComplete',
    'CopyOutResponse',
    'CopyData y.0\n',
    'CopyDone',
    'CommandComplete COPY 1',
    'ReadyForQuery I',
  ]);
  clean(t, rig);
});

t.test(
  'a COPY that fails in its data: late data, CopyDone and CopyFail reach no later batch and no other client',
  async (t) => {
    const lines = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => copyData(Buffer.from(`${i}\n`)));
    const rig = new RelayRig();
    const [client, other] = [rig.addClient(), rig.addClient()];
    for (const late of [[], [...lines(3), copyDone()], [...lines(2), copyFail('x')]]) {
      client.say(query('copybad 2 x'), ...lines(2));
      rig.settle();
      t.same(client.read(), ['CopyInResponse', 'ErrorResponse 22P02 invalid input x', 'ReadyForQuery I']);
      t.equal(rig.leases, 0);
      other.say(query('copyin o'));
      client.say(...late);
      rig.settle();
      other.say(copyDone());
      rig.settle();
      t.same([client.read(), other.read()], [[], ['CopyInResponse', 'CommandComplete COPY 0', 'ReadyForQuery I']]);

      client.say(run('', 'copybad 2 x'), sync());
      rig.settle();
      client.say(...lines(2));
      rig.settle();
      client.say(...late);
      rig.settle();
      t.equal(rig.leases, 1, 'the server still waits for a Sync');
      client.say(sync(), query('select y'));
      rig.settle();
      t.same(client.read().slice(2), [
        'CopyInResponse',
        'ErrorResponse 22P02 invalid input x',
        'ReadyForQuery I',
        'RowDescription rows',
        'DataRow y.0',
        'CommandComplete SELECT 1',
        'ReadyForQuery I',
      ]);
    }
    client.say(run('', 'copybad 1 x'), ...lines(5), copyDone(), sync(), query('select z'));
    rig.settle();
    t.same(client.read().slice(3), [
      'ErrorResponse 22P02 invalid input x',
      'ReadyForQuery I',
      'RowDescription rows',
      'DataRow z.0',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    clean(t, rig);
  },
);

t.test(
  'a Sync that a failed COPY may or may not have overlooked ends the connection rather than shift replies by one',
  async (t) => {
    for (const [what, first, then] of [
      [
        'behind data',
        [run('', 'copybad 2 x'), flush()],
        [copyData(Buffer.from('1')), sync(), copyData(Buffer.from('2'))],
      ],
      ['before a trigger failed', [run('', 'copytrigger x'), sync()], []],
      ['behind data sent early', [run('', 'copybad 1 x'), copyData(Buffer.from('1')), sync()], []],
      [
        'behind data of a simple query',
        [query('copybad 2 x')],
        [copyData(Buffer.from('1')), sync(), copyData(Buffer.from('2'))],
      ],
    ] as const) {
      const rig = new RelayRig();
      const client = rig.addClient();
      const { server } = rig;
      client.say(...first);
      rig.settle();
      client.say(...then);
      rig.settle();
      t.match(server.doubts, [/COPY failed/], what);
      t.equal(client.closed, 'server lost');
      t.equal(rig.leases, 0);
    }
  },
);

t.test('an error inside COPY that a trigger raised is known to be one by its outermost context', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(run('', 'copyin x'), sync());
  rig.settle();
  client.say(copyData(Buffer.from('1')));
  const where = 'PL/pgSQL function f() line 3 at RAISE\nCOPY t, line 1: "1"';
  const error = Buffer.from(`SERROR\0VERROR\0CP0001\0Mno\0W${where}\0\0`);
  const header = Buffer.from('E\0\0\0\0');
  header.writeUInt32BE(error.length + 4, 1);
  rig.server.say(Buffer.concat([header, error]));
  client.say(sync());
  rig.server.say(idle);
  t.same(client.read().slice(-2), ['ErrorResponse P0001 no', 'ReadyForQuery I']);
  t.same(rig.server.doubts, []);
  t.equal(rig.leases, 0);
});

// Settings

t.test("a client's settings are brought to its server as one hidden batch before its first message", async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient(
    withSettings({ application_name: 'o\'neil \\ "x"', timezone: 'Asia/Tokyo', search_path: 'a, "b c"' }),
  );
  client.say(query('show application_name'));
  t.match(rig.server.written(), [/^Query SET .*;.*;/, 'Query show application_name']);
  rig.settle();
  t.same(client.read(), [
    'RowDescription application_name',
    `DataRow o'neil \\ "x"`,
    'CommandComplete SHOW',
    'ReadyForQuery I',
  ]);
  client.say(query('show search_path'), query('show timezone'));
  rig.settle();
  t.same(rig.server.written(), ['Query show search_path', 'Query show timezone'], 'once');
  t.same(
    client.read().filter((text) => text.startsWith('Data')),
    ['DataRow a, "b c"', 'DataRow Asia/Tokyo'],
  );
  t.equal(rig.traffic.replays, 1);
  t.equal(rig.traffic.queries, 3, "weir's own batch is not counted");
  clean(t, rig);
});

t.test('what a client sets follows it, and no other client meets it', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const [a, b] = [rig.addClient(), rig.addClient()];
  a.say(query("set timezone = 'Asia/Tokyo'"));
  rig.settle();
  t.same(a.read(), ['CommandComplete SET', 'ParameterStatus TimeZone=Asia/Tokyo', 'ReadyForQuery I']);
  for (let i = 0; i < 3; i++) {
    a.say(query('show timezone'));
    b.say(query('show timezone'));
    rig.settle();
  }
  t.same(new Set(a.read().filter((text) => /Data|Param/.test(text))), new Set(['DataRow Asia/Tokyo']));
  t.same(new Set(b.read().filter((text) => /Data|Param/.test(text))), new Set(['DataRow UTC']));
  t.same(new Set([...a.lent, ...b.lent]), new Set(['s1', 's2']));
  clean(t, rig);
});

t.test('a setting rolled back is not carried on', async (t) => {
  const rig = new RelayRig({ servers: 2 });
  const client = rig.addClient();
  client.say(query('begin'), query("set timezone = 'Asia/Tokyo'"), query('rollback'));
  rig.settle();
  t.same(
    client.read().filter((text) => /Param/.test(text)),
    ['ParameterStatus TimeZone=Asia/Tokyo', 'ParameterStatus TimeZone=UTC'],
  );
  client.say(query('show timezone'));
  rig.settle();
  t.ok(client.read().includes('DataRow UTC'));
  clean(t, rig);
});

t.test(
  'settings that a server does not take end the connection: the message behind them ran with others',
  async (t) => {
    const rig = new RelayRig();
    const { server } = rig;
    const client = rig.addClient(withSettings({ timezone: 'invalid' }));
    client.say(query('select x'));
    rig.settle();
    t.match(server.doubts, [/could not be replayed: 22023/]);
    t.same(client.read(), [], 'no byte of it goes to the client');
    t.equal(client.closed, 'server lost');
    t.same(rig.leases, 0);
  },
);

t.test('what cannot be carried is removed before the server is lent on', async (t) => {
  const rig = new RelayRig();
  const [a, b] = [rig.addClient(), rig.addClient()];
  a.say(run('s', 'leak secret'), sync());
  b.say(query('leaked'));
  t.ok(b.waiting);
  rig.settle();
  t.ok(b.read().includes('DataRow -'));
  a.say(again('s'), sync());
  rig.settle();
  t.ok(a.read().includes('CommandComplete LEAK'), 'the statement is prepared again');
  t.equal(rig.server.written().filter((text) => text === 'Query DISCARD ALL').length, 2);
  clean(t, rig);
});

// Asynchronous messages and the end

t.test("notices and notifications go to the client at work, and never into weir's own batches", async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient(withSettings({ timezone: 'Asia/Tokyo' }));
  const notice = noticeResponse({ severity: 'NOTICE', sqlstate: '00000', message: 'n' });
  client.say(query('select x'));
  rig.server.say(
    notice,
    commandComplete('SET'),
    parameterStatus('TimeZone', 'Asia/Tokyo'),
    notice,
    idle,
    notice,
    row('x'),
    notice,
    idle,
  );
  t.same(client.read(), [
    'NoticeResponse NOTICE 00000 n',
    'RowDescription c',
    'DataRow x',
    'CommandComplete SELECT 1',
    'NoticeResponse NOTICE 00000 n',
    'ReadyForQuery I',
  ]);
  rig.server.say(notice, parameterStatus('TimeZone', 'Europe/Rome'));
  t.same([client.read(), rig.server.doubts], [[], []], 'an idle server may say such things to nobody');
  client.say(query('select y'));
  t.match(
    rig.server.written().slice(-2),
    [/^Query SET "?timezone"? = E'Asia\/Tokyo'/, 'Query select y'],
    'and what it reported is known',
  );
});

t.test('a server that announces its end is heard, and then the connection ends', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  const { server } = rig;
  client.say(query('begin'), query('select a'), query('fatal now'), query('select never'));
  rig.settle();
  t.same(client.read().slice(-3), [
    'CommandComplete SELECT 1',
    'ReadyForQuery T',
    'ErrorResponse FATAL 57P01 terminating connection now',
  ]);
  t.equal(server.fatal, '57P01');
  t.equal(client.closed, 'server lost');
  t.same(server.doubts, []);
  const waiting = rig.addClient();
  waiting.say(query('select fine'));
  rig.settle();
  t.ok(waiting.read().includes('DataRow fine.0'), 'others go on elsewhere');
});

t.test('a fatal error during a hidden batch is told to the client', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient(withSettings({ timezone: 'Asia/Tokyo' }));
  client.say(query('select x'));
  rig.server.say(errorResponse({ severity: 'FATAL', sqlstate: '57P01', message: 'bye' }));
  t.same(client.read(), ['ErrorResponse FATAL 57P01 bye']);
  t.equal(rig.server.fatal, '57P01');
});

// Doubt

t.test('replies that make no sense end the connection before any byte of them is passed on', async (t) => {
  const parseComplete = Buffer.from('1\0\0\0\x04', 'latin1');
  const copyIn = Buffer.from('G\0\0\0\x07\0\0\0', 'latin1');
  const own = withSettings({ timezone: 'Asia/Tokyo' });
  for (const [what, asked, answered, passed] of [
    ['rows on an idle server', [], [row('x')], []],
    ['ReadyForQuery on an idle server', [], [idle], []],
    ['an error on an idle server', [], [errorResponse({ severity: 'ERROR', sqlstate: '57014', message: 'x' })], []],
    ['a reply that nobody asked for', [], [commandComplete('SELECT 1')], []],
    ['ParseComplete to a Query', [query('select x')], [parseComplete], []],
    ['ReadyForQuery in the middle of a batch', [parse({ text: 'select x' }), sync()], [idle], []],
    ['BindComplete for Parse', [parse({ text: 'select x' }), sync()], [Buffer.from('2\0\0\0\x04')], []],
    ['COPY for Parse', [parse({ text: 'select x' }), sync()], [copyIn], []],
    ['a tag that is none', [query('select x')], [Buffer.from('y\0\0\0\x04')], []],
    ['an authentication request', [query('select x')], [Buffer.from('R\0\0\0\x08\0\0\0\x03')], []],
    ['a length that is none', [query('select x')], [Buffer.from('T\0\0\0\x03')], []],
    ['a status that is none', [query('select x')], [Buffer.from('Z\0\0\0\x05Q')], []],
    [
      'a second ReadyForQuery',
      [query('select x')],
      [row('x'), idle, idle],
      ['RowDescription c', 'DataRow x', 'CommandComplete SELECT 1', 'ReadyForQuery I'],
    ],
    [
      'rows behind the end',
      [query('select x')],
      [row('x'), idle, row('y')],
      ['RowDescription c', 'DataRow x', 'CommandComplete SELECT 1', 'ReadyForQuery I'],
    ],
    ['a message that had to fail and did not', [bind({ statement: 'nope' }), sync()], [parseComplete], []],
  ] as const) {
    for (const behind of ['', 'T\0\0\0\x06\0\0']) {
      const rig = new RelayRig();
      const client = rig.addClient();
      const { server } = rig;
      client.say(...asked);
      server.say(...answered, Buffer.from(behind));
      t.equal(server.doubts.length, 1, `${what}: ${server.doubts[0]}`);
      t.equal(server.state, 'closed', what);
      t.same(client.read(), passed, what);
      if (asked.length > 0 && passed.length === 0) t.equal(client.closed, 'server lost', what);
    }
  }
  const rig = new RelayRig();
  const client = rig.addClient(own);
  const { server } = rig;
  client.say(query('select x'));
  server.say(copyIn);
  t.match(server.doubts, [/COPY in a batch of the pooler/]);
  t.same(client.read(), []);
});

t.test('bytes behind the end of a batch never pass for the reply of who is served next', async (t) => {
  const rig = new RelayRig();
  const [a, b] = [rig.addClient(), rig.addClient()];
  const { server } = rig;
  a.say(query('select a'));
  b.say(query('select b'));
  t.ok(b.waiting);
  server.say(row('a'), idle, row('other'), idle);
  t.same(a.read(), ['RowDescription c', 'DataRow a', 'CommandComplete SELECT 1', 'ReadyForQuery I']);
  t.equal(server.doubts.length, 1);
  rig.settle();
  t.same(
    b.read(),
    ['RowDescription rows', 'DataRow b.0', 'CommandComplete SELECT 1', 'ReadyForQuery I'],
    'served by another server',
  );
});

t.test("the same holds behind the end of a batch of weir's own", async (t) => {
  const rig = new RelayRig();
  const [a, b] = [rig.addClient(), rig.addClient()];
  const { server } = rig;
  a.say(query('leak x'));
  b.say(query('select b'));
  server.say(commandComplete('LEAK'), idle);
  t.equal(server.state, 'tested');
  server.say(commandComplete('DISCARD ALL'), idle, row('other'), idle);
  t.equal(server.doubts.length, 1);
  rig.settle();
  t.ok(b.read().includes('DataRow b.0'));
  t.equal(b.lent.length, 1);
});

t.test('a server is lent to one client, and only between messages', async (t) => {
  const rig = new RelayRig();
  const [a, b] = [rig.addClient(), rig.addClient()];
  const { channel } = rig.server;
  channel.attach(a.channel);
  t.throws(() => channel.attach(b.channel), AssertionFailure);
  channel.detach();
  channel.receive(Buffer.from('N\0\0\0\x20S'), 0, 6);
  t.ok(channel.midMessage);
  t.throws(() => channel.attach(b.channel), AssertionFailure, 'half a notice has come');
});

t.test('a client that leaves is not written to, and undone messages leave nothing behind', async (t) => {
  for (const last of [sync(), parse({ name: 'd', text: 'select d' })]) {
    const rig = new RelayRig();
    const client = rig.addClient();
    const { server } = rig;
    client.say(run('a', 'select x'), sync());
    rig.settle();
    client.say(
      close({ type: 'S', name: 'a' }),
      run('b', 'select y'),
      parse({ name: 'c', text: 'select x' }),
      query('begin'),
      last,
    );
    client.read();
    client.close('gone');
    rig.settle();
    t.same(client.read(), []);
    const read = last.equals(sync());
    t.equal(server.state, read ? 'idle' : 'closed', 'a batch without its Sync would never end');
    t.equal(server.model.status, TransactionStatus.Idle);
    t.equal(rig.registry.size, read ? 2 : 0, 'only what the server still has');
    server.close();
    t.equal(rig.registry.size, 0);
  }
});

t.test('Terminate ends the session at its place', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(query('select x'));
  rig.settle();
  client.say(end(), query('do never'));
  t.equal(client.closed, 'terminate');
  rig.settle();
  t.same(rig.server.model.done, []);
});

// Time and counts

t.test("queries and transactions are counted and timed, weir's own batches are not", async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient(withSettings({ timezone: 'Asia/Tokyo' }));
  const { channel } = rig.server;
  client.say(query('begin'));
  t.equal(channel.queryStartedMs, 0);
  rig.clock.advance(10);
  rig.settle();
  t.equal(channel.queryStartedMs, undefined);
  t.equal(channel.idleInTransactionSinceMs, 10);
  rig.clock.advance(5);
  client.say(query('select x'), query('commit'));
  t.equal(channel.idleInTransactionSinceMs, undefined);
  t.equal(channel.transactionStartedMs, 0);
  rig.clock.advance(1);
  rig.settle();
  t.same([rig.traffic.queries, rig.traffic.transactions], [3, 1]);
  t.equal(channel.transactionStartedMs, undefined);
  client.say(run('a', 'select y'), run('b', 'select y'), sync());
  rig.settle();
  t.same([rig.traffic.clientParses, rig.traffic.serverParses, rig.traffic.binds, rig.traffic.replays], [2, 2, 2, 1]);
  const bytes = backendTexts(client.received.takeLog());
  t.ok(bytes.length > 0 && rig.traffic.bytesReceived > 0 && rig.traffic.bytesSent > 0);
  clean(t, rig);
});

t.test('an empty Query body is passed on without a look at it', async (t) => {
  const rig = new RelayRig();
  const client = rig.addClient();
  client.say(Buffer.from('Q\0\0\0\x04', 'latin1'));
  t.equal(rig.server.toServer.length, headerBytes);
  t.equal(client.closed, undefined);
});

// Session pooling

t.test('with session pooling names stay as they are and nothing is faked', async (t) => {
  const rig = new RelayRig({ transparent: true });
  const client = rig.addClient();
  client.say(
    run('s', 'select x'),
    sync(),
    again('s'),
    close({ type: 'S', name: 's' }),
    sync(),
    run('s', 'select y'),
    parse({ name: 's', text: 'select z' }),
    sync(),
  );
  rig.settle();
  t.same(
    rig.server.written().filter((text) => /Parse|Close/.test(text)),
    ['Parse s: select x', 'Close S s', 'Parse s: select y', 'Parse s: select z'],
  );
  t.same(
    client.read().filter((text) => /Data|Error|Close/.test(text)),
    [
      'DataRow x.0',
      'DataRow x.0',
      'CloseComplete',
      'DataRow y.0',
      'ErrorResponse 42P05 prepared statement "s" already exists',
    ],
  );
  t.equal(rig.registry.size, 0);
});
