// A policy that was learnt allows every statement it was learnt from, and no other.

import t from 'tap';
import { assumedNames, Learner, type PolicyDocument, Rehearsal } from '../../../lib/policy/index.js';
import { StatementReader } from '../../../lib/sql/index.js';
import { policyOf } from '../../support/policy.js';

const reader = await StatementReader.create();
const names = assumedNames('bob');

async function learn(texts: readonly string[], user = 'bob'): Promise<PolicyDocument> {
  const learner = new Learner(names);
  for (const sql of texts) {
    const reading = await reader.read(sql);
    if (reading.kind === 'read') learner.take(user, reading.facts.deeds?.statements ?? []);
  }
  return policyOf(learner.policy());
}

async function verdict(document: PolicyDocument, sql: string, user = 'bob'): Promise<string> {
  const subject = { user, database: 'shop', application: '', address: undefined, certificate: undefined };
  const reading = await reader.read(sql);
  const rehearsal = new Rehearsal({ document, subject, wallMs: 0, names });
  return rehearsal.judge(sql, reading.kind === 'read' ? reading.facts : undefined).verdict;
}

const learnt = [
  'select * from orders',
  'select o.id from orders o join app.people p using (id) for update of o',
  'insert into orders values ($1) on conflict (id) do update set id = 1',
  'with gone as (delete from "Odd.Name" returning *) select * from gone',
  'merge into orders o using app.people p on p.id = o.id when matched then delete when not matched then do nothing',
  'copy (select id from orders) to stdout',
  'copy orders from stdin',
  "copy orders to program 'gzip'",
  'select my_own(1), now(), app.other()',
  'call app.touch()',
  'create temp table mine as select * from orders',
  'select * from mine',
  'create table made (id int)',
  'create index on made (id)',
  'set search_path = app',
  'reset work_mem',
  "select set_config('app.user', $1, true)",
  'begin; select 1; commit',
  'do $$ begin end $$',
  'select * from pg_stat_activity',
  'select relname from pg_class',
  'grant select on orders to bob',
  'grant usage on schema app to bob',
  'listen news',
  'vacuum orders',
  'explain analyze select * from orders',
  'declare c cursor for select * from orders',
  'create view seen as select * from orders',
  'create function f() returns int language sql as $$ select 1 $$',
  'alter table orders add column note text',
  'drop table made',
  'truncate orders',
  'lock table orders',
  'create trigger t before insert on orders for each row execute function f()',
];
const others = [
  'select * from people',
  'select * from other.orders',
  'update people set id = 1',
  'delete from app.people where id = 1',
  'insert into app.people values (1)',
  'select id from app.people, secrets',
  'copy app.people to stdout',
  'copy (select * from secrets) to stdout',
  "copy app.people to program 'gzip'",
  'select never_seen()',
  'select app.my_other()',
  'call app.another()',
  'set role postgres',
  'drop table orders',
  'truncate app.people',
  'create extension dblink',
  'checkpoint',
  'select 1 from pg_authid',
  'selec 1',
];

void t.test('every statement is allowed', async (t) => {
  const document = await learn(learnt);
  for (const sql of learnt) t.equal(await verdict(document, sql), 'allow', sql);
});

void t.test('any other is denied', async (t) => {
  const document = await learn(learnt);
  for (const sql of others) t.equal(await verdict(document, sql), 'deny', sql);
});

void t.test('one by one, each allows itself', async (t) => {
  for (const sql of learnt.filter((one) => one !== 'select * from mine')) {
    t.equal(await verdict(await learn([sql]), sql), 'allow', sql);
  }
});

void t.test('another user may do nothing of it', async (t) => {
  const document = await learn(learnt);
  t.equal(await verdict(document, 'select * from orders', 'alice'), 'deny');
  t.equal(await verdict(document, 'select 1', 'alice'), 'allow');
});

void t.test('users with strange names have roles of their own', async (t) => {
  const learner = new Learner(names);
  const users = ['a b', 'a_b', 'quote"d', 'x'.repeat(63), ['$', '{HOME}'].join(''), 'été'];
  const reading = await reader.read('select * from orders');
  for (const user of users) {
    learner.take(user, reading.kind === 'read' ? (reading.facts.deeds?.statements ?? []) : []);
  }
  const document = policyOf(learner.policy(), { HOME: 'x' });
  t.equal(document.roles.size, users.length);
  for (const user of users) t.equal(await verdict(document, 'select * from orders', user), 'allow', user);
});

void t.test('a rule that allows more than what was seen says so', async (t) => {
  const texts = async (sql: string): Promise<string> => {
    const learner = new Learner(names);
    const reading = await reader.read(sql);
    if (reading.kind === 'read') learner.take('bob', reading.facts.deeds?.statements ?? []);
    return learner.policy();
  };
  t.match(await texts('select set_config($1, $2, false)'), /# "set" stands for a setting that the texts do not name/);
  const named = await texts("select set_config('app.user', $1, false)");
  t.notMatch(named, /#/);
  t.match(named, /statements = \["set_app\.user"\]/);
});

void t.test('more tables than a rule can have', async (t) => {
  const texts = Array.from({ length: 501 }, (_, index) => `select * from t${index}`);
  const document = await learn(texts);
  t.equal(document.rules.length, 2);
  for (const sql of texts.slice(-2)) t.equal(await verdict(document, sql), 'allow', sql);
});
