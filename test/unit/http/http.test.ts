// The HTTP server in front of a weir without any server: routes, formats, limits of labels, readiness, and requests that are refused.

import net from 'node:net';
import pino from 'pino';
import t, { type Test } from 'tap';
import { newDatabase } from '../../../lib/config/index.js';
import { type HazardReport, ownSource, readHazardReport, startHttp } from '../../../lib/http/index.js';
import { histogramSamples } from '../../../lib/http/metric.js';
import { Metrics } from '../../../lib/http/metrics.js';
import { groupPools, labelledPoolsMax } from '../../../lib/http/pool-groups.js';
import { mergedReadiness, readiness } from '../../../lib/http/readiness.js';
import { TimeHistogram, timeBucketsMs } from '../../../lib/metrics/index.js';
import { type Pooler, takeCensus } from '../../../lib/pooler/index.js';
import { resetKinds } from '../../../lib/relay/index.js';
import { footprint, hazardNames } from '../../../lib/session/index.js';
import { eventually } from '../../support/eventually.js';
import { FakeServer } from '../../support/fake-server.js';
import { startWeir } from '../../support/weir.js';
import { type Family, readExposition, readingOf } from './exposition.js';

const openMetricsType = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

const logged: string[] = [];
const log = pino({ level: 'debug' }, { write: (line: string) => logged.push(line) });
// Port 1 of the loopback address: nobody listens there.
const weir = await startWeir({
  server: { host: '127.0.0.1', port: 1 },
  log,
  users: { alice: 'a' },
  weir: { auth_type: 'trust', server_login_retry: 0.2, server_connect_timeout: 1 },
});
const http = await startHttp(ownSource(weir.pooler), { host: '127.0.0.1', port: 0 });
const base = `http://127.0.0.1:${http.port}`;
t.teardown(async () => {
  await http.close();
  await weir.stop();
});

async function scrape(accept = '*/*'): Promise<{ type: string; families: ReadonlyMap<string, Family> }> {
  const response = await fetch(`${base}/metrics`, { headers: { accept } });
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  const type = response.headers.get('content-type') ?? '';
  const format = type.startsWith('application/openmetrics-text') ? 'openmetrics' : 'prometheus';
  return { type, families: readExposition(await response.text(), format) };
}

void t.test('the checker refuses what breaks the format', async (t) => {
  const good = '# HELP a_total A b.\n# TYPE a_total counter\na_total{x="\\"\\\\\\n,}"} 1\n';
  t.equal(readingOf(readExposition(good, 'prometheus'), 'a_total', { x: '"\\\n,}' }), 1);
  const histogram = (buckets: string) => `# HELP h H.\n# TYPE h histogram\n${buckets}h_sum 1\nh_count 2\n`;
  readExposition(histogram('h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n'), 'prometheus');
  for (const bad of [
    good.slice(0, -1),
    `${good}b 1\n`,
    good + good,
    good.replace('# HELP a_total A b.\n', ''),
    good.replace('# TYPE a_total counter\n', ''),
    good.replace('A b.', ''),
    good.replace('} 1', '} one'),
    good.replace('} 1', '} -1'),
    good.replace('\\\\', '\\x'),
    `${good}a_total{x="\\"\\\\\\n,}"} 2\n`,
    histogram('h_bucket{le="1"} 3\nh_bucket{le="+Inf"} 2\n'),
    histogram('h_bucket{le="1"} 1\n'),
  ]) {
    t.throws(() => readExposition(bad, 'prometheus'), JSON.stringify(bad));
  }
  t.throws(() => readExposition(good, 'openmetrics'), 'no EOF, and a counter family that ends in _total');
});

