// SHOW PEERS: always empty as long as weir has no peers.

import { show } from '../command.js';

const columns = { peer_id: 'int4', host: 'text', port: 'int4', pool_size: 'int4' } as const;

export const peers = show('peers', columns, () => []);
