// The catalog as its users see it: hits, bounds, what is unknown, and a parser that survives what is thrown at it.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ByteTable } from '../../../lib/sql/byte-table.js';
import {
  createStatementCatalog,
  PENDING,
  type ScanMode,
  type StatementCatalog,
  type StatementFacts,
  UNKNOWN,
} from '../../../lib/sql/index.js';
import { InlineParser } from '../../../lib/sql/inline-parser.js';
import { chainLengthMax, inlineParseBytesMax, workerQueueMax } from '../../../lib/sql/limits.js';
import { ParseWorkerClient } from '../../../lib/sql/parse-worker-client.js';
import { compileParser, ParserInstance } from '../../../lib/sql/parser-instance.js';

const mode: ScanMode = { standardConformingStrings: true, encoding: 'safe' };
const options = { maxEntries: 100, maxBytes: 1 << 20, inspectLimitBytes: 65_536 };

function ask(catalog: StatementCatalog, text: string | Buffer, how: ScanMode = mode): StatementFacts {
  const bytes = Buffer.from(text);
  return catalog.lookup(bytes, 0, bytes.length, how);
}

/** The parser's thread answers when it answers. */
async function eventually(catalog: StatementCatalog, text: string): Promise<StatementFacts> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const facts = ask(catalog, text);
    if (facts.known || (catalog.stats().workerQueued === 0 && Date.now() > deadline - 5_000)) return facts;
    if (Date.now() > deadline) throw new Error('the parser thread did not answer');
    await sleep(5);
  }
}

void t.test('texts of one shape share facts and counters', async (t) => {
  const catalog = await createStatementCatalog(options);
  const first = ask(catalog, 'SELECT abalance FROM pgbench_accounts WHERE aid = 1;');
  t.equal(first.known, true);
  first.counters.calls++;
  t.equal(ask(catalog, 'select  abalance from pgbench_accounts where aid = 77'), first);
  t.equal(first.shape?.text.toString(), 'select abalance from pgbench_accounts where aid = 1');
  t.match(first.shape?.id, /^[0-9a-f]{16}$/);
  t.not(ask(catalog, 'select abalance from pgbench_accounts where bid = 1'), first);
  const { hits, misses, shapes } = catalog.stats();
  t.same({ hits, misses, shapes }, { hits: 1, misses: 2, shapes: 2 });
  await catalog.close();
});

void t.test('the same literal-free text again is answered at once, and only the same', async (t) => {
  const catalog = await createStatementCatalog(options);
  for (const text of ['BEGIN', 'begin', 'select a from t', 'select b from t', 'SELECT A FROM t']) {
    const facts = ask(catalog, text);
    for (let i = 0; i < 3; i++) t.equal(ask(catalog, text), facts, text);
  }
  t.same(ask(catalog, 'select b from t').columns, ['b']);
  t.same(ask(catalog, 'select a from t').columns, ['a']);
  t.equal(
    ask(catalog, "select 'caf\u00e9'", { ...mode, encoding: 'unsafe' }),
    UNKNOWN,
    'an unsafe encoding comes first',
  );
  t.equal(ask(catalog, 'select a from t', { ...mode, encoding: 'unsafe' }).known, true, 'ASCII is the same in all');
  await catalog.close();
});

void t.test('what cannot be read is UNKNOWN, by reason', async (t) => {
  const catalog = await createStatementCatalog({ ...options, inspectLimitBytes: 1_000 });
  t.equal(ask(catalog, 'selec 1'), UNKNOWN);
  t.equal(ask(catalog, 'selec 2'), UNKNOWN, 'a shape that does not parse is not parsed twice');
  t.equal(catalog.stats().shapes, 1);
  t.equal(ask(catalog, "select 'a"), UNKNOWN);
  t.equal(ask(catalog, "select '\u00e9'", { ...mode, encoding: 'unsafe' }), UNKNOWN);
  const atLimit = `select '${'x'.repeat(1_000 - 9)}'`;
  t.equal(ask(catalog, atLimit).known, true, 'at the inspect limit');
  t.equal(ask(catalog, `${atLimit} `), UNKNOWN, 'a byte over it');
  t.equal(
    ask(catalog, Buffer.from("select 'caf\xe9'", 'latin1')).known,
    true,
    'another encoding within a literal does not matter',
  );
  t.equal(ask(catalog, Buffer.from('select caf\xe9', 'latin1')), UNKNOWN, 'in a name it does');
  t.same(catalog.stats().unknown, { unscanned: 2, unparsed: 3, pending: 0, 'too-large': 1, busy: 0 });
  t.throws(() => Object.assign(UNKNOWN, { readOnly: true }), TypeError, 'nobody can change it');
  await catalog.close();
});