void t.test('/metrics is valid in both formats, however often and in whichever order it is asked for', async (t) => {
  for (const accept of ['*/*', openMetricsType, 'text/plain;version=0.0.4', openMetricsType, '*/*']) {
    const { type, families } = await scrape(accept);
    const open = accept === openMetricsType;
    t.equal(type, open ? openMetricsType : 'text/plain; version=0.0.4; charset=utf-8');
    const own = [...families.values()].filter((family) => family.name.startsWith('weir_'));
    t.ok(own.length >= 35, `${own.length} metrics of weir`);
    t.same(
      own.filter(({ help }) => help.length < 10 || !/\.$/.test(help)),
      [],
      'each has a sentence of help',
    );
    const counters = own.filter((family) => family.type === 'counter');
    t.same(
      counters.filter((family) => family.name.endsWith('_total') === open),
      [],
      'and counters the names of the format',
    );
    t.ok(families.has('process_resident_memory_bytes') && families.has('nodejs_heap_size_total_bytes'));
    t.equal(readingOf(families, 'weir_build_info', { version: 'test', node: process.versions.node }), 1);
    t.equal(readingOf(families, 'weir_client_connections_limit'), 10_000);
  }
  const both = await Promise.all([scrape(), scrape(openMetricsType), scrape()]);
  t.equal(both.length, 3, 'and at the same time');
});

void t.test('/healthz is 200 as long as the process serves', async (t) => {
  const response = await fetch(`${base}/healthz`);
  t.same([response.status, await response.json()], [200, { status: 'ok' }]);
});

async function ready(): Promise<{ status: number; reasons: readonly string[] }> {
  const response = await fetch(`${base}/readyz`);
  const { reasons } = (await response.json()) as { reasons: readonly string[] };
  return { status: response.status, reasons };
}

void t.test('/readyz says no while weir is paused', async (t) => {
  t.same(await ready(), { status: 200, reasons: [] });
  await weir.pooler.pause(undefined);
  t.same(await ready(), { status: 503, reasons: ['paused'] });
  t.equal(readingOf((await scrape()).families, 'weir_paused'), 1);
  weir.pooler.resume(undefined);
  t.same(await ready(), { status: 200, reasons: [] });
});

void t.test('/readyz says which server cannot be reached, until the error is old', async (t) => {
  await t.rejects(weir.connect({ user: 'alice', database: 'app' }));
  const { status, reasons } = await ready();
  t.equal(status, 503);
  t.match(reasons, [/^no server for database app, user alice \(SQLSTATE 08\w+\)$/]);
  const { families } = await scrape();
  const labels = { database: 'app', user: 'alice' };
  t.equal(readingOf(families, 'weir_pool_failing', labels), 1);
  t.equal(readingOf(families, 'weir_server_connect_failures_total'), 1);
  t.equal(readingOf(families, 'weir_login_failures_total', { reason: '08006' }) ?? 0, 1);
  t.equal(readingOf(families, 'weir_pooler_errors_total', { sqlstate: '08006' }), 1);
  // Nobody needs the pool, so nobody tries: after retry and connect time-out it no longer counts.
  await eventually(async () => (await ready()).status === 200);
});

void t.test('/readyz says no while every login to PostgreSQL is refused', async (t) => {
  const server = await FakeServer.start(t);
  server.refusal = { sqlstate: '28P01', message: 'password authentication failed' };
  server.behaviour = 'refuse';
  const place = [{ kind: 'tcp', host: '127.0.0.1', port: server.port }] as const;
  const { pooler, ...started } = await startWeir({
    server: { host: '127.0.0.1', port: 1 },
    users: { alice: 'a', bob: 'b' },
    weir: { auth_type: 'trust', server_login_retry: 0.2, server_tls_sslmode: 'disable' },
    config: (config) => ({
      ...config,
      databases: new Map(['app', '*'].map((name) => [name, newDatabase(name, place)])),
    }),
  });
  t.teardown(() => started.stop());
  const now = () => mergedReadiness([readiness(pooler)]);
  await t.rejects(started.connect({ user: 'alice', database: 'any' }));
  t.same(now(), { ready: true, reasons: [] }, 'the name of the database may be the reason');
  await t.rejects(started.connect({ user: 'alice', database: 'app' }));
  const reasons = ['the server refuses the login for database app, user alice (SQLSTATE 28P01)'];
  t.same(now(), { ready: false, reasons });
  const other = { reasons: [], refused: [], hasServers: false };
  t.same(mergedReadiness([readiness(pooler), other]), { ready: false, reasons });
  t.same(mergedReadiness([readiness(pooler), { ...other, hasServers: true }]), { ready: true, reasons: [] });
  server.behaviour = 'accept';
  await started.connect({ user: 'bob', database: 'app' }).then((client) => client.end());
  t.same(now(), { ready: true, reasons: [] }, 'it takes others');
});

