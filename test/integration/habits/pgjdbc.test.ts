// pgjdbc, unmodified, sees through weir what it sees on a direct connection.

import { existsSync } from 'node:fs';
import t from 'tap';
import { compareTranscripts, database, program, run, startRig, works } from './rig.js';

const jar = '/usr/share/java/postgresql.jar';

t.test('pgjdbc', { skip: missing() }, async (t) => {
  const rig = await startRig(t);
  await compareTranscripts(t, rig, ({ host, port, servers }) => {
    const url = `jdbc:postgresql://${host}:${port}/${database}`;
    return run('java', ['-cp', jar, program('PgjdbcHabits.java'), url, String(servers)]);
  });
});

/** A program is run from its source, which takes the compiler. */
function missing(): string | false {
  if (!existsSync(jar)) return "pgjdbc is not installed (Debian's libpostgresql-jdbc-java)";
  return works('javac', ['-version']) ? false : 'no JDK is installed';
}
