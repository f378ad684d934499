// A PostgreSQL, weir in front of it with an audit trail, and what is in the trail.

import { readdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { diskDirectory, type VerifyOptions, type VerifyReport, verifySegments } from '../../../lib/audit/index.js';
import { eventually, startPostgres, temporaryDirectory } from '../../support/index.js';
import { RawClient, type RawLogin } from '../../support/raw-client.js';
import { type AuditRecord, readTrail } from '../../support/trail-records.js';
import { startWeir, type TestWeir, type WeirOptions } from '../../support/weir.js';

export const server = await startPostgres({
  sql: [
    'create table numbers (n int primary key, note text)',
    'create table pairs (id int primary key, word text); insert into pairs select i, $$word $$ || i from generate_series(0, 99) i',
  ],
});
t.teardown(() => server.stop());

export { type AuditRecord, readTrail };

export interface Audited extends TestWeir {
  readonly directory: string;
  client(login?: RawLogin): Promise<RawClient>;
  /** Once all that was asked is on disk. */
  records(): Promise<AuditRecord[]>;
  /** Those of statements: in `before` mode each with what its two records say. */
  statements(): Promise<AuditRecord[]>;
}

export async function start(t: Test, weir: WeirOptions['weir'] = {}, config?: WeirOptions['config']): Promise<Audited> {
  const directory = temporaryDirectory(t);
  const made = await startWeir({
    server,
    weir: {
      auth_type: 'trust',
      default_pool_size: 2,
      audit_dir: directory,
      audit_flush_interval: 0.005,
      admin_users: ['postgres'],
      ...weir,
    },
    users: { postgres: server.admin.password },
    ...(config === undefined ? {} : { config }),
  });
  t.teardown(() => made.stop());
  const records = async (): Promise<AuditRecord[]> => {
    const { trail } = made.pooler;
    if (trail === undefined) throw new Error('there is no trail');
    await eventually(() => trail.state().queuedBytes === 0);
    return readTrail(directory);
  };
  return Object.assign(made, {
    directory,
    client: async (login: RawLogin = {}) => {
      const client = await RawClient.connect(made, login);
      t.teardown(() => client.vanish());
      return client;
    },
    records,
    statements: async () => joined(await records()),
  });
}

export function joined(records: readonly AuditRecord[]): AuditRecord[] {
  const ends = new Map(records.filter(({ event }) => event === 'end').map((end) => [end['begin'], end]));
  return records.flatMap((record) => {
    if (record['event'] === 'statement') return [record];
    return record['event'] === 'begin' ? [{ ...record, ...ends.get(record['seq']) }] : [];
  });
}

export function verify(directory: string, options?: VerifyOptions): Promise<VerifyReport> {
  return verifySegments(diskDirectory(directory), readdirSync(directory), options);
}
