// psycopg 3, unmodified, sees through weir what it sees on a direct connection.

import t from 'tap';
import { compareTranscripts, program, pythonWith, run, startRig } from './rig.js';

const python = pythonWith('psycopg');
const skip = python === undefined ? "psycopg 3 is not installed (Debian's python3-psycopg)" : false;

/** A prepared `select *` after another client's ALTER TABLE is an error on a direct connection, and never one in transaction mode. */
const better = new Map([['columns added by another client', ['[(1,)]', "[(1, 'new')]", "'no error'"]]]);

t.test('psycopg', { skip }, async (t) => {
  const rig = await startRig(t, { postgres: { settings: { max_prepared_transactions: 5 } } });
  await compareTranscripts(
    t,
    rig,
    (place) => run(python ?? '', ['-B', program('psycopg-habits.py'), place.url(), String(place.servers)]),
    better,
  );
});
