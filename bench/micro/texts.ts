// The statements the micro works use: for each number a text of the same length.

/** @param n from 1,000,000 to 9,999,999: seven digits in every text */
export type TextOf = (n: number) => string;

export const pointQuery: TextOf = (n) => `SELECT abalance FROM pgbench_accounts WHERE aid = ${n};`;

export const pointQueryWithParameter = 'SELECT abalance FROM pgbench_accounts WHERE aid = $1';

export const join: TextOf = (n) =>
  `SELECT o.id, c.name, sum(l.quantity * l.price) AS total FROM orders o JOIN customers c ON c.id = o.customer_id
JOIN order_lines l ON l.order_id = o.id WHERE o.status = 'paid' AND c.region = ${n} GROUP BY o.id, c.name`;

export const inList: TextOf = (n) => {
  const ids = Array.from({ length: 449 }, (_, i) => n + i);
  return `SELECT id, name, price FROM items WHERE id IN (${ids.join(', ')})`;
};

export const insertValues: TextOf = (n) => {
  const rows = Array.from(
    { length: 1_380 },
    (_, i) => `(${n + i}, 'click', '2026-01-31 17:45:00', 'https://example.org/path', 12.50)`,
  );
  return `INSERT INTO events (id, kind, at, address, price) VALUES ${rows.join(', ')}`;
};

/** What it does depends on the literal: it is known by its text and not by its shape. */
export const setText: TextOf = (n) => `SET search_path TO 'tenant_${n}', public`;

/** Another shape for each number. */
export const shapeOf: TextOf = (n) => `SELECT column_${n} FROM accounts WHERE id = 1`;

/** The same for a statement a little longer than `join`. */
export const joinShapeOf: TextOf = (n) => join(1_000_000).replace('o.status', `o.status_${n}`);
