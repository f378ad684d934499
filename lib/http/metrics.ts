// The table of weir's metrics, but for those of statements: name, type, what it means, and where its values are.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { AggregatorRegistry, collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { TimeHistogram } from '../metrics/index.js';
import type { Pool } from '../pool/index.js';
import { type PoolCensus, type Pooler, takeCensus } from '../pooler/index.js';
import { rerunCauses, resetKinds } from '../relay/index.js';
import { hazardNames, readBarriers } from '../session/index.js';
import {
  type Aggregator,
  common,
  counted,
  histogramSamples,
  LiveMetric,
  type MetricType,
  noLabels,
  one,
  type Sample,
} from './metric.js';
import { policyMetrics } from './policy-metrics.js';
import { groupPools, type PoolGroup } from './pool-groups.js';
import { statementMetrics } from './statement-metrics.js';

const clientStates = ['idle', 'active', 'waiting'] as const;
const serverStates = ['active', 'idle', 'used', 'tested', 'login', 'being_canceled', 'active_cancel'] as const;

/** Of a seal, as many as a double holds exactly. */
const sealDigits = 12;

/** What all metrics of one scrape are read from. */
interface View {
  readonly groups: readonly PoolGroup[];
  readonly login: number;
  readonly console: number;
}

/** Prometheus' text format 0.0.4, or OpenMetrics 1.0. */
export type MetricFormat = 'prometheus' | 'openmetrics';

export interface MetricText {
  /** Of the content. */
  readonly type: string;
  readonly body: string;
}

/** One metric with its values, as it crosses between processes. */
export interface MetricReadings {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** Of prom-client's. */
  readonly aggregator: string;
  readonly values: readonly object[];
}

/** One text of what several processes have read. */
export function mergedText(parts: readonly (readonly MetricReadings[])[], format: MetricFormat): Promise<MetricText> {
  const merged = AggregatorRegistry.aggregate(parts as object[]).getMetricsAsArray();
  if (format === 'prometheus') {
    const registry = new Registry();
    for (const metric of merged) registry.registerMetric(metric as unknown as Metric);
    return textOf(registry);
  }
  const registry = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  for (const metric of merged) registry.registerMetric(openMetric(metric as unknown as Readable));
  return textOf(registry);
}

/** What several processes have counted in all, without what they had at the moment. */
export async function mergedCounts(parts: readonly (readonly MetricReadings[])[]): Promise<MetricReadings[]> {
  const readings = (await AggregatorRegistry.aggregate(
    parts as object[],
  ).getMetricsAsJSON()) as unknown as MetricReadings[];
  return readings.filter(({ type, aggregator }) => type !== 'gauge' && aggregator === 'sum');
}

async function textOf(registry: Registry | Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>): Promise<MetricText> {
  const parts: string[] = [];
  for (const { name } of registry.getMetricsAsArray()) {
    parts.push(await registry.getSingleMetricAsString(name));
    // With hundreds of pools one metric takes milliseconds: clients are served between two.
    await nextTurn();
  }
  const open = registry.contentType === Registry.OPENMETRICS_CONTENT_TYPE;
  const body = open ? `${parts.join('\n')}\n# EOF\n` : `${parts.join('\n\n')}\n`;
  return { type: registry.contentType, body };
}

