// Random joins, leaves, transactions and losses of the listening server, against a small model of PostgreSQL's rules for LISTEN.

import t from 'tap';
import { ListenWorld } from './listen/world.js';

const seed = Number(process.env['SEED'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 60_000);
/** Steps of one world, at the end of which everything has to have been told. */
const stepsOfOne = 400;

t.test(
  `every NOTIFY is told exactly once to whoever listens (SEED=${seed} STEPS=${steps})`,
  { timeout: 0 },
  async (t) => {
    let done = 0;
    let told = 0;
    let gaps = 0;
    for (let n = 0; done < steps; n++) {
      const world = new ListenWorld(seed * 1_000_003 + n);
      const problem = world.play(stepsOfOne);
      done += stepsOfOne;
      told += world.told;
      gaps += world.gaps;
      if (problem === undefined) continue;
      t.fail(`world ${n} of SEED=${seed}: ${problem}`, { diary: world.diary.slice(-60) });
      return;
    }
    t.ok(told > steps / 100, `${told} notifications were told in ${done} steps`);
    t.ok(gaps > 0, `${gaps} gaps were told`);
  },
);
