// The trail of one process: what is recorded, what waits for the disk, and what becomes of clients when it takes nothing more.

import type { StatementFacts } from '../sql/index.js';
import { isDefinition } from '../sql/index.js';
import type { Clock, Secret } from '../util/index.js';
import type { AuditDirectory } from './files.js';
import { type JsonLine, writeMembers } from './json-line.js';
import type { ParameterForm } from './parameters.js';
import type { SqlForm } from './statement-text.js';
import { AuditWriter, type WriterLimits } from './writer.js';

/** Which statements are recorded. */
export const auditSelections = ['all', 'writes', 'ddl', 'denied'] as const;
export type AuditSelection = (typeof auditSelections)[number];

/** What a policy says of a statement. */
export interface Decision {
  readonly verdict: 'allow' | 'deny' | 'observe';
  readonly rule: string | undefined;
  /** Roles of the policy that the user had; undefined where there is no policy. */
  readonly roles?: readonly string[] | undefined;
  /** Columns whose values were replaced. */
  readonly masked?: readonly string[] | undefined;
}

export interface AuditPolicy {
  /** With none, and no rules, neither statements nor connections are recorded. */
  readonly statements: ReadonlySet<AuditSelection>;
  /** Rules of the policy whose statements are recorded as well. */
  readonly rules: ReadonlySet<string>;
  /** Whether a statement waits until it is sure that it will be found in the trail. */
  readonly mode: 'before' | 'after';
  /** What becomes of statements while the trail takes no records. */
  readonly onFull: 'block' | 'refuse' | 'drop';
  readonly sql: SqlForm;
  readonly parameters: ParameterForm;
  /** The comment tag that says for whom a statement is run. */
  readonly userTag: string;
  readonly flushMs: number;
  readonly queueBytesMax: number;
  readonly limits: WriterLimits;
}

/** What the console and the metrics show. */
export interface AuditState {
  /** Which of weir's processes it is of. */
  readonly process: number;
  readonly segment: string;
  /** The latest: it stands for all that is on disk. */
  readonly seal: string;
  readonly records: number;
  readonly durable: number;
  readonly dropped: number;
  readonly refused: number;
  readonly queuedBytes: number;
  readonly lagMs: number;
  readonly failure: Error | undefined;
  /** Statements wait, or are refused, because the disk fails. */
  readonly inForce: boolean;
}

/** A client that waits for the disk. */
export interface AuditWaiter {
  /** Whether it may go on now. */
  readonly mayGoOn: boolean;
  goOn(): void;
}

export interface AuditTrailOptions {
  readonly directory: AuditDirectory;
  readonly clock: Clock;
  readonly process: number;
  readonly policy: AuditPolicy;
  readonly onTrouble: (error: Error | undefined, lost: number) => void;
  readonly onSegment: (name: string, seal: string) => void;
  /** Told from time to time, and at the end: whoever keeps it elsewhere can tell whether the trail still has it. */
  readonly onSeal: (segment: string, seal: string, records: number) => void;
  /** Of the seals. */
  readonly key?: Secret | undefined;
  readonly onWarning: (text: string, error: unknown) => void;
  /** Given by tests. */
  readonly retryMs?: number;
}

/** How often the latest seal is told while records come. */
const sealToldMs = 60_000;
/** So many bytes are written without waiting for more: they are in the processor's cache still. */
const groupBytes = 512 * 1024;
type Members = Readonly<Record<string, string | undefined>>;

/** Records beyond this many times `queueBytesMax` are dropped whatever the policy says: what runs already would fill the memory. */
const overrun = 2;

export class AuditTrail {
  readonly clock: Clock;
  policy: AuditPolicy;
  readonly #writer: AuditWriter;
  readonly #waiting = new Set<AuditWaiter>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #dropped = 0;
  /** Those the trail does not tell of yet. */
  #untold = 0;
  #refused = 0;
  readonly #process: number;
  readonly #onSeal: AuditTrailOptions['onSeal'];
  #sealToldMs = Number.NEGATIVE_INFINITY;
  #second = -1;
  #secondText = '';

  private constructor(options: AuditTrailOptions) {
    this.clock = options.clock;
    this.policy = options.policy;
    this.#process = options.process;
    this.#onSeal = options.onSeal;
    const trail = this;
    this.#writer = new AuditWriter({
      directory: options.directory,
      clock: options.clock,
      process: options.process,
      key: options.key,
      ...(options.retryMs === undefined ? {} : { retryMs: options.retryMs }),
      host: {
        get limits() {
          return trail.policy.limits;
        },
        onDurable: () => this.#wake(),
        onTrouble: (error) => {
          options.onTrouble(error, this.#dropped);
          this.#wake();
        },
        onSegment: options.onSegment,
        onSeal: () => {
          if (this.clock.now() - this.#sealToldMs >= sealToldMs) this.#tellSeal();
        },
        onWarning: options.onWarning,
      },
    });
  }

  /** @throws what the disk says */
  static async open(options: AuditTrailOptions): Promise<AuditTrail> {
    const trail = new AuditTrail(options);
    await trail.#writer.open();
    return trail;
  }

  /** What the sessions of this process, since it began, have in common. */
  get run(): string {
    return this.#writer.run;
  }

  get isOn(): boolean {
    return this.policy.statements.size > 0 || this.policy.rules.size > 0;
  }

  /** Records up to this number survive whatever happens. */
  get durable(): number {
    return this.#writer.durable;
  }

  get failing(): boolean {
    return this.#writer.failure !== undefined;
  }

