// What the audit trail says of random sessions is what PostgreSQL's own log says was run, statement by statement.

import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startPostgres, temporaryDirectory } from '../support/index.js';
import { endedStatements, readTrail } from '../support/trail-records.js';
import { kinds } from './session/pieces.js';
import { type Form, Playground } from './session/playground.js';
import { playProgram } from './session/program.js';
import { compareTrail } from './trail/compare.js';
import { type Logged, logSettings, readServerLog } from './trail/server-log.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 60);
/** Those that pin where the programs do not expect it. */
const wanted = new Set(kinds.filter((kind) => kind !== 'encodings' && kind !== 'names' && kind !== 'constants'));

interface Way {
  readonly audit_mode: 'after' | 'before';
  readonly pool_mode: 'transaction' | 'session';
}
const ways: readonly Way[] = [
  { audit_mode: 'after', pool_mode: 'transaction' },
  { audit_mode: 'before', pool_mode: 'transaction' },
  { audit_mode: 'after', pool_mode: 'session' },
];

const server = await startPostgres({ hba: 'host all all all trust', settings: logSettings });
t.teardown(() => server.stop());

async function play(t: Test, way: Way): Promise<void> {
  const readLog = (): Logged[] => readServerLog(server.dataDir, 'two', new Set(['plain', 'super']));
  const { length: loggedBefore } = readLog();
  const directory = temporaryDirectory(t);
  const form: Form = {
    workers: 1,
    lanes: 'off',
    base: 'none',
    more: (weir) => {
      const audit_dir = join(directory, String(weir));
      mkdirSync(audit_dir);
      // A session keeps its server.
      const size = way.pool_mode === 'session' ? { default_pool_size: 10 } : {};
      return { ...way, ...size, audit_dir, audit_parameters: 'full', audit_flush_interval: 0.005 };
    },
  };
  const playground = await Playground.create(server, 'weir', form);
  let done = 0;
  for (let program = 0; done < steps; program++) {
    // What a client sees is another test's: with several batches in one write, and with a server of its own, it is not always the same.
    done += (await playProgram(playground, seed, program, wanted, /^/)).steps;
  }
  await playground.stop();
  const records = readdirSync(directory)
    .sort((a, b) => Number(a) - Number(b))
    .flatMap((name) => endedStatements(readTrail(join(directory, name))));
  const logged = readLog().slice(loggedBefore);
  const { compared, own, differences } = compareTrail(records, logged);
  t.comment(`${done} steps: ${compared} statements compared, ${differences.length} differences`);
  t.comment(`of weir's own: ${[...own].map(([kind, count]) => `${kind} ${count}`).join(', ')}`);
  for (const difference of differences.slice(0, 40)) t.comment(difference.replaceAll(/\s+/g, ' ').slice(0, 400));
  t.same(differences.length, 0);
  t.ok(compared > done / 2, `${compared} statements were compared`);
}

for (const way of ways)
  t.test(`${way.audit_mode}, ${way.pool_mode} (SEED=${seed} STEPS=${steps})`, (t) => play(t, way));
