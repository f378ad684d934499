// Plays every script of this folder, one subtest each; the name of the subtest is the behaviour its first line states.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/index.js';
import { runScript, StepFailed } from './run-script.js';
import { BadScript, parseScript } from './script.js';

const directory = join(projectRoot, 'test', 'scripts');
const files = readdirSync(directory)
  .filter((file) => file.endsWith('.pgt'))
  .sort();
/** To look into one: part of a file's name. */
const only = process.env['SCRIPT'] ?? '';

// A script spends its time waiting.
t.jobs = 6;

t.test('the scripts are there', async (t) => {
  t.ok(files.length >= 40, `${files.length} scripts were found`);
});

for (const file of files.filter((name) => name.includes(only))) {
  const source = readFileSync(join(directory, file), 'utf8');
  const title = /^# (.*)/.exec(source)?.[1] ?? 'a script without a title';
  t.test(`${file.replace('.pgt', '')}: ${title}`, { buffered: true }, async (t) => {
    try {
      const held = await runScript(parseScript(source));
      t.ok(held > 2, `${held} expectations hold`);
    } catch (error) {
      if (error instanceof StepFailed || error instanceof BadScript)
        t.fail(error.message.split('\n')[0] ?? '', { details: error.message });
      else throw error;
    }
  });
}

t.test('a script that does not hold fails, with its line', async (t) => {
  const script = parseScript('# wrong\nclient c1\nc1 > Query "select 1"\ns1 < Query "select 2"\n');
  await t.rejects(runScript(script), {
    message: /^line 4: .*\n {2}expected: Query "select 2"\n {2}received: Query "select 1"/,
  });
});

t.test('a script whose peers get more than it expects fails', async (t) => {
  const script = parseScript('# too much\nclient c1\nc1 > Query "select 1"\npool active=1\ns1 < nothing\n');
  await t.rejects(runScript(script), { message: /^line 5: .*nothing/ });
  const open = parseScript('# unread\nclient c1\nc1 > Query "select 1"; Query "select 2"\ns1 < Query "select 1"\n');
  await t.rejects(runScript(open), { message: /^after the last step s1 has unread/ });
});

t.test('bad scripts are refused with their line', async (t) => {
  for (const [source, message] of [
    ['client c1\n', /^line 1: the first line/],
    ['# x\nc1 > Querry "x"\n', /^line 2: a client sends no Querry/],
    ['# x\nc1 > Sync now\n', /^line 2: Sync has no place for "now"/],
    ['# x\nc1 < Parse "" "x"\n', /^line 2: no server sends Parse/],
    ['# x\nclient c1\nweir a=1\n', /^line 3: settings come before/],
    ['# x\npool busy=1\n', /^line 2: a pool counts/],
    ['# x\nc1 > Query "open\n', /^line 2: cannot be read/],
    ['# x\nclient c1\n', /expects nothing/],
  ] as const) {
    t.throws(() => parseScript(source), { message }, message.source);
  }
});
