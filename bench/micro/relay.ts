// What the relay costs by the message: a client's and a server's channel wired to each other, and no socket.

import {
  ClientChannel,
  type ClientChannelLimits,
  type ClientHost,
  newTraffic,
  type Port,
  ServerChannel,
  type ServerHost,
} from '../../lib/relay/index.js';
import {
  ClientStatements,
  type Footprint,
  inert,
  opaque,
  ServerStatements,
  Settings,
  StatementRegistry,
} from '../../lib/session/index.js';
import type { StatementCatalog } from '../../lib/sql/index.js';
import { systemClock } from '../../lib/util/index.js';
import {
  commandComplete,
  dataRow,
  Frontend,
  parameterDescription,
  parseMessage,
  queryMessage,
  readyForQuery,
  rowDescription,
  syncMessage,
  TransactionStatus,
} from '../../lib/wire/index.js';
import type { Exercise, Prepared } from './exercise.js';
import { type StatementTools, scanMode } from './statements.js';
import { pointQuery, pointQueryWithParameter } from './texts.js';

const columns = rowDescription([{ name: 'abalance', typeOid: 23, typeSize: 4 }]);
const row = dataRow(['-1234']);
const end = [commandComplete('SELECT 1'), readyForQuery(TransactionStatus.Idle)];
const parseComplete = frame(0x31);
const bindComplete = frame(0x32);
const statementName = Buffer.from('P_0\0', 'latin1');

const query = queryMessage(pointQuery(1_000_000));
/** Bind with one parameter in text format, Describe of the portal, Execute, Sync: what pgbench sends. */
const preparedBatch = [
  frame(Frontend.Bind, '\0P_0\0', '\0\0\0\x01\0\0\0\x071000000\0\0'),
  frame(Frontend.Describe, 'P\0'),
  frame(Frontend.Execute, '\0\0\0\0\0'),
  syncMessage,
];
const oneParameter = parameterDescription(Buffer.from([0, 1, 0, 0, 0, 23]));
const parse = parseMessage(
  statementName.toString('latin1', 0, statementName.length - 1),
  Buffer.from(`${pointQueryWithParameter}\0\0\0`, 'latin1'),
);

export const relayExercises: readonly Exercise<StatementTools>[] = [
  exchange('simple', [query], [columns, row, ...end], 'unseen'),
  exchange('simple-inspected', [query], [columns, row, ...end], 'inspected'),
  exchange('prepared', preparedBatch, [bindComplete, columns, row, ...end], 'inspected', {
    asked: [parse, syncMessage],
    // Weir has every Parse described.
    answered: [parseComplete, oneParameter, columns, readyForQuery(TransactionStatus.Idle)],
  }),
  exchange('rows-100', [query], [columns, ...Array.from({ length: 100 }, () => row), ...end], 'inspected'),
];

interface Turn {
  readonly asked: readonly Buffer[];
  readonly answered: readonly Buffer[];
}

/** Each call: the server is lent, the client's batch goes to it, the reply comes back, the lease ends. */
function exchange(
  name: string,
  asked: readonly Buffer[],
  answered: readonly Buffer[],
  inspection: 'inspected' | 'unseen',
  first?: Turn,
): Exercise<StatementTools> {
  return {
    name: `relay/${name}`,
    prepare: async ({ seen }): Promise<Prepared> => {
      const pair = new Pair(inspection === 'inspected' ? seen : undefined);
      if (first !== undefined) pair.exchange(Buffer.concat(first.asked), Buffer.concat(first.answered));
      const [question, answer] = [Buffer.concat(asked), Buffer.concat(answered)];
      // The first time may differ from the others, which are all alike.
      pair.exchange(question, answer);
      const before = pair.bytes;
      pair.exchange(question, answer);
      const bytesEach = pair.bytes - before;
      if (bytesEach < question.length + answer.length) throw new Error('the relay lost something');
      return {
        bytes: question.length + answer.length,
        messages: asked.length + answered.length,
        run: (calls) => {
          const { bytes, leases } = pair;
          for (let i = 0; i < calls; i++) pair.exchange(question, answer);
          return pair.bytes - bytes + pair.leases - leases;
        },
        expected: (calls) => calls * (bytesEach + 1),
      };
    },
  };
}

const limits: ClientChannelLimits = {
  inspectBytesMax: 65_536,
  statementBytesMax: 65_536,
  statementsMax: 100,
  frameBytesMax: 1_000_000,
  simpleProtocol: 'allowed',
  beginMode: 'immediate',
};

/** One client and one server that is its own again after each batch, as with transaction pooling. */
class Pair implements ClientHost, ServerHost {
  /** Written to either side so far. */
  bytes = 0;
  leases = 0;
  readonly #client: ClientChannel;
  readonly #server: ServerChannel;
  readonly #catalog: StatementCatalog | undefined;

  constructor(catalog: StatementCatalog | undefined) {
    this.#catalog = catalog;
    const registry = new StatementRegistry();
    const traffic = newTraffic();
    const settings = new Settings(new Map([['client_encoding', 'UTF8']]));
    this.#client = new ClientChannel({
      ...{ toClient: this.#port(), host: this, limits, registry, traffic, settings },
      statements: new ClientStatements(registry),
      transparent: false,
    });
    this.#server = new ServerChannel({
      ...{ toServer: this.#port(), host: this, clock: systemClock, traffic, settings },
      statements: new ServerStatements(registry, 100),
    });
  }

  exchange(question: Buffer, answer: Buffer): void {
    this.#client.feed(question, 0, question.length);
    this.#server.receive(answer, 0, answer.length);
  }

  /** Counts; what a socket costs is not the relay's. */
  #port(): Port {
    return {
      write: (_, start, end) => {
        this.bytes += end - start;
      },
      writeOwned: (bytes) => {
        this.bytes += bytes.length;
      },
    };
  }

  lease(): ServerChannel {
    this.#server.attach(this.#client);
    this.#client.server = this.#server;
    this.leases++;
    return this.#server;
  }

  leaseFree(): void {
    this.lease();
  }

  goOn(): void {}

  onBatchEnd(): void {
    this.#client.server = undefined;
    this.#server.detach();
  }

  readonly unread = opaque;

  inspect(bytes: Buffer, start: number, end: number): Footprint {
    if (this.#catalog === undefined) return inert;
    const facts = this.#catalog.lookup(bytes, start, end, scanMode);
    return facts.known && facts.hazards.length === 0 ? inert : opaque;
  }

  onLeak(): void {}
  onSettingsAltered(): void {}

  onTerminate(): never {
    throw new Error('the client went');
  }

  onViolation(error: { readonly message: string }): never {
    throw new Error(error.message);
  }

  onError(): never {
    throw new Error('the server said an error');
  }

  onFatal(): never {
    throw new Error('the server went');
  }

  onReadRun(): void {}

  onReadEnd(): void {}

  onSharedChanged(): void {}

  onDoubt(reason: string): never {
    throw new Error(reason);
  }
}

function frame(tag: number, ...body: string[]): Buffer {
  const bytes = Buffer.from(`\0${'\0'.repeat(4)}${body.join('')}`, 'latin1');
  bytes[0] = tag;
  bytes.writeInt32BE(bytes.length - 1, 1);
  return bytes;
}
