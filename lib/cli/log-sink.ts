// Writes whole lines to a pipe or file, one write at a time, and gives up on a reader that is gone and on lines that nobody takes:
// neither ever holds up the event loop, fills the memory or keeps the process from ending.

import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Of whole lines, written at once: more would be torn where several processes write to one pipe. */
const writeBytesMax = 4_096;
/** What waits for a reader or disk that is slow; lines beyond it are lost, and counted. */
const queuedBytesMax = 4 * 1024 * 1024;
/** At the end of the process, for what is still queued. */
const flushMsMax = 1_000;

/** Puts bytes somewhere, or says why not. */
type Put = (bytes: Buffer, done: (error: Error | null | undefined) => void) => void;

export interface LogSink {
  /** @param line with its end */
  write(line: string): void;
  /** Opens the file again, after rotation. */
  reopen(): void;
  /** Resolves when all is written, or cannot be soon. */
  flush(): Promise<void>;
  /** For a process that ends here and now: one attempt. */
  flushNow(): void;
}

/** Of the process; what it leads to decides how it is written. */
export function standardOutputSink(): LogSink {
  return isPipe(1) ? new Sink(pipeWriter(), () => {}) : new FileSink(1, undefined);
}

/** @throws what `open` says */
export function fileSink(path: string): LogSink {
  return new FileSink(openSync(path, 'a'), path);
}

function isPipe(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    return false;
  }
}

/**
 * Does not block where the pipe is full, as a write to the descriptor would. Whether a pipe blocks is a property that all processes share
 * which have inherited it, and Node.js puts it back when it exits: one worker's end would block the others. So it is opened anew where
 * the system allows it; a socket cannot be.
 */
function pipeWriter(): Put {
  let stream: NodeJS.WritableStream = process.stdout;
  try {
    const fd = openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK);
    stream = new Socket({ fd, readable: false, writable: true });
  } catch {
    // No such file system, or nobody reads any more: then the first write says so.
  }
  stream.on('error', () => {});
  return (bytes, done) => stream.write(bytes, done);
}

class Sink implements LogSink {
  readonly #put: Put;
  readonly #putNow: (bytes: Buffer) => void;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing = false;
  #lost = 0;
  /** Whoever waits for the queue to be empty. */
  #idle: (() => void)[] = [];

  constructor(put: Put, putNow: (bytes: Buffer) => void) {
    this.#put = put;
    this.#putNow = putNow;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#queuedBytes + bytes.length > queuedBytesMax) {
      this.#lost++;
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (!this.#writing) this.#next();
  }

  reopen(): void {}

  flush(): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    return new Promise((resolve) => {
      const late = setTimeout(resolve, flushMsMax);
      this.#idle.push(() => {
        clearTimeout(late);
        resolve();
      });
    });
  }

  flushNow(): void {
    // What is being written is on its way.
    for (const bytes of this.#queue.splice(0)) this.#putNow(bytes);
    this.#queuedBytes = 0;
  }

  #next(): void {
    const bytes = this.#take();
    if (bytes === undefined) {
      this.#writing = false;
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#writing = true;
    this.#put(bytes, (error) => {
      // The lines are lost. A pipe without a reader stays so, and costs as little as this; a disk may have room again.
      if (error) this.#lost += 1;
      else if (this.#lost > 0) this.#tellLost();
      this.#next();
    });
  }

  /** Whole lines, as many as may go at once. */
  #take(): Buffer | undefined {
    let count = 0;
    let length = 0;
    for (const bytes of this.#queue) {
      if (count > 0 && length + bytes.length > writeBytesMax) break;
      length += bytes.length;
      count++;
    }
    if (count === 0) return undefined;
    this.#queuedBytes -= length;
    return Buffer.concat(this.#queue.splice(0, count), length);
  }

  #tellLost(): void {
    const count = this.#lost;
    this.#lost = 0;
    const line = { level: 40, time: Date.now(), count, msg: 'lines of the log were lost: nobody took them in time' };
    this.write(`${JSON.stringify(line)}\n`);
  }
}

class FileSink extends Sink {
  readonly #file: { fd: number };
  readonly #path: string | undefined;

  constructor(fd: number, path: string | undefined) {
    const file = { fd };
    super(
      (bytes, done) => writeAll(file, bytes, done),
      (bytes) => {
        try {
          writeSync(file.fd, bytes);
        } catch {
          // There is nowhere left to say so.
        }
      },
    );
    this.#file = file;
    this.#path = path;
  }

  override reopen(): void {
    if (this.#path === undefined) return;
    try {
      const old = this.#file.fd;
      this.#file.fd = openSync(this.#path, 'a');
      // A write may still be under way to it.
      setTimeout(() => closeSync(old), flushMsMax).unref();
    } catch {
      // The old file is better than none.
    }
  }
}

function writeAll(file: { readonly fd: number }, bytes: Buffer, done: (error: Error | null) => void): void {
  write(file.fd, bytes, (error, written) => {
    if (error !== null || written === bytes.length) done(error);
    else writeAll(file, bytes.subarray(written), done);
  });
}
