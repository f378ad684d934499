// SHOW POOLS: one row a pool, how many clients and servers it has in which state.

import { type Census, type PoolCensus, takeCensus } from '../../pooler/index.js';
import { type Row, show } from '../command.js';
import { consoleDatabase } from '../databases.js';
import { summed } from '../merge.js';
import { balancing } from './hosts.js';

const columns = {
  database: 'text',
  user: 'text',
  cl_active: 'int4',
  cl_waiting: 'int4',
  cl_active_cancel_req: 'int4',
  cl_waiting_cancel_req: 'int4',
  sv_active: 'int4',
  sv_active_cancel: 'int4',
  sv_being_canceled: 'int4',
  sv_idle: 'int4',
  sv_used: 'int4',
  sv_tested: 'int4',
  sv_login: 'int4',
  maxwait: 'int4',
  maxwait_us: 'int4',
  pool_mode: 'text',
  load_balance_hosts: 'text',
} as const;

export const pools = show(
  'pools',
  columns,
  ({ pooler }) => {
    const census = takeCensus(pooler);
    return [consoleRow(census), ...census.pools.map(poolRow)];
  },
  summed({
    by: ['database', 'user'],
    combined: {
      columns: ['maxwait', 'maxwait_us'],
      combine: (into, { maxwait, maxwait_us }) => {
        const longer = Number(maxwait) - Number(into['maxwait']) || Number(maxwait_us) - Number(into['maxwait_us']);
        if (longer > 0) Object.assign(into, { maxwait, maxwait_us });
      },
    },
    add: 'rest',
  }),
);

function poolRow({ pool, clients, servers }: PoolCensus): Row<typeof columns> {
  const waitedUs = Math.round(pool.maxWaitMs() * 1_000);
  return {
    database: pool.database,
    user: pool.user,
    cl_active: clients.idle + clients.active,
    cl_waiting: clients.waiting,
    cl_active_cancel_req: clients.canceling,
    // A cancel request does not wait for a place: each gets a connection of its own.
    cl_waiting_cancel_req: 0,
    sv_active: servers.active,
    sv_active_cancel: servers.active_cancel,
    sv_being_canceled: servers.being_canceled,
    sv_idle: servers.idle,
    sv_used: servers.used,
    sv_tested: servers.tested,
    sv_login: servers.login,
    maxwait: Math.floor(waitedUs / 1_000_000),
    maxwait_us: waitedUs % 1_000_000,
    pool_mode: pool.settings.pool_mode,
    load_balance_hosts: balancing(pool.settings.database.hosts, pool.settings.load_balance_hosts),
  };
}

/** The console, as PgBouncer shows its own. */
function consoleRow(census: Census): Row<typeof columns> {
  return {
    database: consoleDatabase,
    user: consoleDatabase,
    cl_active: census.console,
    cl_waiting: 0,
    cl_active_cancel_req: 0,
    cl_waiting_cancel_req: 0,
    sv_active: 0,
    sv_active_cancel: 0,
    sv_being_canceled: 0,
    sv_idle: 0,
    sv_used: 0,
    sv_tested: 0,
    sv_login: 0,
    maxwait: 0,
    maxwait_us: 0,
    pool_mode: 'statement',
    load_balance_hosts: null,
  };
}
