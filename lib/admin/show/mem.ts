// SHOW MEM: what the process uses of memory, in blocks of a kilobyte.

import { show } from '../command.js';
import { summed } from '../merge.js';

const blockBytes = 1_024;

const columns = { name: 'text', size: 'int4', used: 'int4', free: 'int4', memtotal: 'int4' } as const;

export const mem = show(
  'mem',
  columns,
  () => {
    const { heapUsed, heapTotal, external, arrayBuffers, rss } = process.memoryUsage();
    const row = (name: string, used: number, total: number) => ({
      name,
      size: blockBytes,
      used: Math.ceil(used / blockBytes),
      free: Math.floor((total - used) / blockBytes),
      memtotal: total,
    });
    return [
      row('heap', heapUsed, heapTotal),
      row('external', external, external),
      row('array_buffers', arrayBuffers, arrayBuffers),
      row('rss', rss, rss),
    ];
  },
  summed({ by: ['name'], add: ['used', 'free', 'memtotal'] }),
);
