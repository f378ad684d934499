// Weir in a process of its own, for tests that measure its memory or end it: says its port in one line, ends with its input.

import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { WeirOptions } from './weir.js';

/** What can be said in JSON. */
export type WeirProcessOptions = Pick<WeirOptions, 'server' | 'weir' | 'database' | 'users'>;

export interface WeirProcess {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** Resident memory in bytes. */
  memoryBytes(): number;
  stop(): Promise<void>;
}

const self = fileURLToPath(import.meta.url);
const isChild = process.argv[2] === 'serve';

export async function startWeirProcess(options: WeirProcessOptions): Promise<WeirProcess> {
  const child: ChildProcess = fork(self, ['serve'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const exited = once(child, 'exit');
  child.send(options);
  const [answer] = (await Promise.race([
    once(child, 'message'),
    exited.then(() => Promise.reject(new Error('weir ended before it was ready'))),
  ])) as [{ port: number }];
  const pid = child.pid ?? 0;
  return {
    host: '127.0.0.1',
    port: answer.port,
    pid,
    memoryBytes: () => residentBytes(pid),
    stop: async () => {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}

function residentBytes(pid: number): number {
  if (process.platform !== 'linux') return Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`])) * 1024;
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} is gone`);
  return Number(kilobytes) * 1024;
}

if (isChild) {
  const { startWeir } = await import('./weir.js');
  process.once('message', (options: WeirProcessOptions) => {
    void startWeir(options).then((weir) => {
      process.send?.({ port: weir.port });
      process.once('disconnect', () => void weir.stop().then(() => process.exit()));
    });
  });
}
