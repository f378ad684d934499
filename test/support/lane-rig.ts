// A shared server and its readers, in memory: both peers are the test's to play.

import {
  ClientChannel,
  type ClientHost,
  newTraffic,
  ServerChannel,
  type ServerHost,
  SharedRead,
} from '../../lib/relay/index.js';
import {
  ClientStatements,
  type Footprint,
  footprint,
  ReadShape,
  ServerStatements,
  Settings,
  StatementRegistry,
} from '../../lib/session/index.js';
import { commandComplete, readyForQuery, TransactionStatus } from '../../lib/wire/index.js';
import { FakeClock } from './fake-clock.js';
import { backendTexts } from './message-texts.js';
import { Pipe, rigLimits } from './relay-rig.js';

const idle = readyForQuery(TransactionStatus.Idle);
const settings = new Settings(new Map([['client_encoding', 'UTF8']]));

/** One server and readers that share it. */
export class Lane implements ServerHost {
  readonly toServer = new Pipe();
  readonly registry: StatementRegistry;
  readonly traffic = newTraffic();
  readonly shape: ReadShape;
  readonly server: ServerChannel;
  readonly diary: string[] = [];
  readonly runs: [number, number][] = [];

  /** @param of another of the same pool */
  constructor(of?: Lane) {
    this.registry = of?.registry ?? new StatementRegistry('weir_');
    this.shape = of?.shape ?? new ReadShape();
    this.server = new ServerChannel({
      ...{ toServer: this.toServer, host: this, clock: new FakeClock(), traffic: this.traffic, settings },
      statements: new ServerStatements(this.registry, 10),
    });
    this.server.beginSharing(settings.with('default_transaction_read_only', 'on'), this.traffic);
    this.answer(commandComplete('SET'), idle);
    this.toServer.takeLog();
  }

  reader(name: string): Reader {
    return new Reader(name, this);
  }

  answer(...frames: Buffer[]): void {
    const bytes = Buffer.concat(frames);
    this.server.receive(bytes, 0, bytes.length);
    // The buffer is the socket's again.
    bytes.fill(0xff);
  }

  onReadRun(_shape: ReadShape, ms: number, bytes: number): void {
    this.runs.push([ms, bytes]);
  }

  onReadEnd(read: SharedRead): void {
    if (read.rerun !== undefined) read.reader.onReadReturned(read);
    else if (!read.dropped) read.reader.onReadDone();
  }

  onBatchEnd(): void {
    this.diary.push('a batch ended that was none of a reader');
  }

  onSharedChanged(): void {
    this.diary.push('changed');
  }

  onError(): void {}
  onFatal(): void {
    this.diary.push('fatal');
  }
  onLeak(): void {}
  onSettingsAltered(): void {}
  onDoubt(reason: string): void {
    this.diary.push(`doubt: ${reason}`);
  }
}

export class Reader implements ClientHost {
  readonly name: string;
  readonly channel: ClientChannel;
  readonly received = new Pipe();
  /** Where it asks next. */
  lane: Lane;
  read: SharedRead | undefined;

  constructor(name: string, lane: Lane) {
    this.name = name;
    this.lane = lane;
    this.channel = new ClientChannel({
      ...{ toClient: this.received, host: this, limits: rigLimits, registry: lane.registry, traffic: lane.traffic },
      ...{ statements: new ClientStatements(lane.registry), settings, transparent: false },
    });
  }

  /** Sends one batch on the lane. */
  ask(...frames: Buffer[]): SharedRead {
    const bytes = Buffer.concat(frames);
    if (this.channel.lookAhead(bytes, 0, bytes.length)?.read !== this.lane.shape) throw new Error('not one whole read');
    const read = new SharedRead(this, bytes, this.lane.shape, 0);
    this.lane.server.share(read);
    this.channel.server = this.lane.server;
    if (this.channel.feed(bytes, 0, bytes.length) !== bytes.length) throw new Error('it was not taken whole');
    this.channel.server = undefined;
    this.read = read;
    return read;
  }

  said(): string[] {
    return backendTexts(this.received.takeLog());
  }

  inspect(): Footprint {
    return footprint({ read: this.lane.shape });
  }

  readonly unread = footprint({});

  onReadDone(): void {
    this.lane.diary.push(`${this.name} done`);
  }
  onReadReturned(read: SharedRead): void {
    this.lane.diary.push(`${this.name} again: ${String(read.rerun)}`);
  }
  onReadLost(): void {
    this.lane.diary.push(`${this.name} lost`);
  }
  lease(): undefined {
    return undefined;
  }
  leaseFree(): void {}
  goOn(): void {}
  onTerminate(): void {}
  onViolation(): void {
    this.lane.diary.push(`${this.name} violates`);
  }
}
