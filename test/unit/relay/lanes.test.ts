// A shared server with both peers played: whose reply is whose, at every place where a reply can be cut, and what can be taken back.

import { serialize } from 'pg-protocol/dist/index.js';
import t from 'tap';
import { footprint } from '../../../lib/session/index.js';
import {
  bindCompleteMessage,
  commandComplete,
  dataRow,
  errorResponse,
  noDataMessage,
  parameterDescription,
  parseCompleteMessage,
  readyForQuery,
  rowDescription,
  TransactionStatus,
} from '../../../lib/wire/index.js';
import { Lane, type Reader } from '../../support/lane-rig.js';
import { frontendTexts } from '../../support/message-texts.js';

const { query, parse, bind, execute, sync } = serialize;
const idle = readyForQuery(TransactionStatus.Idle);
const description = rowDescription([{ name: 'c', typeOid: 25, typeSize: -1 }]);
const rows = (...texts: string[]): Buffer =>
  Buffer.concat([
    description,
    ...texts.map((text) => dataRow([text])),
    commandComplete(`SELECT ${texts.length}`),
    idle,
  ]);
const refusal = (sqlstate: string): Buffer => errorResponse({ severity: 'ERROR', sqlstate, message: 'no' });

t.test('replies go to whoever asked, wherever they are cut', async (t) => {
  const batch = [parse({ text: 'select 2' }), bind(), execute(), sync()];
  const reply = Buffer.concat([
    rows('of a'),
    ...[parseCompleteMessage, bindCompleteMessage, dataRow(['of b']), commandComplete('SELECT 1'), idle],
    ...[refusal('22012'), idle],
    rows('of d', 'of d too'),
  ]);
  for (let cut = 0; cut <= reply.length; cut++) {
    for (const second of [cut, Math.min(cut + 3, reply.length)]) {
      const lane = new Lane();
      const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => lane.reader(name)) as [Reader, Reader, Reader, Reader];
      a.ask(query('select 1'));
      b.ask(...batch);
      c.ask(query('select 1/0'));
      d.ask(query('select 4'));
      for (const part of [reply.subarray(0, cut), reply.subarray(cut, second), reply.subarray(second)]) {
        lane.answer(part);
      }
      const found = [a, b, c, d].map((reader) => reader.said().join(', '));
      const wanted = [
        'RowDescription c, DataRow of a, CommandComplete SELECT 1, ReadyForQuery I',
        'ParseComplete, BindComplete, DataRow of b, CommandComplete SELECT 1, ReadyForQuery I',
        'ErrorResponse 22012 no, ReadyForQuery I',
        'RowDescription c, DataRow of d, DataRow of d too, CommandComplete SELECT 2, ReadyForQuery I',
      ];
      if (cut === 0) t.same(found, wanted);
      else if (JSON.stringify(found) !== JSON.stringify(wanted)) t.same(found, wanted, `cut at ${cut} and ${second}`);
      if (lane.diary.join() !== 'a done,b done,c done,d done') t.same(lane.diary, [], `cut at ${cut}`);
      if (lane.runs.length !== 4 || lane.server.reads !== 0 || !lane.server.quiet) t.fail(`not clean after ${cut}`);
    }
  }
});

t.test('what turns out to write is taken back as long as nothing of a row has come', async (t) => {
  const beginning = [parseCompleteMessage, bindCompleteMessage, description];
  for (let cut = 0; cut <= Buffer.concat(beginning).length; cut++) {
    const lane = new Lane();
    const [a, b] = [lane.reader('a'), lane.reader('b')];
    a.ask(parse({ text: 'select 1' }), bind(), serialize.describe({ type: 'P' }), execute(), sync());
    b.ask(query('select 2'));
    const bytes = Buffer.concat([...beginning, refusal('25006'), idle, rows('of b')]);
    lane.answer(bytes.subarray(0, cut));
    lane.answer(bytes.subarray(cut));
    t.same([a.said(), lane.diary], [[], ['a again: writes', 'b done']], `cut at ${cut}`);
    t.same(b.said().length, 4);
  }
  const lane = new Lane();
  const a = lane.reader('a');
  a.ask(query('select 1'));
  lane.answer(description, dataRow(['1']), refusal('25006'), idle);
  t.same(a.said(), ['RowDescription c', 'DataRow 1', 'ErrorResponse 25006 no', 'ReadyForQuery I']);
  t.same(lane.diary, ['a done'], 'behind a row it is the client s error');
});

t.test('a cancel is taken back from whom it was not meant for, but only where one was sent', async (t) => {
  for (const sent of [true, false]) {
    const lane = new Lane();
    const a = lane.reader('a');
    a.ask(query('select 1'));
    lane.server.cancelSent = sent;
    lane.answer(refusal('57014'), idle);
    t.same(lane.diary, [sent ? 'a again: cancelled' : 'a done']);
    t.equal(a.said().length, sent ? 0 : 2);
  }
});

