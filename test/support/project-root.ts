// Finds the checkout that the running code was compiled from.

import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The nearest directory upward that has the sources, or whose node_modules is a link into one that has (a build elsewhere). */
export const projectRoot: string = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(start: string): string {
  for (let at = start; ; at = dirname(at)) {
    const modules = join(at, 'node_modules');
    const linked = existsSync(modules) ? dirname(realpathSync(modules)) : at;
    const found = [at, linked].find(
      (path) => existsSync(join(path, 'package.json')) && existsSync(join(path, 'lib/util/index.ts')),
    );
    if (found !== undefined) return found;
    if (dirname(at) === at) throw new Error(`no project above ${start}`);
  }
}
