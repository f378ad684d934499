// Nanoseconds of knowing a statement: the scanner by the byte, a whole lookup by the statement.

import { createStatementCatalog, type ScanMode } from '../../lib/sql/index.js';
import { ShapeScanner } from '../../lib/sql/shape-scanner.js';

/** Many short rounds, of which the best counts: neighbours on the machine disturb long ones. */
const rounds = 60;
const callsPerRound = 20_000;
const variants = 512;
const mode: ScanMode = { standardConformingStrings: true, encoding: 'safe' };

/** pgbench's own texts; the number stands for what changes from one to the next. */
const texts: readonly [string, (n: number) => string][] = [
  ['select-only', (n) => `SELECT abalance FROM pgbench_accounts WHERE aid = ${n};`],
  ['begin', () => 'BEGIN;'],
  ['tpcb update accounts', (n) => `UPDATE pgbench_accounts SET abalance = abalance + ${n - 200} WHERE aid = ${n};`],
  ['tpcb select', (n) => `SELECT abalance FROM pgbench_accounts WHERE aid = ${n};`],
  ['tpcb update tellers', (n) => `UPDATE pgbench_tellers SET tbalance = tbalance + ${n - 200} WHERE tid = ${n % 10};`],
  ['tpcb update branches', (n) => `UPDATE pgbench_branches SET bbalance = bbalance + ${n - 200} WHERE bid = ${n % 3};`],
  [
    'tpcb insert',
    (n) =>
      `INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (${n % 10}, 1, ${n}, ${n - 200}, CURRENT_TIMESTAMP);`,
  ],
  ['end', () => 'END;'],
  ['parameters', () => 'SELECT abalance FROM pgbench_accounts WHERE aid = $1'],
  ['literal decides', () => "SET search_path TO 'a', public"],
  [
    'join of 380 bytes',
    (n) =>
      `SELECT o.id, o.created_at, c.name, sum(l.quantity * l.price) AS total FROM orders o JOIN customers c ON c.id = o.customer_id
       JOIN order_lines l ON l.order_id = o.id /* by day */ WHERE o.created_at >= '2024-01-01' AND o.status IN ('new', 'paid', 'sent')
       AND c.region = ${n} GROUP BY o.id, o.created_at, c.name HAVING sum(l.quantity * l.price) > 100.5 ORDER BY total DESC LIMIT 50`,
  ],
];

function best(run: () => void): number {
  let nanoseconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const start = process.hrtime.bigint();
    run();
    nanoseconds = Math.min(nanoseconds, Number(process.hrtime.bigint() - start));
  }
  return nanoseconds / callsPerRound;
}

const catalog = await createStatementCatalog({ maxEntries: 4096, maxBytes: 8 << 20, inspectLimitBytes: 65_536 });
const scanner = new ShapeScanner();
console.log(`${'text'.padEnd(22)}${'bytes'.padStart(7)}${'scan ns/byte'.padStart(14)}${'lookup ns'.padStart(11)}`);
for (const [name, text] of texts) {
  const buffers = Array.from({ length: variants }, (_, i) => Buffer.from(text(1000 + i * 7)));
  const bytes = buffers[0]!.length;
  for (const buffer of buffers)
    if (!catalog.lookup(buffer, 0, buffer.length, mode).known) throw new Error(`unknown: ${name}`);
  const scan = best(() => {
    for (let i = 0; i < callsPerRound; i++) {
      const buffer = buffers[i & (variants - 1)]!;
      scanner.scan(buffer, 0, buffer.length, true);
    }
  });
  const lookup = best(() => {
    for (let i = 0; i < callsPerRound; i++) {
      const buffer = buffers[i & (variants - 1)]!;
      catalog.lookup(buffer, 0, buffer.length, mode);
    }
  });
  const row = [bytes.toString().padStart(7), (scan / bytes).toFixed(2).padStart(14), lookup.toFixed(0).padStart(11)];
  console.log(name.padEnd(22) + row.join(''));
}
await catalog.close();