void t.test('a plain string with a backslash, standard_conforming_strings off', async (t) => {
  const catalog = await createStatementCatalog(options);
  const off: ScanMode = { standardConformingStrings: false, encoding: 'safe' };
  t.equal(ask(catalog, "select 'a\\'; select mine(); --'", off).sessionEffects, 'none', 'one string');
  t.equal(ask(catalog, "select 'a\\'; select mine(); --'").sessionEffects, 'unknown', 'three statements');
  t.equal(ask(catalog, "set x = 'a\\'", off), UNKNOWN);
  t.equal(ask(catalog, "set x = 'a\\'b'", off), UNKNOWN);
  t.match(ask(catalog, "set x = 'ab'", off).hazards, [{ kind: 'set', name: 'x' }]);
  await catalog.close();
});

void t.test('200 texts that overflow the parser leave it answering correctly', async (t) => {
  const compiled = await compileParser();
  const parser = await InlineParser.create(compiled);
  let broken = 0;
  for (let i = 0; i < 200; i++) {
    const text = Buffer.from(i % 2 === 0 ? `select ${'1+'.repeat(9_900 + i)}1` : `select ${'+ '.repeat(9_900 + i)}1`);
    if (parser.parse(text).kind === 'broken') broken++;
    // An instance takes a few microtasks to be made.
    while (parser.parse(Buffer.from('select 1')).kind !== 'tree') await sleep(1);
  }
  t.ok(broken > 50, 'they did overflow');
  const outcome = parser.parse(Buffer.from('select a from t where b = 1'));
  t.match(outcome, { kind: 'tree', tree: { stmts: [{ stmt: { SelectStmt: {} } }] } });
  t.match(parser.parse(Buffer.from('selec')), { kind: 'error', message: /syntax error/ });
  t.equal(process.exitCode ?? 0, 0, 'the exit code is as it was');
});

void t.test('through the catalog such texts go to the thread, whose stack holds them', async (t) => {
  const catalog = await createStatementCatalog(options);
  for (let i = 0; i < 20; i++) {
    t.equal(ask(catalog, `select a${i} ${'+ 1'.repeat(7_000)}`), PENDING, 'at first unknown');
    t.equal(ask(catalog, `select b from t${i}`).known, true, 'while others are answered');
  }
  t.match(await eventually(catalog, `select a19 ${'+ 1'.repeat(7_000)}`), { known: true, columns: ['a19'] });
  t.equal(ask(catalog, `select a0 ${'+ 2'.repeat(7_000)}`).known, true, 'then known for the next time');
  t.equal(catalog.stats().parsersReplaced, 0);
  t.equal(catalog.stats().workerCrashes, 0);
  await catalog.close();
});

void t.test('every deep pattern up to the event loop limit is parsed there without breaking the parser', async (t) => {
  const instance = await ParserInstance.create(await compileParser());
  const catalog = await createStatementCatalog(options);
  for (const [head, part, tail] of [
    ['select ', '1+', '1'],
    ['select ', '+', '1'],
    ['select ', '- ', '1'],
    ['select ', '(', ''],
    ['select ', 'not ', 'true'],
    ['select ', '1||', '1'],
    ['select ', 'a and ', 'b'],
    ['select ', 'f(', ''],
    ['select ', '(select ', ''],
    ['select 1', ' union select 1', ''],
    ['select a', '[1]', ''],
    ['select a', '::int', ''],
    ['select ', 'array[', ''],
    ['select ', 'case when ', ''],
    ['select * from a', ' join b on true', ''],
    ['select ', '1,', '1'],
    ['select 1', ' is null', ''],
    ['select ', '@', '1'],
    ['with a as (', 'with a as (', ''],
  ] as const) {
    const text = head + part.repeat(Math.floor((inlineParseBytesMax - head.length - tail.length) / part.length)) + tail;
    t.not(instance.parse(Buffer.from(text)).kind, 'broken', part);
    ask(catalog, text);
  }
  t.equal(catalog.stats().parsersReplaced, 0);
  await catalog.close();
});

