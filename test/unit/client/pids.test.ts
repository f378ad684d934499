// The pids that clients are told: none that a backend can have, each of one client alone, and its process can be read from it.

import t from 'tap';
import { clientPidOf, isClientPid, nextSerial, processOfClientPid } from '../../../lib/client/index.js';
import { workersMax } from '../../../lib/config/index.js';

const lastSerial = 2 ** 31 / workersMax;

t.test('no pid is one that an operating system gives to a process, and each fits a positive int4', (t) => {
  let serial = 0;
  for (let i = 0; i < 5; i++) {
    serial = nextSerial(serial);
    for (const index of [0, 1, workersMax - 1]) {
      const pid = clientPidOf(serial, index);
      t.ok(pid > 4_194_304 && pid >= 2 ** 23, `${pid}`);
      t.ok(isClientPid(pid));
      t.equal(processOfClientPid(pid), index);
    }
  }
  t.end();
});

t.test('behind the last number comes the first: the greatest pid is an int4, and none is negative', (t) => {
  let greatest = 0;
  // The serials just before the numbers begin anew, wherever that is.
  for (let serial = 1; serial < lastSerial; serial += 1_000_003) {
    const next = nextSerial(serial);
    greatest = Math.max(greatest, clientPidOf(next, workersMax - 1));
  }
  t.ok(greatest < 2 ** 31);
  let last = 1;
  while (nextSerial(last + 1_000) !== 1) last += 1_000;
  while (nextSerial(last) !== 1) last++;
  const pid = clientPidOf(last, workersMax - 1);
  t.ok(pid < 2 ** 31 && pid > 2 ** 31 - 3 * workersMax, `${pid}`);
  t.equal(clientPidOf(nextSerial(last), 0), clientPidOf(1, 0));
  t.end();
});

t.test('what is no pid of a client is told from those that are', (t) => {
  for (const pid of [0, 1, -1, 32_768, 4_194_304, 2 ** 23 - 1, 2 ** 31, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.notOk(isClientPid(pid), `${pid}`);
  }
  t.end();
});
