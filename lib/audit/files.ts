// What the trail asks of a disk, and the disk itself: whoever tests gives it one that fails.

import { constants, createReadStream } from 'node:fs';
import { mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface AuditFile {
  /** @returns how many bytes were written, which may be fewer */
  write(bytes: Buffer, start: number, end: number, position: number): Promise<number>;
  /** Resolves when all that was written survives a loss of power. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface AuditEntry {
  readonly name: string;
  readonly modifiedMs: number;
}

/** One directory; names are of files in it. */
export interface AuditDirectory {
  /** Makes the directory itself where it is not there. */
  prepare(): Promise<void>;
  /** A new file, which must not be there yet. */
  create(name: string): Promise<AuditFile>;
  /** Resolves when the names of new files survive a loss of power. */
  sync(): Promise<void>;
  list(): Promise<AuditEntry[]>;
  read(name: string): AsyncIterable<Buffer>;
  remove(name: string): Promise<void>;
}

const readBytes = 256 * 1024;
/** Nobody but the owner reads what clients have asked. */
const fileMode = 0o600;
const directoryMode = 0o700;

export function diskDirectory(path: string): AuditDirectory {
  return {
    async prepare() {
      await mkdir(path, { recursive: true, mode: directoryMode });
    },
    async create(name) {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
      const handle = await open(join(path, name), flags, fileMode);
      return {
        write: async (bytes, start, end, position) =>
          (await handle.write(bytes, start, end - start, position)).bytesWritten,
        sync: () => handle.datasync(),
        close: () => handle.close(),
      };
    },
    async sync() {
      const handle = await open(path, constants.O_RDONLY);
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
    async list() {
      const entries: AuditEntry[] = [];
      for (const name of await readdir(path)) {
        // Another process may have removed it meanwhile.
        const found = await stat(join(path, name)).catch(() => undefined);
        if (found?.isFile() === true) entries.push({ name, modifiedMs: found.mtimeMs });
      }
      return entries;
    },
    read: (name) => createReadStream(join(path, name), { highWaterMark: readBytes }),
    remove: (name) => unlink(join(path, name)),
  };
}
