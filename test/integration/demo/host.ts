// A stand-in for weir that tests may kill: starts an embedded PostgreSQL, says so in one line of JSON, and then does as it is told.

import { startEmbedded } from '../../../lib/demo/index.js';

/** What the line says. */
export interface HostReport {
  readonly postmaster: number;
  readonly port: number;
  readonly dataDir: string;
  readonly password: string;
  readonly uid: number;
}

const [manner, kind, directory] = process.argv.slice(2);
const place = kind === 'named' ? { dataDir: directory } : kind === 'copy' ? { copyOf: directory } : {};
const server = await startEmbedded({ ...place, log: () => {} });
const report: HostReport = {
  postmaster: server.pid,
  port: server.port,
  dataDir: server.dataDir,
  password: server.password.reveal(),
  uid: process.getuid?.() ?? -1,
};
console.log(JSON.stringify(report));
// `leave`: nothing is left to do, so the process ends without having stopped anything.
if (manner === 'exit') process.exit(0);
// `stay`: until the test, and with it this pipe, is gone.
if (manner === 'stay') process.stdin.on('end', () => process.exit(1)).resume();
