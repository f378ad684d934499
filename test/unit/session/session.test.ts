// Settings as values and their difference as SQL, effects and resets, and prepared statements that no holder leaks.

import fc from 'fast-check';
import t from 'tap';
import {
  ClientStatements,
  type Footprint,
  footprint,
  inert,
  isReplayed,
  isSettingName,
  ServerStatements,
  Settings,
  type Statement,
  StatementRegistry,
} from '../../../lib/session/index.js';
import { AssertionFailure } from '../../../lib/util/index.js';
import { headerBytes } from '../../../lib/wire/index.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 500);

function settings(values: Record<string, string>): Settings {
  return new Settings(new Map(Object.entries(values)));
}

/** The statements of the message, without its frame. */
function replay(to: Settings, from: Settings): string[] | undefined {
  const message = to.replayMessage(from);
  if (message === undefined) return undefined;
  return message
    .toString('latin1', headerBytes, message.length - 1)
    .split(';')
    .map((statement) => statement.replace(/^(SET|RESET) "([^"]+)"/, '$1 $2'));
}

t.test('names that a session cannot set are not replayed', async (t) => {
  for (const name of ['server_version', 'IS_SUPERUSER', 'session_authorization', 'in_hot_standby'])
    t.notOk(isReplayed(name), name);
  for (const name of ['TimeZone', 'application_name', 'search_path', 'default_transaction_read_only'])
    t.ok(isReplayed(name), name);
});

t.test('the name of a setting is identifiers with dots, and nothing that could end a statement', async (t) => {
  for (const name of ['work_mem', 'TimeZone', 'my_ext.x', 'a.b.c', '_x', 'a$1']) t.ok(isSettingName(name), name);
  for (const name of ['', 'a b', 'a;b', "a'", 'a.', '.a', '1a', 'a..b', 'a-b', 'a=b', 'a\n', '\u00e4', 'a"'])
    t.notOk(isSettingName(name), JSON.stringify(name));
  t.ok(isSettingName('a'.repeat(255)));
  t.notOk(isSettingName('a'.repeat(256)));
});

t.test('a difference sets what is new or other, and resets what is gone', async (t) => {
  const from = settings({ a: '1', gone: 'x', same: 's' });
  const to = settings({ a: '2', same: 's', fresh: 'f', client_encoding: 'LATIN1' });
  t.same(replay(to, from)?.sort(), [
    'RESET gone',
    "SET a = E'2'",
    "SET client_encoding = E'LATIN1'",
    "SET fresh = E'f'",
  ]);
  t.equal(replay(to, to), undefined);
  t.equal(
    replay(settings({ b: '1', a: '2' }), settings({ a: '2', b: '1' })),
    undefined,
    'the order of names does not matter',
  );
  t.equal(replay(Settings.empty, Settings.empty), undefined);
});

t.test('the difference asked for last is remembered, and only that', async (t) => {
  const [a, b, c] = [settings({ x: 'a' }), settings({ x: 'b' }), settings({ x: 'c' })];
  t.equal(c.replayMessage(a), c.replayMessage(a), 'the same bytes');
  t.same(replay(c, a), ["SET x = E'c'"]);
  t.same(replay(a, c), ["SET x = E'a'"]);
  t.equal(replay(c, settings({ x: 'c' })), undefined);
  t.same(replay(c, b), ["SET x = E'c'"]);
});

t.test('lists of names are set with set_config, which does not make one name of them', async (t) => {
  const list = '"$user", public, "a b"';
  t.same(replay(settings({ search_path: list }), Settings.empty), [
    `SELECT pg_catalog.set_config('search_path', E'${list}', false)`,
  ]);
});

/** What PostgreSQL reads out of the E'' literal of a SET that is all ASCII, as UTF-8 bytes in a latin1 string. */
function readLiteral(sql: string): string | undefined {
  const match = /^SET "?application_name"? = E'((?:[ -&(-[\]-~]|\\[\\']|''|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*)'$/s.exec(
    sql,
  );
  const text = match?.[1]
    ?.replaceAll("''", "'")
    .replaceAll(/\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gs, (_, short?: string, long?: string, plain?: string) =>
      plain === undefined ? String.fromCodePoint(Number.parseInt(short ?? long ?? '', 16)) : plain,
    );
  return text === undefined ? undefined : Buffer.from(text, 'utf8').toString('latin1');
}

