// The process of one test file: runs it as if it had been started by itself, and tells the runner, on a pipe of their own, which test begins.

import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import t from 'tap';

type Test = Pick<typeof t, 'on' | 'name'>;

const runnerPipe = 3;
let running: readonly string[] = [];

// Nothing of this shows in the arguments that the file sees.
process.argv.splice(1, 1);
follow(t, []);
await import(pathToFileURL(process.argv[1] as string).href);

/** @param path the names of the tests around it */
function follow(test: Test, path: readonly string[]): void {
  test.on('subtestStart', (inner) => {
    const names = [...path, inner.name];
    tell(names);
    follow(inner as unknown as Test, names);
  });
  test.on('subtestEnd', (inner) => {
    // The next one may have begun already.
    if (running[path.length] === inner.name) tell(path);
  });
}

function tell(names: readonly string[]): void {
  running = names;
  try {
    writeSync(runnerPipe, `${JSON.stringify(names)}\n`);
  } catch {
    // The runner is gone, or has no time to read: it is only told, not asked.
  }
}
