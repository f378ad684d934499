// A database with something to hide: planted values that no reply to a restricted client may contain.

import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { startPostgres } from '../../support/index.js';
import { projectRoot } from '../../support/project-root.js';
import { RawClient } from '../../support/raw-client.js';
import { startWeir, type TestWeir, type WeirOptions } from '../../support/weir.js';

/** FunctionCall of pg_sleep(0). */
export const sleepByNumber = Buffer.from(`460000001c00000a4200010001000100000008${'00'.repeat(10)}`, 'hex');

/** In every value that the policy hides, and nowhere else. */
export const planted = 'PLANTED';

export const server = await startPostgres({
  hba: 'host all all 127.0.0.1/32 trust',
  sql: [
    'create schema other',
    `create table people (id int primary key, name text, email varchar(80), salary int)`,
    `insert into people select i, 'name' || i, 'PLANTED' || i || '@example.org', 1000 + i from generate_series(1, 20) i`,
    'create table secrets (id int, word text)',
    `insert into secrets select i, 'PLANTED-' || i from generate_series(1, 5) i`,
    'create table orders (id int primary key, person int, total int, email text)',
    `insert into orders select i, i % 20 + 1, i * 10, 'order' || i from generate_series(1, 50) i`,
    'create table other.people (id int, email text)',
    `insert into other.people values (1, 'harmless')`,
    'create view people_view as select * from people',
    'create view word_view as select word from secrets',
    'create view nested_view as select * from word_view',
    'create view orders_view as select id, total from orders',
    'create materialized view people_copy as select id, email from people',
    'create table events (id int, email text) partition by range (id)',
    'create table events_1 partition of events for values from (0) to (100)',
    `insert into events select i, 'PLANTED-event' || i from generate_series(1, 9) i`,
    `create function peek() returns setof text language sql as 'select email::text from public.people'`,
    `create function plus_one(int) returns int language sql immutable as 'select $1 + 1'`,
    `create procedure touch() language sql as 'update public.orders set total = total'`,
    'create operator ### (rightarg = int, function = plus_one)',
    'create view statistics_view as select most_common_vals::text, histogram_bounds::text from pg_stats',
    'create view peek_view as select peek()',
    'create view operator_view as select ### 1',
    `create view text_view as select query_to_xml('select * from public.secrets', true, true, '')`,
    'create table parent (id int, email text)',
    'create table child () inherits (parent)',
    `insert into child values (1, 'PLANTED-child')`,
    'create table secret_parent (id int)',
    'create table secret_child (word text) inherits (secret_parent)',
    `insert into secret_child values (1, 'PLANTED-word')`,
    'create schema closed',
    'create table closed.notes (word text)',
    `insert into closed.notes values ('PLANTED-note')`,
    'create view notes_view as select * from closed.notes',
    'create role lowly',
    'grant select on all tables in schema public to lowly',
    'create role bob login superuser',
    'create role alice login superuser',
  ],
});

/** Bob is the analyst. */
export const analystPolicy = readFileSync(`${projectRoot}/test/spec/policy/evasions-policy.toml`, 'utf8');

export async function startPoliced(
  t: Test,
  policy = analystPolicy,
  more: Partial<WeirOptions> = {},
): Promise<TestWeir> {
  const weir = await startWeir({
    server,
    policy,
    users: { bob: '', alice: '', postgres: server.admin.password },
    ...more,
    weir: { auth_type: 'trust', default_pool_size: 3, leak_probe_every: 1, ...more.weir },
  });
  t.teardown(() => weir.stop());
  return weir;
}

export async function connectAs(t: Test, place: { host: string; port: number }, user: string): Promise<RawClient> {
  const client = await RawClient.connect(place, { user });
  t.teardown(() => client.vanish());
  return client;
}
