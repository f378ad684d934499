// SHOW PEER_POOLS: always empty as long as weir has no peers.

import { show } from '../command.js';

const columns = {
  peer_id: 'int4',
  cl_active_cancel_req: 'int4',
  cl_waiting_cancel_req: 'int4',
  sv_active_cancel: 'int4',
  sv_login: 'int4',
} as const;

export const peerPools = show('peer_pools', columns, () => []);
