// psycopg2, unmodified, sees through weir what it sees on a direct connection.

import t from 'tap';
import { compareTranscripts, program, pythonWith, run, startRig } from './rig.js';

const python = pythonWith('psycopg2');
const skip = python === undefined ? "psycopg2 is not installed (Debian's python3-psycopg2)" : false;

t.test('psycopg2', { skip }, async (t) => {
  const rig = await startRig(t);
  await compareTranscripts(t, rig, (place) =>
    run(python ?? '', ['-B', program('psycopg2-habits.py'), place.url(), String(place.servers)]),
  );
});
