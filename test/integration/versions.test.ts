// The essentials on every supported PostgreSQL, 14 to 18: login, both protocols, statements, settings, COPY, cancel, reset, errors.

import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import postgresJs from 'postgres';
import t from 'tap';
import { eventually, postgresVersions, startPostgres } from '../support/index.js';
import { RawClient, say } from '../support/raw-client.js';
import { startWeir } from '../support/weir.js';

for (const version of postgresVersions) {
  t.test(`PostgreSQL ${version}`, async (t) => {
    const server = await startPostgres({
      version,
      settings: { timezone: 'GMT' },
      sql: [
        "create role scram login password 'scram'",
        'create table item (id int primary key, name text)',
        'grant all on item to public',
      ],
    });
    t.teardown(() => server.stop());
    const weir = await startWeir({
      server,
      weir: { default_pool_size: 1 },
      users: { postgres: server.admin.password, scram: 'scram' },
    });
    t.teardown(() => weir.stop());

    t.test('drivers: both protocols, statements, transactions, COPY', async (t) => {
      const a = await weir.connect();
      const b = await weir.connect();
      const major = (await a.query<{ v: string }>("select current_setting('server_version_num') as v")).rows[0]?.v;
      t.equal(Math.floor(Number(major) / 10_000), version);
      for (let n = 0; n < 3; n++) {
        for (const client of [a, b]) {
          const named = await client.query({ name: 'named', text: 'select $1::int + 1 as n', values: [n] });
          t.same(named.rows, [{ n: n + 1 }]);
          t.same((await client.query('select $1::text as t', [`${n}`])).rows, [{ t: `${n}` }]);
        }
      }
      await t.rejects(a.query('select 1/0'), { code: '22012' });
      await a.query('begin');
      await a.query("insert into item values (1, 'one')");
      await a.query('rollback');
      await pipeline(Readable.from(['1\tone\n', '2\ttwo\n']), a.query(copyFrom('copy item from stdin')));
      const out = new PassThrough();
      const text = (async (): Promise<string> => Buffer.concat(await out.toArray()).toString())();
      await pipeline(b.query(copyTo('copy item to stdout')), out);
      t.equal(await text, '1\tone\n2\ttwo\n');
      await a.end();
      await b.end();

      const sql = postgresJs(weir.url('scram', 'scram'), { max: 2 });
      const rows = await Promise.all([1, 2, 3, 4].map((n) => sql`select ${n}::int as n, current_user as u`));
      t.same(
        rows.map(([row]) => `${row?.['n']} ${row?.['u']}`),
        ['1 scram', '2 scram', '3 scram', '4 scram'],
      );
      await sql.end();
    });

    t.test('sessions: settings kept apart, told, taken back; nothing leaks', async (t) => {
      const trusted = await startWeir({
        server,
        weir: { auth_type: 'trust', default_pool_size: 1 },
        users: { postgres: server.admin.password },
      });
      t.teardown(() => trusted.stop());
      const a = await RawClient.connect(trusted, {
        parameters: {
          application_name: 'a',
          TimeZone: 'Asia/Tokyo',
          IntervalStyle: 'iso_8601',
          options: '-c work_mem=5MB',
        },
      });
      const b = await RawClient.connect(trusted, { minor: 2 });
      const see = async (client: RawClient): Promise<string> => {
        const names = ['application_name', 'timezone', 'intervalstyle', 'work_mem', 'search_path'];
        const { rows } = await client.query(`select ${names.map((name) => `current_setting('${name}')`).join(', ')}`);
        return rows[0]?.join('|') ?? '';
      };
      const mine = 'a|Asia/Tokyo|iso_8601|5MB|"$user", public';
      const other = '|GMT|postgres|4MB|"$user", public';
      t.equal(a.parameters.get('TimeZone'), 'Asia/Tokyo');
      for (const disturbance of [
        'select 1',
        "set work_mem = '9MB'; set enable_seqscan = off; reset work_mem; set work_mem = '5MB'",
        "begin; set timezone = 'UTC'; rollback",
        // What would keep the only server with its client is taken back at once.
        'create temp table mine (n int); drop table mine',
        'select pg_advisory_lock(1); select pg_advisory_unlock(1)',
        'prepare p as select 1',
        'declare c cursor with hold for select 1; close c',
        'listen news',
        'discard all',
        'reset all',
        'reset timezone',
      ]) {
        t.same((await a.query(disturbance)).errors, [], disturbance);
        t.equal(await see(b), other, `b after ${disturbance}`);
        t.equal(await see(a), mine, `a after ${disturbance}`);
        const { rows } = await b.query(`select (select count(*) from pg_class where relname = 'mine')
          + (select count(*) from pg_locks where locktype = 'advisory') + (select count(*) from pg_listening_channels())
          + (select count(*) from pg_prepared_statements where from_sql) + (select count(*) from pg_cursors where is_holdable)`);
        t.equal(rows[0]?.[0], '0', disturbance);
      }

      a.write(say.query('select pg_sleep(60)'));
      await eventually(() => [...trusted.pooler.pools].some(({ counts }) => counts.active === 1));
      await a.cancel(trusted);
      t.equal((await a.reply()).errors[0]?.['C'], '57014');
      a.write(say.query('begin; select pg_sleep(60)'));
      await eventually(() => [...trusted.pooler.pools].some(({ counts }) => counts.active === 1));
      await a.vanish();
      t.equal(await see(b), other);
      await b.end();
    });
  });
}
