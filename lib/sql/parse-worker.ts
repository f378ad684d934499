// The thread that parses what is too large for the event loop; its stack is large enough for any text it is given.

import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../util/index.js';
import { extractFacts } from './extract-facts.js';
import { parserMemoryBytesMax } from './limits.js';
import type { WorkerAnswer, WorkerJob, WorkerSetup } from './parse-worker-client.js';
import { ParserInstance } from './parser-instance.js';

const port = parentPort;
assert(port !== null, 'the parse worker runs as a worker');
const setup = workerData as WorkerSetup;
const trustedFunctions = new Set(setup.trustedFunctions);
let instance = await ParserInstance.create(setup.compiled);

async function answer(job: WorkerJob): Promise<void> {
  const outcome = instance.parse(job.text);
  let facts: WorkerAnswer['facts'];
  if (outcome.kind === 'tree') {
    try {
      facts = extractFacts(outcome.tree, job.text, { trustedFunctions, deeds: job.deeds });
    } catch {
      facts = undefined;
    }
  }
  const reply: WorkerAnswer = { id: job.id, facts };
  port?.postMessage(reply);
  if (outcome.kind === 'broken' || instance.memoryBytes > parserMemoryBytesMax) {
    instance = await ParserInstance.create(setup.compiled);
  }
}

let last = Promise.resolve();
port.on('message', (job: WorkerJob) => {
  // One after the other: a broken instance is replaced before the next text.
  last = last.then(() => answer(job));
});
