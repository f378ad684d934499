// Records of rights that are given: nobody has them before the record is as sure as it is to be, nor without one.

import t from 'tap';
import { eventually } from '../../support/index.js';
import { rig } from './rig.js';

const grant = { role: 'on_call', user: 'bob', until: '2026-01-01T00:00:00.000Z', reason: 'a "fire"', by: 'http' };

void t.test('with audit_mode = before a grant waits for the disk', async (t) => {
  const { directory, trail } = await rig({ mode: 'before' });
  let release = (): void => {};
  directory.beforeSync = () => new Promise((resolve) => (release = resolve));
  let answer: boolean | undefined;
  const granted = trail.granted(grant).then((made) => (answer = made));
  await eventually(() => directory.text().includes('on_call'));
  t.equal(answer, undefined, 'written, and not durable');
  directory.beforeSync = () => Promise.resolve();
  release();
  t.equal(await granted, true);
  trail.revoked({ role: 'on_call', user: 'bob', by: 'console:boss' });
  await trail.close();
  t.match(directory.records(), [
    { event: 'grant', ...grant },
    { event: 'revoke', role: 'on_call', user: 'bob', by: 'console:boss' },
  ]);
});

void t.test('with audit_mode = after it does not', async (t) => {
  const { directory, trail } = await rig({ mode: 'after', flushMs: 60_000 });
  t.equal(await trail.granted(grant), true);
  t.equal(trail.durable, 0);
  await trail.close();
  t.match(directory.records(), [{ event: 'grant' }]);
});

for (const onFull of ['block', 'refuse', 'drop'] as const) {
  void t.test(`while the disk fails there are no grants, with audit_on_full = ${onFull}`, async (t) => {
    const { directory, trail } = await rig({ mode: 'before', onFull });
    directory.fault = 'sync';
    trail.revoked({ user: 'alice' });
    await eventually(() => trail.state().failure !== undefined);
    t.equal(await trail.granted(grant), false);
    directory.fault = undefined;
    await eventually(() => trail.state().failure === undefined);
    t.equal(await trail.granted(grant), true);
    await trail.close();
    t.equal(directory.records().filter(({ event }) => event === 'grant').length, 1);
  });
}