void t.test('a large literal does not make a statement large', async (t) => {
  const catalog = await createStatementCatalog(options);
  t.equal(ask(catalog, `insert into t values ('${'x'.repeat(50_000)}')`).known, true);
  t.equal(ask(catalog, `select 1 where a in (${'12345,'.repeat(9_000)}1)`).known, true);
  const set = `set x = '${'y'.repeat(9_000)}'`;
  t.equal(ask(catalog, set), PENDING, 'unless the literal decides');
  t.match(await eventually(catalog, set), { known: true, hazards: [{ kind: 'set', name: 'x' }] });
  await catalog.close();
});

void t.test('entries and bytes are bounded, and what is in use stays', async (t) => {
  const catalog = await createStatementCatalog({ ...options, maxEntries: 20 });
  const kept = ask(catalog, 'select kept from t where a = 1');
  for (let i = 0; i < 500; i++) {
    ask(catalog, `select c${i} from t`);
    t.equal(ask(catalog, `select kept from t where a = ${i}`), kept);
  }
  t.equal(catalog.stats().shapes, 20);
  t.equal(catalog.stats().evictions, 481);
  for (let i = 0; i < 500; i++) ask(catalog, `select pg_advisory_lock(${i})`);
  t.equal(catalog.stats().texts, 20);
  await catalog.close();

  const small = await createStatementCatalog({ ...options, maxBytes: 50_000 });
  for (let i = 0; i < 500; i++) ask(small, `select c${i} from t`);
  t.ok(small.stats().shapeBytes <= 50_000);
  t.ok(small.stats().shapes > 10);
  await small.close();
});

void t.test('keys that collide by design cost a constant and are never confused', async (t) => {
  const table = new ByteTable<number>({ maxEntries: 1_000, maxBytes: 1 << 20, hashKey: { low: 0, high: 0 } });
  const words = new Int32Array(4);
  const wanted = new Map<string, number>();
  for (let i = 0; i < 5_000; i++) {
    words[0] = i % 700;
    words[1] = i % 3;
    const key = `${words[0]},${words[1]}`;
    const found = table.find(words, 8);
    if (found !== undefined) t.equal(found.value, wanted.get(key));
    else table.insert(words, 8, i);
    if (found === undefined) wanted.set(key, i);
  }
  t.ok(table.size <= 1_000);
  t.ok(chainLengthMax < 100);
});

void t.test('the queue to the thread is bounded, and a thread that dies takes only its own text with it', async (t) => {
  const compiled = await compileParser();
  const client = new ParseWorkerClient({ compiled, trustedFunctions: [] });
  const answers: unknown[] = [];
  for (let i = 0; i < workerQueueMax; i++)
    t.ok(client.submit(Buffer.from(`select ${i}`), false, (facts) => answers.push(facts)));
  t.equal(
    client.submit(Buffer.from('select 1'), false, () => t.fail('not accepted')),
    false,
  );
  while (client.queued > 0) await sleep(5);
  t.equal(answers.length, workerQueueMax);
  t.ok(answers.every((facts) => facts !== undefined));
  await client.close();
  t.equal(
    client.submit(Buffer.from('select 1'), false, () => t.fail('closed')),
    false,
  );

  const doomed = new ParseWorkerClient({ compiled: {} as never, trustedFunctions: [] });
  const lost: unknown[] = [];
  doomed.submit(Buffer.from('select 1'), false, (facts) => lost.push(facts));
  doomed.submit(Buffer.from('select 2'), false, (facts) => lost.push(facts));
  while (doomed.queued > 0) await sleep(5);
  t.same(lost, [undefined, undefined]);
  t.equal(doomed.crashes, 2);
  await doomed.close();
});

void t.test('what is known of texts is counted, and not only the texts', async (t) => {
  const maxBytes = 8 << 20;
  const catalog = await createStatementCatalog({ ...options, maxEntries: 10_000, maxBytes });
  catalog.withDeeds = true;
  const columns = (name: string): string => Array.from({ length: 3_000 }, (_, n) => `${name}.c${n}`).join();
  for (let n = 0; n < 40; n++) {
    const facts = await eventually(catalog, `select ${columns(`a${n}`)} from people a${n}`);
    t.equal(facts.known, true);
  }
  // A literal decides: such texts are kept beside the shapes.
  for (let n = 0; n < 40; n++)
    await eventually(catalog, `select set_config('a.b', '${n}', true), ${columns('a')} from a`);
  const { shapes, shapeBytes, texts } = catalog.stats();
  t.ok(shapeBytes <= maxBytes, `${shapeBytes} bytes of ${shapes} shapes`);
  t.ok(shapes < 10, `of megabytes each, ${shapes} are kept`);
  t.ok(texts < 10, `and ${texts} texts`);
  await catalog.close();
});