t.test('any value is read back as it was, whatever quotes and backslashes it has', async (t) => {
  t.plan(8);
  for (const value of ['', "it's", "''", '\\', "\\'", "a\\'; drop table x; --", '\n\t']) {
    const message = settings({ application_name: value }).replayMessage(Settings.empty);
    t.equal(
      readLiteral(message?.toString('latin1', headerBytes, message.length - 1) ?? ''),
      value,
      JSON.stringify(value),
    );
  }
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("'", '\\', ';', 'a', '\u00e9', '\u4e2d', '\u{1f600}', ' ', '-', '\n') }),
      (characters) => {
        const value = Buffer.from(characters, 'utf8').toString('latin1');
        const message = settings({ application_name: value }).replayMessage(Settings.empty);
        return readLiteral(message?.toString('latin1', headerBytes, message.length - 1) ?? '') === value;
      },
    ),
    { seed, numRuns: steps },
  );
  t.pass('for every run');
});

t.test('settings are values: equal by key, changed into others, names without case', async (t) => {
  const base = settings({ timezone: 'UTC' });
  t.equal(base.with('TimeZone', 'UTC'), base, 'the same value is the same object');
  const other = base.with('TimeZone', 'Asia/Tokyo');
  t.equal(base.get('TIMEZONE'), 'UTC', 'the first is as it was');
  t.equal(other.get('timezone'), 'Asia/Tokyo');
  t.notOk(base.equals(other));
  t.ok(other.with('timezone', 'UTC').equals(base));
  t.ok(
    base
      .withAll([
        ['A', '1'],
        ['b', '2'],
      ])
      .equals(
        base.withAll([
          ['B', '2'],
          ['a', '1'],
        ]),
      ),
  );
  t.notOk(settings({ a: 'b', c: 'd' }).equals(settings({ a: 'd', c: 'b' })));
  t.notOk(settings({ a: '' }).equals(Settings.empty));
});

t.test('two settings have one key exactly when they have the same values', async (t) => {
  t.plan(1);
  const value = fc.dictionary(fc.constantFrom('a', 'b', 'ab', 'c'), fc.constantFrom('', 'a', 'b', 'ab', 'c'), {
    maxKeys: 4,
  });
  fc.assert(
    fc.property(value, value, (x, y) => {
      const same = JSON.stringify(Object.entries(x).sort()) === JSON.stringify(Object.entries(y).sort());
      return (
        settings(x).equals(settings(y)) === same && (settings(y).replayMessage(settings(x)) === undefined) === same
      );
    }),
    { seed, numRuns: steps },
  );
  t.pass('for every run');
});

const body = (n: number): Buffer => Buffer.from(`select ${n}\0\0\0`);
/** As a server's channel does: sent in one batch, and answered. */
function prepare(server: ServerStatements, statement: Statement): void {
  const placed = server.place(statement, 0);
  server.confirm(placed);
  server.learned(placed, statement.text.version(statement.types, 'columns'));
  statement.version ??= placed.version;
}

const noEffects = (): Footprint => inert;

t.test('one body is one text, which is gone when nobody holds it; each Parse of it is a statement', async (t) => {
  const registry = new StatementRegistry('weir_');
  const scratch = body(1);
  const first = registry.hold(scratch, () => footprint({ effects: 5 }));
  scratch.fill(0);
  const second = registry.hold(body(1), () => footprint({ effects: 9 }));
  t.equal(first.text, second.text);
  t.ok(second.parsedAt > first.parsedAt);
  t.equal(second.footprint.effects, 5, 'effects are asked for once');
  t.same(first.body, body(1), 'the body is a copy');
  t.not(registry.hold(body(2), noEffects).text, first.text);
  first.text.proven = true;
  t.equal(registry.holdProven(body(1), '', 'constant'), undefined, 'it may have come to mean something else');
  t.equal(registry.holdProven(body(1), '', 'any')?.text, first.text);
  registry.release(first.text);
  registry.release(first.text);
  t.equal(registry.size, 2);
  registry.release(first.text);
  t.equal(registry.size, 1);
  t.throws(() => registry.release(first.text), AssertionFailure, 'more is not given back than was taken');
  t.not(registry.newName(), registry.newName(), 'names are not used twice');

  const begin = registry.hold(body(3), () => footprint({ transaction: 'BEGIN' }));
  t.equal(registry.holdProven(body(3), '', 'constant'), undefined, 'no server has prepared it yet');
  begin.text.proven = true;
  t.equal(registry.holdProven(body(3), '', 'constant'), begin);
  registry.release(begin.text);
  registry.release(begin.text);
  t.equal(registry.holdProven(body(3), '', 'constant'), undefined);
});

