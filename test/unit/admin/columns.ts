// The columns of every SHOW command, in order, as PgBouncer 1.25.2 has them, weir's own behind them: names, and types by their letter in its source.

/** i int4, q int8, N numeric, s text. */
export const typeOids: Readonly<Record<string, number>> = { i: 23, q: 20, N: 1700, s: 25 };

const socket =
  'type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id';
const socketTypes = 'ssssssisissiiississii';
const buffers = ' recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail';
const counts =
  'server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time client_parse_count server_parse_count bind_count';

/** Command, columns, types. */
export const showTables: readonly (readonly [string, string, string])[] = [
  ['version', 'version', 's'],
  ['config', 'key value default changeable', 'ssss'],
  ['state', 'key value', 'ss'],
  [
    'databases',
    'name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled',
    'ssissiiiissiiiiii',
  ],
  [
    'pools',
    'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts',
    'ssiiiiiiiiiiiiiss',
  ],
  ['peer_pools', 'peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login', 'iiiii'],
  ['peers', 'peer_id host port pool_size', 'isii'],
  ['clients', `${socket} pin`, `${socketTypes}s`],
  ['servers', socket, socketTypes],
  ['sockets', socket + buffers, `${socketTypes}iiiiiii`],
  ['active_sockets', socket + buffers, `${socketTypes}iiiiiii`],
  [
    'users',
    'name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections current_client_connections',
    'ssssiiii',
  ],
  ['lists', 'list items', 'si'],
  [
    'stats',
    'database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count',
    `s${'N'.repeat(22)}`,
  ],
  ['stats_totals', `database ${counts}`, `s${'N'.repeat(11)}`],
  [
    'stats_averages',
    'database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time avg_client_parse_count avg_server_parse_count avg_bind_count',
    `s${'N'.repeat(11)}`,
  ],
  ['totals', 'name value', 'sN'],
  ['mem', 'name size used free memtotal', 'siiii'],
  ['dns_hosts', 'hostname ttl addrs', 'sqs'],
  ['dns_zones', 'zonename serial count', 'sqi'],
  // Weir's own.
  ['audit', 'segment mode on_full records durable dropped refused queue_bytes lag_us failure seal', 'sssqqqqqqss'],
  ['policy', 'mode default unknown source roles rules masks grants clients cache_hits cache_misses', 'ssssiiiiiqq'],
  ['rules', 'rule verdict allowed denied observed', 'ssqqq'],
  ['grants', 'role user until seconds_left reason granted_by', 'sssqss'],
  ['pins', 'client_id user database application_name server_id reasons age idle', 'isssisqq'],
  ['hazards', 'user database application_name hazard count transaction_mode example', 'ssssqss'],
  [
    'lanes',
    'database user lanes depth depth_max reads wait_us rerun_stalled rerun_cancelled rerun_lost rerun_writes rerun_changed rerun_pressure refused_new refused_slow refused_large refused_writes refused_view',
    'ssiiiqqqqqqqqqqqqq',
  ],
];

/** Rows of SHOW LISTS. */
export const listNames =
  'databases users peers pools peer_pools free_clients used_clients login_clients free_servers used_servers dns_names dns_zones dns_queries dns_pending'.split(
    ' ',
  );

/** Rows of SHOW TOTALS, after `total_` and again after `avg_`. */
export const totalNames =
  'server_assignment_count xact_count query_count client_bytes server_bytes xact_time query_time wait_time ps_client_parse_count ps_server_parse_count ps_bind_count'.split(
    ' ',
  );