t.test('an answer that nobody waits for any more goes nowhere', async (t) => {
  const lane = new Lane();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => lane.reader(name)) as [Reader, Reader, Reader];
  const [first, second] = [a.ask(query('select 1')), b.ask(query('select 2'))];
  c.ask(query('select 3'));
  lane.answer(description);
  lane.server.dropRead(first);
  lane.server.dropRead(second);
  lane.answer(dataRow(['of a']), commandComplete('SELECT 1'), idle, rows('of b'), rows('of c'));
  t.same([a.said(), b.said()], [[], []]);
  t.equal(c.said()[1], 'DataRow of c');
  t.same(lane.diary, ['c done']);
  t.equal(lane.traffic.queries, 1, 'only what somebody asked counts');
});

t.test('whoever has nothing of an answer can be served elsewhere when the server is lost', async (t) => {
  const lane = new Lane();
  const [a, b] = [lane.reader('a'), lane.reader('b')];
  const first = a.ask(query('select 1'));
  const second = b.ask(query('select 2'));
  lane.answer(description, errorResponse({ severity: 'FATAL', sqlstate: '57P01', message: 'bye' }));
  t.same(a.said(), [], 'its end is not told to who can be served elsewhere');
  t.same(lane.server.takeReads('first'), [first, second]);
  t.same([first.started, second.started], [false, false]);

  for (const sqlstate of ['25006', '57014']) {
    const lane = new Lane();
    const read = lane.reader('a').ask(query('select 1'));
    lane.server.cancelSent = true;
    lane.answer(refusal(sqlstate));
    t.same(lane.server.takeReads('first'), [read], `between the error ${sqlstate} and the end of its batch`);
    t.same([read.started, read.rerun], [false, undefined]);
  }

  const other = new Lane();
  const c = other.reader('c');
  const begun = c.ask(query('select 1'));
  other.answer(description, dataRow(['1']));
  other.answer(errorResponse({ severity: 'FATAL', sqlstate: '57P01', message: 'bye' }));
  t.ok(begun.started);
  t.equal(c.said().at(-1), 'ErrorResponse FATAL 57P01 bye');
});

t.test('replies without a question, and transactions, are no replies to a read', async (t) => {
  const lane = new Lane();
  const a = lane.reader('a');
  a.ask(query('select 1'));
  lane.answer(description, commandComplete('BEGIN'), readyForQuery(TransactionStatus.InTransaction));
  t.same(lane.diary, ['doubt: a shared read has begun a transaction']);
  const other = new Lane();
  other.reader('b').ask(query('select 1'));
  other.answer(rows('1'), rows('2'));
  t.match(other.diary.join(), /doubt: a reply that nobody asked for|doubt: message|doubt/);
});

t.test('a prepared statement is prepared once on a lane, by the first read that uses it', async (t) => {
  const lane = new Lane();
  const [a, b] = [lane.reader('a'), lane.reader('b')];
  for (const reader of [a, b]) {
    const statement = lane.registry.hold(Buffer.from('select 1\0\0\0'), () => footprint({ read: lane.shape }));
    // Both have had it parsed elsewhere.
    statement.version = statement.text.version(statement.types, 'no data');
    reader.channel.statements.set('p', statement);
  }
  for (const reader of [a, b]) reader.ask(bind({ statement: 'p' }), execute(), sync());
  const written = frontendTexts(lane.toServer.takeLog());
  t.equal(written.filter((text) => text.startsWith('Parse')).length, 1, written.join(', '));
  const answer = [bindCompleteMessage, dataRow(['1']), commandComplete('SELECT 1'), idle];
  lane.answer(parseCompleteMessage, parameterDescription(Buffer.alloc(2)), noDataMessage, ...answer, ...answer);
  t.same(lane.diary, ['a done', 'b done']);
  t.same([a.said()[0], b.said()[0]], ['BindComplete', 'BindComplete']);
});

t.test('reads of a statement that turns out to have other columns on the lane are run again, unseen', async (t) => {
  const lane = new Lane();
  const readers = [lane.reader('a'), lane.reader('b'), lane.reader('c')];
  for (const reader of readers) {
    const statement = lane.registry.hold(Buffer.from('select 1\0\0\0'), () => footprint({ read: lane.shape }));
    const columns = reader.name === 'c' ? 'no data' : 'other columns';
    statement.version = statement.text.version(statement.types, columns);
    reader.channel.statements.set('p', statement);
  }
  for (const reader of readers) reader.ask(bind({ statement: 'p' }), execute(), sync());
  const prepared = [parseCompleteMessage, parameterDescription(Buffer.alloc(2)), noDataMessage];
  const answer = [bindCompleteMessage, dataRow(['1']), commandComplete('SELECT 1'), idle];
  lane.answer(...prepared, ...answer, ...answer, ...prepared, ...answer);
  t.same(lane.diary, ['a again: changed', 'b again: changed', 'c done']);
  t.same([readers[0]?.said(), readers[1]?.said()], [[], []]);
});