export class Metrics {
  readonly #pooler: Pooler;
  readonly #registry = new Registry();
  readonly #openRegistry = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  #view: View = { groups: [], login: 0, console: 0 };

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    collectDefaultMetrics({ register: this.#registry });
    for (const metric of this.#table()) this.#registry.registerMetric(metric.asMetric());
    this.#openRegistry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    for (const metric of this.#registry.getMetricsAsArray()) {
      this.#openRegistry.registerMetric(openMetric(metric as unknown as Readable));
    }
  }

  async text(format: MetricFormat): Promise<MetricText> {
    this.#look();
    return textOf(format === 'openmetrics' ? this.#openRegistry : this.#registry);
  }

  /** For another process, which merges them with those of its siblings. */
  async readings(): Promise<MetricReadings[]> {
    this.#look();
    const all: MetricReadings[] = [];
    for (const metric of this.#registry.getMetricsAsArray()) {
      all.push(await (metric as unknown as { get(): MetricReadings | Promise<MetricReadings> }).get());
      await nextTurn();
    }
    return all;
  }

  #look(): void {
    const census = takeCensus(this.#pooler);
    this.#view = { groups: groupPools(census.pools), login: census.login, console: census.console };
  }

  #table(): LiveMetric[] {
    return [
      ...this.#processMetrics(),
      ...statementMetrics(this.#pooler),
      ...policyMetrics(this.#pooler),
      ...this.#poolMetrics(),
    ];
  }

  #processMetrics(): LiveMetric[] {
    const pooler = this.#pooler;
    const build = { version: pooler.version.replace(/^weir /, ''), node: process.versions.node };
    return [
      one('gauge', 'weir_build_info', 'Which weir this is; always 1.', () => 1, build, 'first'),
      common('weir_paused', '1 while PAUSE or KILL without a database is in force.', () =>
        pooler.state === 'active' ? 0 : 1,
      ),
      common('weir_shutting_down', '1 while weir waits for clients or servers before it ends.', () =>
        pooler.shutdownMode === undefined ? 0 : 1,
      ),
      one(
        'gauge',
        'weir_client_connections',
        'Client connections that count against max_client_conn.',
        () => pooler.sessionCount,
      ),
      common('weir_client_connections_limit', 'max_client_conn.', () => pooler.config.weir.max_client_conn),
      one('gauge', 'weir_pending_logins', 'Clients connected that have not logged in yet.', () => this.#view.login),
      one('gauge', 'weir_console_clients', 'Clients of the console.', () => this.#view.console),
      one('counter', 'weir_logins_total', 'Logins that succeeded, those to the console too.', () => pooler.logins),
      counted('weir_login_failures_total', 'Logins that failed, by reason.', 'reason', () =>
        pooler.loginFailures.entries(),
      ),
      one(
        'counter',
        'weir_server_connect_failures_total',
        'Attempts to connect and log in to a server that failed.',
        () => pooler.connectFailures,
      ),
      counted('weir_server_errors_total', 'Errors servers sent, by SQLSTATE.', 'sqlstate', () =>
        pooler.serverErrors.entries(),
      ),
      counted('weir_pooler_errors_total', 'Errors weir itself sent to clients, by SQLSTATE.', 'sqlstate', () =>
        pooler.poolerErrors.entries(),
      ),
      ...this.#listenMetrics(),
      ...this.#auditMetrics(),
      new LiveMetric(
        'histogram',
        'weir_event_loop_lag_seconds',
        'How late the sweep, four times a second, began.',
        () => histogramSamples('weir_event_loop_lag_seconds', noLabels, pooler.loopLag),
      ),
    ];
  }

  #listenMetrics(): LiveMetric[] {
    const pooler = this.#pooler;
    return [
      one(
        'gauge',
        'weir_listened_channels',
        'Channels listened on for clients, of all pools together.',
        () => pooler.channelsListened,
      ),
      one(
        'counter',
        'weir_listeners_lost_total',
        'Times a server that listens for clients was lost: they may have missed notifications.',
        () => pooler.listenersLost,
      ),
      one(
        'gauge',
        'weir_notification_queue_bytes',
        'Bytes of notifications that clients have not been told yet.',
        () => pooler.notificationMemory.bytes,
      ),
    ];
  }

  /** Of the audit trail, where there is one. */
  #auditMetrics(): LiveMetric[] {
    const { trail } = this.#pooler;
    if (trail === undefined) return [];
    return [
      one('counter', 'weir_audit_records_total', 'Records made of what clients did.', () => trail.state().records),
      one(
        'counter',
        'weir_audit_dropped_total',
        'Records that were not made because there was no room for them.',
        () => trail.state().dropped,
      ),
      one(
        'counter',
        'weir_audit_refused_total',
        'Statements that were refused because they could not be recorded.',
        () => trail.state().refused,
      ),
      one(
        'gauge',
        'weir_audit_queue_bytes',
        'Bytes of records that are not on disk yet.',
        () => trail.state().queuedBytes,
      ),
      one(
        'gauge',
        'weir_audit_lag_seconds',
        'How long the oldest record that is not on disk has waited.',
        () => trail.state().lagMs / 1_000,
        noLabels,
        'max',
      ),
      one(
        'gauge',
        'weir_audit_seal',
        'The first 12 hexadecimal digits of the latest seal of a process, as a number.',
        () => Number.parseInt(trail.state().seal.slice(0, sealDigits), 16),
        { process: String(trail.state().process) },
        'first',
      ),
      common('weir_audit_failing', '1 while the disk does not take records.', () =>
        trail.state().failure === undefined ? 0 : 1,
      ),
    ];
  }

  #poolMetrics(): LiveMetric[] {
    return [
      this.#labelled(
        'gauge',
        'weir_clients',
        'Clients that are logged in, by state.',
        'state',
        clientStates,
        ({ clients }, state) => clients[state],
      ),
      this.#labelled(
        'gauge',
        'weir_servers',
        'Server connections, by state.',
        'state',
        serverStates,
        ({ servers }, state) => servers[state],
      ),
      this.#summed(
        'gauge',
        'weir_pool_waiting_clients',
        'Clients in the queue for a server.',
        ({ waiting }) => waiting,
      ),
      this.#greatest(
        'weir_pool_max_wait_seconds',
        'How long the client that waits longest for a server has waited.',
        (pool) => pool.maxWaitMs() / 1_000,
      ),
      this.#summed(
        'gauge',
        'weir_pool_size',
        'Server connections, those being made too.',
        (pool) => pool.servers.size + pool.counts.login,
      ),
      this.#summed(
        'gauge',
        'weir_pool_size_limit',
        'Most server connections the pool may have: pool_size and reserve_pool_size.',
        ({ settings }) => settings.pool_size + settings.reserve_pool_size,
        'max',
      ),
      this.#summed(
        'gauge',
        'weir_pool_paused',
        '1 while the pool lends no servers.',
        (pool) => (pool.paused ? 1 : 0),
        'max',
      ),
      this.#summed(
        'gauge',
        'weir_pool_failing',
        '1 while the pool has no server because the last attempt to connect failed.',
        (pool) => (pool.failure !== undefined && pool.servers.size === 0 ? 1 : 0),
        'max',
      ),
      ...this.#poolCounters(),
      ...this.#ladderMetrics(),
      ...this.#laneMetrics(),
      this.#times('weir_query_duration_seconds', 'From a query to its result.', (pool) => pool.traffic.queryTime),
      this.#times(
        'weir_transaction_duration_seconds',
        'From the first query of a transaction to its end.',
        (pool) => pool.traffic.transactionTime,
      ),
      this.#times('weir_wait_duration_seconds', 'From asking for a server to having it.', (pool) => pool.waitTime),
    ];
  }

  #poolCounters(): LiveMetric[] {
    const counter = (name: string, help: string, value: (pool: Pool) => number): LiveMetric =>
      this.#summed('counter', name, help, value);
    return [
      counter('weir_queries_total', 'Queries answered.', ({ traffic }) => traffic.queries),
      counter('weir_transactions_total', 'Transactions ended.', ({ traffic }) => traffic.transactions),
      counter('weir_received_bytes_total', 'Bytes from clients.', ({ traffic }) => traffic.bytesReceived),
      counter('weir_sent_bytes_total', 'Bytes to clients.', ({ traffic }) => traffic.bytesSent),
      counter('weir_client_parses_total', 'Statements clients prepared.', ({ traffic }) => traffic.clientParses),
      counter(
        'weir_server_parses_total',
        'Statements prepared on servers, on behalf of clients.',
        ({ traffic }) => traffic.serverParses,
      ),
      counter('weir_binds_total', 'Portals clients bound.', ({ traffic }) => traffic.binds),
      counter('weir_server_assignments_total', 'Times a client was given a server.', (pool) => pool.assignments),
      counter(
        'weir_settings_replays_total',
        "Times a server was brought to its client's settings.",
        ({ traffic }) => traffic.replays,
      ),
      counter('weir_server_connects_total', 'Server connections made.', (pool) => pool.connects),
      counter('weir_server_disconnects_total', 'Server connections closed or lost.', (pool) => pool.disconnects),
    ];
  }

  /** What clients leave behind in servers, and what is done about it. */
  #ladderMetrics(): LiveMetric[] {
    return [
      this.#labelled(
        'gauge',
        'weir_pinned_clients',
        'Clients that keep their server between transactions, by hazard; with two hazards a client counts twice.',
        'reason',
        hazardNames,
        ({ pool }, reason) => sum([...pool.servers], ({ channel }) => (channel.ladder.pins.has(reason) ? 1 : 0)),
      ),
      this.#labelled(
        'counter',
        'weir_pins_total',
        'Times a client began to keep its server, by hazard.',
        'reason',
        hazardNames,
        ({ pool }, reason) => pool.traffic.ladder.pins[reason],
      ),
      this.#labelled(
        'counter',
        'weir_resets_total',
        'Times a server was brought back to its beginning between two clients, by what was done.',
        'kind',
        resetKinds,
        ({ pool }, kind) => pool.traffic.ladder.resets[kind],
      ),
      this.#labelled(
        'counter',
        'weir_leaks_total',
        'Differences between a server and what weir believed of it, by hazard; looked for with leak_probe_every.',
        'cause',
        hazardNames,
        ({ pool }, cause) => pool.traffic.ladder.leaks[cause],
      ),
      this.#summed(
        'counter',
        'weir_probes_total',
        'Times weir asked a server what its client has left behind.',
        ({ traffic }) => traffic.ladder.probes,
      ),
      this.#summed(
        'counter',
        'weir_reprepared_total',
        'Prepared statements prepared again and run once more because their tables had changed.',
        ({ traffic }) => traffic.ladder.reprepared,
      ),
    ];
  }

  /** Servers that reads of several clients share. */
  #laneMetrics(): LiveMetric[] {
    return [
      this.#perGroup('gauge', 'weir_lanes', 'Servers that reads of several clients share.', (members) =>
        sum(members, ({ pool }) => pool.laneDepths().length),
      ),
      this.#perGroup('gauge', 'weir_lane_depth', 'Reads sent on lanes and not answered.', (members) =>
        sum(members, ({ pool }) => sum(pool.laneDepths(), (depth) => depth)),
      ),
      this.#summed('counter', 'weir_lane_reads_total', 'Reads sent on lanes.', ({ traffic }) => traffic.lanes.reads),
      this.#labelled(
        'counter',
        'weir_lane_reruns_total',
        'Reads of lanes that were run again on a server of their own, by cause.',
        'cause',
        rerunCauses,
        ({ pool }, cause) => pool.traffic.lanes.reruns[cause],
      ),
      this.#labelled(
        'counter',
        'weir_lane_refused_total',
        'Reads that were not sent on lanes, by what their statement had yet to prove or had shown.',
        'cause',
        readBarriers,
        ({ pool }, cause) => pool.traffic.lanes.refused[cause],
      ),
      this.#times(
        'weir_lane_wait_seconds',
        'How long reads waited behind others on their lane.',
        ({ traffic }) => traffic.lanes.waitTime,
      ),
    ];
  }

  /** A series for each value of one more label, also while it is 0. */
  #labelled<K extends string>(
    type: MetricType,
    name: string,
    help: string,
    label: string,
    keys: readonly K[],
    value: (census: PoolCensus, key: K) => number,
  ): LiveMetric {
    const labelled = keys.map((key) => ({ key, labels: { [label]: key } }));
    return new LiveMetric(type, name, help, () =>
      this.#view.groups.flatMap(({ labels: sharedLabels, members }) =>
        labelled.map(({ key, labels }) => ({ labels, sharedLabels, value: sum(members, (one) => value(one, key)) })),
      ),
    );
  }

  /** @param aggregator see `LiveMetric` */
  #summed(
    type: MetricType,
    name: string,
    help: string,
    value: (pool: Pool) => number,
    aggregator: Aggregator = 'sum',
  ): LiveMetric {
    return this.#perGroup(type, name, help, (members) => sum(members, ({ pool }) => value(pool)), aggregator);
  }

  #greatest(name: string, help: string, value: (pool: Pool) => number): LiveMetric {
    const greatest = (members: readonly PoolCensus[]): number => Math.max(...members.map(({ pool }) => value(pool)));
    return this.#perGroup('gauge', name, help, greatest, 'max');
  }

  #perGroup(
    type: MetricType,
    name: string,
    help: string,
    value: (members: readonly PoolCensus[]) => number,
    aggregator: Aggregator = 'sum',
  ): LiveMetric {
    const samples = (): Sample[] =>
      this.#view.groups.map(({ labels: sharedLabels, members }) => ({
        labels: noLabels,
        sharedLabels,
        value: value(members),
      }));
    return new LiveMetric(type, name, help, samples, aggregator);
  }

  #times(name: string, help: string, times: (pool: Pool) => TimeHistogram): LiveMetric {
    return new LiveMetric('histogram', name, help, () =>
      this.#view.groups.flatMap(({ labels, members }) => {
        const [first, second] = members;
        if (first === undefined) return [];
        const all = second === undefined ? times(first.pool) : together(members.map(({ pool }) => times(pool)));
        return histogramSamples(name, labels, all);
      }),
    );
  }
}

