// Holds the sources of the project to the rules of the tree, and the checker of those rules to small bad examples.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../support/project-root.js';
import {
  cycles,
  foreignTexts,
  headerProblems,
  hotFileProblems,
  hotFiles,
  importsOf,
  rankProblems,
  ranks,
  type Sources,
} from './checker.js';

const sources = readSources(['lib', 'test', 'bench']);
const dependencies = new Set(packagesOf('dependencies'));

void t.test('the real tree', async (t) => {
  t.ok(sources.size > 10 && sources.has('lib/util/index.ts'), 'the sources were found');
  t.same(
    rankProblems(sources, dependencies),
    [],
    'a folder of lib imports only indexes of lower rank, and declared packages',
  );
  t.same(cycles(sources), [], 'no file of lib imports itself, however indirectly');
  t.same(
    headerProblems(sources),
    [],
    'each file says in its first line what happens in it, each folder what it never does',
  );
  t.same(
    hotFiles.filter((pattern) => ![...sources.keys()].some((path) => pattern.test(path))),
    [],
    'every hot file is where the list says',
  );
  t.same(hotFileProblems(sources), [], 'nothing in a hot file waits, joins buffers or makes strings');
});

void t.test('no text ties the project to a machine', async (t) => {
  const texts = readSources(['lib', 'test', 'bench', 'config', 'README.md', 'Makefile', 'package.json', '.ci']);
  t.ok(texts.has('package.json') && texts.size > sources.size, 'the other texts were found');
  texts.delete('test/unit/tree/tree.test.ts');
  t.same(foreignTexts(texts, projectRoot), [], 'nobody is at home in it');
  const lock = readFileSync(join(projectRoot, 'package-lock.json'), 'utf8');
  t.equal(lock.match(/"resolved":/), null, 'the lock file leaves the registry to whoever installs');
});

void t.test(
  'the checker sees an import that goes up, sideways, past an index, out of lib or to a stranger',
  async (t) => {
    const good = {
      'lib/util/index.ts': '',
      'lib/wire/index.ts': '',
      'lib/wire/tags.ts': '',
      'lib/sql/index.ts': '',
      'test/a.ts': '',
    };
    const problemsOf = (path: string, text: string): string[] =>
      rankProblems(asSources({ ...good, [path]: text }), new Set(['known', '@scope/known']));
    t.same(
      problemsOf(
        'lib/wire/a.ts',
        "import { a } from '../util/index.js'; import fs from 'node:fs'; import 'known/deep'; import '@scope/known';",
      ),
      [],
    );
    t.same(problemsOf('lib/wire/a.ts', "import { a } from './tags.js';"), []);
    for (const text of [
      "import { a } from '../server/index.js';",
      "import { a } from '../sql/index.js';",
      "import type { A } from '../sql/index.js';",
      "export { a } from '../sql/index.js';",
      "export type { A } from '../sql/index.js';",
      "type A = import('../sql/index.js').A;",
      "const a = () => import('../sql/index.js');",
      "import { a } from '../util/ring.js';",
      "import { a } from '../../test/a.js';",
      "import { a } from './tags';",
      "import { a } from './absent.js';",
      "import { a } from 'stranger';",
      "import { a } from '@scope/stranger';",
    ]) {
      const extra = { 'lib/server/index.ts': '', 'lib/util/ring.ts': '' };
      const all = asSources({ ...good, ...extra, 'lib/wire/a.ts': text });
      t.equal(rankProblems(all, new Set(['known', '@scope/known'])).length, 1, text);
    }
    t.equal(problemsOf('lib/misc/index.ts', '').length, 1, 'a folder without a rank');
    t.equal(problemsOf('lib/loose.ts', '').length, 1, 'a file outside the folders');
    t.same(
      importsOf('a.ts', "import type { A } from './b.js'; import { type B } from './c.js';").map((one) => one.typeOnly),
      [true, false],
    );
  },
);

void t.test('the checker sees a cycle of any length, but not one of types alone', async (t) => {
  const ring = {
    'lib/util/a.ts': "import './b.js';",
    'lib/util/b.ts': "import './c.js';",
    'lib/util/c.ts': "export * from './a.js';",
  };
  t.same(cycles(asSources(ring)), ['lib/util/a.ts -> lib/util/b.ts -> lib/util/c.ts -> lib/util/a.ts']);
  t.equal(cycles(asSources({ 'lib/util/a.ts': "import './a.js';" })).length, 1);
  t.same(cycles(asSources({ ...ring, 'lib/util/c.ts': "import type { A } from './a.js';" })), []);
  t.same(
    cycles(
      asSources({
        'lib/util/a.ts': "import './b.js'; import './c.js';",
        'lib/util/b.ts': "import './c.js';",
        'lib/util/c.ts': '',
      }),
    ),
    [],
  );
});