void t.test('other paths and methods are 404, and large requests are refused', async (t) => {
  for (const [path, method] of [
    ['/', 'GET'],
    ['/metrics/', 'GET'],
    ['/../etc/passwd', 'GET'],
    ['/metrics', 'POST'],
    ['/healthz', 'DELETE'],
  ] as const) {
    const response = await fetch(base + path, { method });
    t.same([response.status, await response.json()], [404, { error: 'not found' }], `${method} ${path}`);
  }
  const bad = await fetch(`${base}/%zz`);
  t.same([bad.status, await bad.json()], [400, { error: 'bad request' }]);
  const large = await fetch(`${base}/metrics`, { headers: { 'x-large': 'x'.repeat(10_000) } });
  t.equal(large.status, 431);
  t.match(await rawRequest(`POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n`), /^HTTP\/1\.1 4\d\d /);
  t.equal((await fetch(`${base}/metrics`, { method: 'HEAD' })).status, 200);
});

async function rawRequest(text: string): Promise<string> {
  const socket = net.connect(http.port, '127.0.0.1', () => socket.write(text));
  const chunks: Buffer[] = [];
  socket.setTimeout(2_000, () => socket.destroy());
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    socket.end();
  });
  await new Promise((resolve) => socket.on('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

void t.test('a request is logged at debug only, without what was typed', async (t) => {
  await fetch(`${base}/readyz?token=hunter2`);
  await fetch(`${base}/hunter2`);
  await eventually(() => logged.filter((line) => line.includes('HTTP request')).length >= 10);
  const requests = logged.filter((line) => line.includes('HTTP request')).map((line) => JSON.parse(line) as object);
  t.match(requests.at(-1), { level: 20, method: 'GET', route: 'none', status: 404 });
  t.notOk(logged.some((line) => line.includes('hunter2')));
});

void t.test('/hazards lists what occurred and what the configuration makes of it', async (t) => {
  const { hazardLog, config } = weir.pooler;
  const ask = async (): Promise<HazardReport> => {
    const response = await fetch(`${base}/hazards`);
    t.same([response.status, response.headers.get('cache-control')], [200, 'no-store']);
    const report = readHazardReport(await response.json());
    if (report === undefined) throw new Error('what is written cannot be read');
    return report;
  };
  t.match(await ask(), { version: 'weir test', queries: 0, inspected: true, hazards: [], dropped: 0 });
  const example = Buffer.from('set role to x');
  hazardLog.record('alice', 'app', 'web', footprint({ hazards: ['role', 'temp'], example }));
  hazardLog.record('alice', 'app', 'web', footprint({ hazards: ['role'], example }));
  hazardLog.dropped = 3;
  const report = await ask();
  t.equal(Date.parse(report.since), Math.floor(weir.pooler.startedWallMs));
  t.same(report.dropped, 3);
  const common = { user: 'alice', database: 'app', application_name: 'web', example: 'set role to x' };
  t.match(report.hazards, [
    { ...common, hazard: 'role', count: 2, outcome: 'carried', transaction_mode: /^carried: / },
    { ...common, hazard: 'temp', count: 1, outcome: 'pinned', transaction_mode: /^pinned until / },
  ]);
  const policies = { 'on_hazard.role': 'pin', 'on_hazard.temp': 'refuse', track_session_state: false } as const;
  weir.pooler.change({ ...config, weir: { ...config.weir, ...policies } });
  t.match(await ask(), {
    inspected: false,
    hazards: [
      { outcome: 'pinned', transaction_mode: 'pinned: on_hazard.role = pin' },
      { outcome: 'refused', transaction_mode: 'refused: on_hazard.temp = refuse' },
    ],
  });
  weir.pooler.change(config);

  const { families } = await scrape();
  const counted = (hazard: string) => readingOf(families, 'weir_hazards_total', { hazard });
  t.same(['role', 'temp', 'listen', 'other'].map(counted), [2, 1, 0, 3]);
  t.equal(families.get('weir_hazards_total')?.samples.length, hazardNames.length + 1);

  const good: object = report;
  for (const bad of [
    undefined,
    null,
    'x',
    [],
    {},
    { ...good, queries: '1' },
    { ...good, hazards: {} },
    { ...good, hazards: [{ ...report.hazards[0], outcome: 'gone' }] },
    { ...good, hazards: [...report.hazards, { hazard: 'role', count: 1 }] },
  ])
    t.equal(readHazardReport(bad), undefined, JSON.stringify(bad));
});

void t.test('a port in use is named in the error', async (t) => {
  await t.rejects(startHttp(ownSource(weir.pooler), { host: '127.0.0.1', port: http.port }), {
    message: `cannot listen on 127.0.0.1:${http.port} for HTTP: EADDRINUSE`,
    hint: /http_listen/,
  });
});

void t.test('/readyz says no while weir shuts down, and /healthz goes on', async (t) => {
  const ending = await startWeir({ server: { host: '127.0.0.1', port: 1 } });
  const server = await startHttp(ownSource(ending.pooler), { host: '127.0.0.1', port: 0 });
  ending.pooler.shutdown('wait_for_clients');
  const response = await fetch(`http://127.0.0.1:${server.port}/readyz`);
  t.same([response.status, await response.json()], [503, { status: 'not ready', reasons: ['shutting down'] }]);
  t.equal((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status, 200);
  const idle = net.connect(server.port, '127.0.0.1');
  await new Promise((resolve) => idle.once('connect', resolve));
  await ending.pooler.finished;
  await server.close();
  await t.rejects(fetch(`http://127.0.0.1:${server.port}/healthz`), 'an idle connection keeps nothing');
  idle.destroy();
});

void t.test('a histogram keeps every observation, in seconds and cumulated', async (t) => {
  const times = new TimeHistogram();
  const observed = [0, ...timeBucketsMs, ...timeBucketsMs.map((ms) => ms + 0.01), 1e9];
  for (const ms of observed) times.observe(ms);
  const samples = histogramSamples('x', { a: 'b' }, times);
  const text = samples.map(({ metricName, labels, sharedLabels, value }) => {
    const pairs = Object.entries({ ...sharedLabels, ...labels }).map(([name, label]) => `${name}="${label}"`);
    return `${metricName}{${pairs.join(',')}} ${value}`;
  });
  const families = readExposition(`# HELP x X.\n# TYPE x histogram\n${text.join('\n')}\n`, 'prometheus');
  t.equal(readingOf(families, 'x_count', { a: 'b' }), observed.length);
  t.equal(readingOf(families, 'x_sum', { a: 'b' }), observed.reduce((sum, ms) => sum + ms, 0) / 1_000);
  for (const bound of timeBucketsMs) {
    const within = observed.filter((ms) => ms <= bound).length;
    t.equal(readingOf(families, 'x_bucket', { a: 'b', le: String(bound / 1_000) }), within, `up to ${bound} ms`);
  }
});

async function withPools(t: Test, count: number): Promise<Pooler> {
  const started = await startWeir({ server: { host: '127.0.0.1', port: 1 }, users: { u: 'p' } });
  t.teardown(() => started.stop());
  for (let i = 0; i < count; i++) {
    const made = started.pooler.poolFor(`d${i}`, 'u');
    if (made instanceof Error) throw made;
    made.pool.traffic.queries = i;
    made.pool.traffic.queryTime.observe(i);
  }
  return started.pooler;
}

void t.test('pools beyond the limit share one set of labels, and nothing is lost', async (t) => {
  const pooler = await withPools(t, labelledPoolsMax + 2);
  const count = labelledPoolsMax + 2;
  t.equal(groupPools(takeCensus(pooler).pools.slice(0, labelledPoolsMax)).length, labelledPoolsMax, 'at the limit');
  const before = performance.now();
  const { body } = await new Metrics(pooler).text('prometheus');
  t.comment(`${body.length} bytes for ${count} pools in ${Math.round(performance.now() - before)} ms`);
  const families = readExposition(body, 'prometheus');
  const queries = families.get('weir_queries_total')?.samples ?? [];
  t.equal(queries.length, labelledPoolsMax + 1, 'one more series than the limit');
  t.equal(
    queries.reduce((sum, { value }) => sum + value, 0),
    (count * (count - 1)) / 2,
  );
  const other = { database: '(other)', user: '(other)' };
  t.equal(readingOf(families, 'weir_queries_total', other), count - 2 + count - 1);
  t.equal(readingOf(families, 'weir_query_duration_seconds_count', other), 2);
  t.equal(readingOf(families, 'weir_pool_size_limit', other), 40);
});

void t.test('what clients leave behind is counted by pool and hazard, also while it is nothing', async (t) => {
  const pooler = await withPools(t, 2);
  const [pool] = pooler.pools;
  const ladder = pool?.traffic.ladder;
  if (ladder === undefined) throw new Error('no pool');
  ladder.probes = 5;
  ladder.reprepared = 6;
  ladder.pins.temp = 7;
  ladder.leaks.setting = 8;
  ladder.resets.targeted = 9;
  const { families, ...read } = await readings(pooler);
  const labels = { database: 'd0', user: 'u' };
  t.equal(read.of('weir_probes_total', labels), 5);
  t.equal(read.of('weir_reprepared_total', labels), 6);
  t.equal(read.of('weir_pins_total', { ...labels, reason: 'temp' }), 7);
  t.equal(read.of('weir_leaks_total', { ...labels, cause: 'setting' }), 8);
  t.equal(read.of('weir_resets_total', { ...labels, kind: 'targeted' }), 9);
  for (const [name, kinds] of [
    ['weir_pinned_clients', hazardNames],
    ['weir_pins_total', hazardNames],
    ['weir_leaks_total', hazardNames],
    ['weir_resets_total', resetKinds],
  ] as const) {
    t.equal(families.get(name)?.samples.length, 2 * kinds.length, name);
  }
  t.equal(read.of('weir_pinned_clients', { ...labels, reason: 'temp' }), 0);
});

void t.test('statements are counted by what weir knows of them', async (t) => {
  const pooler = await withPools(t, 0);
  const { families, ...read } = await readings(pooler);
  t.equal(read.of('weir_statement_shapes'), 0);
  t.equal(read.of('weir_statement_lookups_total', { result: 'hit' }), 0);
  t.equal(read.of('weir_statement_lookups_total', { result: 'miss' }), 0);
  t.equal(families.get('weir_statement_unknown_total')?.samples.length, 5);
});

async function readings(pooler: Pooler) {
  const { body } = await new Metrics(pooler).text('prometheus');
  const families = readExposition(body, 'prometheus');
  return {
    families,
    of: (name: string, labels: Readonly<Record<string, string>> = {}) => readingOf(families, name, labels),
  };
}