function sum<T>(members: readonly T[], value: (member: T) => number): number {
  let total = 0;
  for (const member of members) total += value(member);
  return total;
}

function together(histograms: readonly TimeHistogram[]): TimeHistogram {
  const all = new TimeHistogram();
  for (const { counts, sumMs, count } of histograms) {
    for (let i = 0; i < counts.length; i++) all.counts[i] = (all.counts[i] ?? 0) + (counts[i] ?? 0);
    all.sumMs += sumMs;
    all.count += count;
  }
  return all;
}

/** What of a metric, weir's or prom-client's, is read. */
interface Readable {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  get(): Readings | Promise<Readings>;
  /** Where there is a quicker way to the text. */
  getForPromString?(): Readings | Promise<Readings>;
}

interface Readings {
  readonly name: string;
  readonly values: readonly Sample[];
}

/**
 * The same metric for the registry of the other format: OpenMetrics names a counter without `_total`, and prom-client would
 * rename it for both.
 */
function openMetric(metric: Readable): Metric {
  const { help, type } = metric;
  const name = type === 'counter' ? metric.name.replace(/_total$/, '') : metric.name;
  const get = async (): Promise<Readings> => ({ ...(await (metric.getForPromString?.() ?? metric.get())), name });
  // The type names only prom-client's own classes.
  return { name, help, type, get } satisfies Readable as unknown as Metric;
}