  /** Whether statements that begin now have to be blocked, refused or dropped. */
  get full(): boolean {
    const { onFull, queueBytesMax } = this.policy;
    return this.#writer.queuedBytes >= queueBytesMax || (this.failing && onFull !== 'drop');
  }

  state(): AuditState {
    const writer = this.#writer;
    return {
      process: this.#process,
      segment: writer.segment,
      seal: writer.seal,
      records: writer.lastNumber,
      durable: writer.durable,
      dropped: this.#dropped,
      refused: this.#refused,
      queuedBytes: writer.queuedBytes,
      lagMs: writer.lagMs,
      failure: writer.failure,
      inForce: this.isOn && this.failing && this.policy.onFull !== 'drop',
    };
  }

  /** Whether a statement is recorded, by what it is and what the policy has decided about it. */
  selects(facts: StatementFacts, decision: Decision | undefined): boolean {
    const { statements, rules } = this.policy;
    if (statements.has('all')) return true;
    if (decision !== undefined) {
      if (decision.verdict !== 'allow' && statements.has('denied')) return true;
      if (decision.rule !== undefined && rules.has(decision.rule)) return true;
    }
    if (statements.has('writes') && !facts.readOnly) return true;
    return statements.has('ddl') && (!facts.known || facts.kinds.some((kind) => isDefinition(kind)));
  }

  /** Begins a record, up to its time; undefined where it has to be dropped. @param event in quotes */
  begin(event: string, wallMs: number): JsonLine | undefined {
    const writer = this.#writer;
    // Whoever is still on the way in when the process ends.
    if (this.#closed) return undefined;
    const { onFull, queueBytesMax } = this.policy;
    if (writer.queuedBytes >= queueBytesMax * (onFull === 'drop' ? 1 : overrun)) {
      this.drop();
      return undefined;
    }
    if (this.#untold > 0) this.#tellDropped(wallMs);
    const line = writer.beginRecord();
    line.ascii(event);
    this.#writeTime(line, wallMs);
    return line;
  }

  /** Ends it. @returns its number */
  end(): number {
    const number = this.#writer.endRecord();
    const { flushMs, queueBytesMax } = this.policy;
    if (this.#writer.queuedBytes >= Math.min(groupBytes, queueBytesMax / 2)) this.#writer.flushSoon();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#writer.flushSoon();
    }, flushMs);
    return number;
  }

  /** Somebody was not let in. */
  loginRefused(members: Members): void {
    this.#record(',"event":"refused"', members);
  }

  /** Somebody is to be given more rights. Resolves when the record is as sure as `mode` asks for; with false where none can be made. */
  async granted(members: Members): Promise<boolean> {
    if (this.full || this.failing) return false;
    const number = this.#record(',"event":"grant"', members);
    if (number === undefined) return false;
    if (this.policy.mode === 'before') await this.#untilDurable(number);
    return true;
  }

  /** Rights given have been taken back. */
  revoked(members: Members): void {
    this.#record(',"event":"revoke"', members);
  }

  /** @returns its number; undefined where it was dropped */
  #record(event: string, members: Members): number | undefined {
    const line = this.begin(event, this.clock.wallMs());
    if (line === undefined) return undefined;
    writeMembers(line, members);
    return this.end();
  }

  #untilDurable(number: number): Promise<void> {
    return new Promise((resolve) => {
      const trail = this;
      this.wait({
        get mayGoOn() {
          return trail.durable >= number;
        },
        goOn: resolve,
      });
    });
  }

  /** A record that is not made because there is no room for it. */
  drop(): void {
    this.#dropped++;
    this.#untold++;
  }

  /** A statement that is refused because it cannot be recorded. */
  refuse(): void {
    this.#refused++;
  }

  /** The waiter is asked whenever something has changed. It waits once, however often it says so. */
  wait(waiter: AuditWaiter): void {
    this.#waiting.add(waiter);
    this.#writer.flushSoon();
  }

  leave(waiter: AuditWaiter): void {
    this.#waiting.delete(waiter);
  }

  /** Puts another policy in force, for the statements that begin from now on. */
  configure(policy: AuditPolicy): void {
    this.policy = policy;
    this.#wake();
  }

  /** Everything is written and sealed. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const { segment } = this.#writer;
    await this.#writer.close();
    this.#onSeal(segment, this.#writer.seal, this.#writer.lastNumber);
  }

  #tellSeal(): void {
    this.#sealToldMs = this.clock.now();
    this.#onSeal(this.#writer.segment, this.#writer.seal, this.#writer.lastNumber);
  }

  #wake(): void {
    for (const waiter of this.#waiting) {
      if (!waiter.mayGoOn) continue;
      this.#waiting.delete(waiter);
      waiter.goOn();
    }
    // Those that came while the group was written, or have something new to wait for.
    if (this.#waiting.size > 0) this.#writer.flushSoon();
  }

  #tellDropped(wallMs: number): void {
    const count = this.#untold;
    this.#untold = 0;
    const line = this.#writer.beginRecord();
    line.ascii(',"event":"dropped"');
    this.#writeTime(line, wallMs);
    line.ascii(`,"records":${count}`);
    this.#writer.endRecord();
  }

  /** ISO 8601 in UTC; the text of a second is made once. */
  #writeTime(line: JsonLine, wallMs: number): void {
    const second = Math.floor(wallMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = `,"time":"${new Date(second * 1_000).toISOString().slice(0, 20)}`;
    }
    line.ascii(this.#secondText);
    const ms = Math.floor(wallMs) - second * 1_000;
    if (ms < 100) line.ascii(ms < 10 ? '00' : '0');
    line.integer(ms);
    line.ascii('Z"');
  }
}