void t.test('the checker sees a missing header, index, or limit of a folder', async (t) => {
  const index = '// Does this. Never does that.\n';
  t.same(
    headerProblems(asSources({ 'lib/util/index.ts': index, 'lib/util/a.ts': '#!/usr/bin/env node\n// Says so.\n' })),
    [],
  );
  t.equal(
    headerProblems(asSources({ 'lib/util/index.ts': index, 'lib/util/a.ts': 'const a = 1;\n// Late.\n' })).length,
    1,
  );
  t.equal(headerProblems(asSources({ 'test/a.test.ts': '\n// Late.\n' })).length, 1);
  t.equal(headerProblems(asSources({ 'lib/util/a.ts': '// Says so.\n' })).length, 1);
  t.equal(headerProblems(asSources({ 'lib/util/index.ts': '// Does this.\nexport const never = 1;\n' })).length, 1);
});

void t.test('the checker sees what waits or makes strings in a hot file, but not in its comments', async (t) => {
  const problemsOf = (text: string, path = 'lib/wire/splitter.ts'): string[] =>
    hotFileProblems(asSources({ [path]: text }));
  t.same(
    problemsOf(
      "// await JSON.parse, Promise, async\nconst text = 'async Promise'; const stringLength = 1; [].concat(x);",
    ),
    [],
  );
  for (const text of [
    'async function a() {}',
    'const a = async () => 1;',
    'class A { async a() {} }',
    'await a;',
    'for await (const a of b) c();',
    'let a: Promise<void>;',
    'new Promise(() => {});',
    'Buffer.concat([a]);',
    'a.toString();',
    'a?.toString("utf8");',
    'JSON.stringify(a);',
  ]) {
    t.not(problemsOf(text).length, 0, text);
  }
  t.not(problemsOf('await a;', 'lib/relay/x.ts').length, 0);
  t.same(problemsOf('await a;', 'lib/relay/deep/x.ts').concat(problemsOf('await a;', 'lib/wire/readers.ts')), []);
  t.same(problemsOf('a.toString(); // cold: only before the connection closes'), []);
  t.equal(problemsOf('a.toString(); // cold:\nb.toString(); // cold\n').length, 2, 'without a reason');
  t.match(problemsOf('\n\nJSON.parse(a);')[0], /splitter\.ts:3:/, 'with the line');
});

void t.test('the checker sees directories of people and of this checkout', async (t) => {
  const problemsOf = (text: string, root = '/srv/checkouts/one'): string[] =>
    foreignTexts(asSources({ 'lib/a.ts': text }), root);
  for (const text of ["'/home/ann/x'", 'see /Users/ann/x', '"/root/x"', '/srv/checkouts/one/lib'])
    t.equal(problemsOf(text).length, 1, text);
  for (const text of ['/tmp/x', 'https://example.org/home/ann', '/home', '~/x', '../root/x'])
    t.same(problemsOf(text), [], text);
  t.same(problemsOf('/app', '/app'), [], 'a single segment proves nothing');
});

void t.test('what README links to is in the package', async (t) => {
  const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => path ?? '');
  t.ok(links.length > 3, links.join(', '));
  const { files } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { files: readonly string[] };
  for (const link of links) {
    t.ok(existsSync(join(projectRoot, link)), `${link} is there`);
    t.ok(
      files.some((path) => link === path || link.startsWith(`${path}/`)),
      `${link} is shipped`,
    );
  }
});

void t.test('every folder of lib that has a rank has one from 0 to 11', async (t) => {
  t.ok(Object.values(ranks).every((rank) => Number.isInteger(rank) && rank >= 0 && rank <= 11));
});

function asSources(texts: Readonly<Record<string, string>>): Sources {
  return new Map(Object.entries(texts));
}

/** Every text file below the given places; those that do not exist are left out. */
function readSources(places: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const add = (path: string): void => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory() === true) for (const name of readdirSync(path)) add(join(path, name));
    else if (stat?.isFile() === true)
      found.set(relative(projectRoot, path).replaceAll(sep, '/'), readFileSync(path, 'utf8'));
  };
  for (const place of places) add(join(projectRoot, place));
  return found;
}

function packagesOf(key: string): string[] {
  const manifest: unknown = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));
  const listed: unknown = typeof manifest === 'object' && manifest !== null ? Reflect.get(manifest, key) : undefined;
  return typeof listed === 'object' && listed !== null ? Object.keys(listed) : [];
}
