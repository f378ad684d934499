// Sends texts to the parser's thread and hands back their facts, with a bound on everything that waits.

import { Worker } from 'node:worker_threads';
import type { ParsedFacts } from './facts.js';
import { workerHeapMb, workerParseMs, workerQueueBytesMax, workerQueueMax, workerStackMb } from './limits.js';
import type { CompiledModule } from './web-assembly.js';

export interface WorkerSetup {
  readonly compiled: CompiledModule;
  readonly trustedFunctions: readonly string[];
}

export interface WorkerJob {
  readonly id: number;
  readonly text: Uint8Array;
  readonly deeds: boolean;
}

export interface WorkerAnswer {
  readonly id: number;
  /** undefined when the text cannot be parsed. */
  readonly facts: ParsedFacts | undefined;
}

/** Called exactly once per accepted text, with undefined when it has no facts, unless the client is closed first. */
export type WhenParsed = (facts: ParsedFacts | undefined) => void;

interface Waiting {
  readonly job: WorkerJob;
  readonly done: WhenParsed;
}

export class ParseWorkerClient {
  readonly #setup: WorkerSetup;
  /** In order; only the first has been sent, so a hang or a crash is always its doing. */
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #worker: Worker | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #nextId = 1;
  #isClosed = false;
  /** Threads lost to a text. */
  crashes = 0;

  constructor(setup: WorkerSetup) {
    this.#setup = setup;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  /** @param text kept until parsed; the caller gives a copy. @returns false when the queue is full */
  submit(text: Uint8Array, deeds: boolean, done: WhenParsed): boolean {
    if (this.#isClosed || this.#waiting.length >= workerQueueMax) return false;
    if (this.#waitingBytes + text.length > workerQueueBytesMax) return false;
    this.#waiting.push({ job: { id: this.#nextId++, text, deeds }, done });
    this.#waitingBytes += text.length;
    if (this.#waiting.length === 1) this.#send();
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    clearTimeout(this.#deadline);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #send(): void {
    const first = this.#waiting[0];
    if (first === undefined || this.#isClosed) return;
    this.#worker ??= this.#start();
    this.#worker.postMessage(first.job);
    this.#deadline = setTimeout(() => this.#lose(), workerParseMs).unref();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./parse-worker.js', import.meta.url), {
      workerData: this.#setup,
      resourceLimits: { stackSizeMb: workerStackMb, maxOldGenerationSizeMb: workerHeapMb },
    });
    worker.unref();
    worker.on('message', (answer: WorkerAnswer) => {
      if (worker === this.#worker && answer.id === this.#waiting[0]?.job.id) this.#settle(answer.facts);
    });
    worker.on('error', () => {
      if (worker === this.#worker) this.#lose();
    });
    worker.on('exit', () => {
      if (worker === this.#worker) this.#lose();
    });
    return worker;
  }

  /** The thread has died or hangs: the text it worked on has no facts, the others get a new thread. */
  #lose(): void {
    this.crashes++;
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.terminate().catch(() => {});
    this.#settle(undefined);
  }

  #settle(facts: ParsedFacts | undefined): void {
    clearTimeout(this.#deadline);
    const settled = this.#waiting.shift();
    if (settled === undefined) return;
    this.#waitingBytes -= settled.job.text.length;
    this.#send();
    settled.done(facts);
  }
}
