// A program of its own: an HTTP function as serverless platforms run them, which opens a database connection per request.

import { createServer, type ServerResponse } from 'node:http';
import pg from 'pg';

const connectMsMax = 10_000;
const aidMax = Number(process.env['BENCH_AID_MAX'] ?? '100000');

const server = createServer((_request, response) => {
  readBalance().then(
    (balance) => answer(response, 200, { balance }),
    (error: unknown) => answer(response, 500, { error: error instanceof Error ? error.message : String(error) }),
  );
});

// The bench reads the port from this line.
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`listening ${address.port}`);
});

/** Connection settings come from PGHOST, PGPORT and the like, as an application's would. */
async function readBalance(): Promise<number> {
  const client = new pg.Client({ connectionTimeoutMillis: connectMsMax });
  await client.connect();
  try {
    const aid = 1 + Math.floor(Math.random() * aidMax);
    const result = await client.query<{ abalance: number }>('SELECT abalance FROM pgbench_accounts WHERE aid = $1', [
      aid,
    ]);
    const row = result.rows[0];
    if (row === undefined) throw new Error(`no account ${aid}`);
    return row.abalance;
  } finally {
    await client.end();
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
