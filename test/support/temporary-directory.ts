// A directory for one test, gone when the test is over.

import { mkdtempSync, readFileSync, realpathSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What is needed of tap's `t`. */
export interface Teardown {
  teardown(handler: () => void | Promise<void>): unknown;
}

export function temporaryDirectory(t: Teardown): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'weir-test-')));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const memoryBytesMin = 2 ** 31;
const memoryDirectory = '/dev/shm';

/** Where many small files are cheap: in memory where there is plenty of it and programs may run from it, else the usual place. */
export function scratchBase(): string {
  if (process.env['TMPDIR'] !== undefined || process.platform !== 'linux') return tmpdir();
  try {
    const { bavail, bsize } = statfsSync(memoryDirectory);
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((line) => line.split(' ')[1] === memoryDirectory);
    const options = mount?.split(' ')[3]?.split(',') ?? ['noexec'];
    return bavail * bsize >= memoryBytesMin && !options.includes('noexec') && options.includes('rw')
      ? memoryDirectory
      : tmpdir();
  } catch {
    return tmpdir();
  }
}