t.test('a server closes what it used longest ago, and may get it back', async (t) => {
  const registry = new StatementRegistry('weir_');
  const server = new ServerStatements(registry, 2);
  const [a, b, c] = [1, 2, 3].map((n) => registry.hold(body(n), noEffects)) as [Statement, Statement, Statement];
  prepare(server, a);
  t.equal(server.takeSurplus(), undefined, 'there is room');
  prepare(server, b);
  t.ok(server.use(a, 1), 'a is used after b');
  const taken = server.takeSurplus();
  t.equal(taken?.statement, b);
  t.equal(server.takeSurplus(), undefined);
  prepare(server, c);
  t.notOk(server.use(b, 1));
  if (taken !== undefined) server.restore(taken);
  t.equal(server.size, 3, 'its Close was never read');
  t.equal(server.takeSurplus(), taken, 'and comes again before anything else is prepared');
  if (taken !== undefined) server.restore(taken);
  server.max = 1;
  t.ok(server.takeSurplus() && server.takeSurplus() && server.takeSurplus(), 'until one more has room');
  t.equal(server.size, 0);
});

t.test('a name is given once', async (t) => {
  const registry = new StatementRegistry('weir_');
  const client = new ClientStatements(registry);
  client.set('s', registry.hold(body(1), noEffects));
  t.throws(() => client.set('s', registry.hold(body(2), noEffects)), AssertionFailure);
});

t.test('no sequence of preparing, closing, undoing and ending leaks a holder', async (t) => {
  t.plan(2);
  const action = fc.record({
    what: fc.constantFrom(
      'parse',
      'parse',
      'close',
      'serverParse',
      'evict',
      'undo',
      'settle',
      'drop',
      'clearClient',
      'clearServer',
      'shrink',
    ),
    client: fc.nat(2),
    server: fc.nat(1),
    name: fc.constantFrom('', 'a', 'b', 'c'),
    text: fc.nat(4),
  });
  let most = 0;
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60, size: 'max' }), (actions) => {
      const registry = new StatementRegistry('weir_');
      const clients = [0, 1, 2].map(() => new ClientStatements(registry));
      const servers = [0, 1].map(() => new ServerStatements(registry, 2));
      /** What a reply that has not come may undo. */
      const pending: { undo: () => void; settle: () => void }[] = [];
      for (const each of actions) {
        const client = clients[each.client] as ClientStatements;
        const server = servers[each.server] as ServerStatements;
        switch (each.what) {
          case 'parse':
            if (client.get(each.name) === undefined) client.set(each.name, registry.hold(body(each.text), noEffects));
            break;
          case 'close': {
            const statement = client.take(each.name);
            if (statement === undefined) break;
            pending.push({ undo: () => client.restore(each.name, statement), settle: () => client.forget(statement) });
            break;
          }
          case 'serverParse': {
            const statement = client.get(each.name);
            if (statement !== undefined && !server.use(statement, 1)) prepare(server, statement);
            break;
          }
          case 'evict': {
            const taken = server.takeSurplus();
            if (taken === undefined) break;
            pending.push({ undo: () => server.restore(taken), settle: () => server.forget(taken) });
            break;
          }
          case 'undo':
            pending.pop()?.undo();
            break;
          case 'settle':
            pending.shift()?.settle();
            break;
          case 'drop':
            client.drop(each.name);
            break;
          case 'clearClient':
            client.clear();
            break;
          case 'clearServer':
            server.clear();
            break;
          case 'shrink':
            server.max = 1;
            break;
          default:
            each.what satisfies never;
        }
        most = Math.max(most, registry.size);
        if (registry.size > 5) throw new Error('one body has two statements');
      }
      for (const each of pending) each.settle();
      for (const each of [...clients, ...servers]) {
        each.clear();
        if (each.size !== 0) throw new Error('something is left');
      }
      return registry.size === 0;
    }),
    { seed, numRuns: steps * 4 },
  );
  t.pass('for every run');
  t.ok(most > 3, 'many statements were held at once');
});
