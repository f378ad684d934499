// The primary: starts workers and replaces those that die, keeps the account of what they share, and answers for all of them.

import cluster, { type Worker } from 'node:cluster';
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { type AnyRow, showCommands, shutdownModeOf } from '../admin/index.js';
import { processOfClientPid } from '../client/index.js';
import {
  clientsIn,
  type HttpSource,
  type MetricReadings,
  mergedCounts,
  mergedHazards,
  mergedReadiness,
  mergedText,
  workerReadings,
} from '../http/index.js';
import type { Grant, GrantOrder, Revocation, ShutdownMode } from '../pooler/index.js';
import { type Clock, PoolerError } from '../util/index.js';
import { ClientLedger } from './client-ledger.js';
import { recallMs } from './client-places.js';
import { Link, receivedError } from './link.js';
import type {
  AdmitQuestion,
  Answers,
  Beginning,
  Command,
  InForce,
  PrimaryNotice,
  PrimaryQuestion,
  WorkerNotice,
  WorkerQuestion,
} from './messages.js';
import { ServerLedger } from './server-ledger.js';
import { Standing } from './standing.js';

export interface PrimaryOptions {
  /** How many workers. */
  readonly count: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** The TCP port they listen on. */
  readonly port: number;
  /** Whether it is to be asked by HTTP. */
  readonly http: boolean;
}

interface Member {
  readonly index: number;
  readonly worker: Worker;
  readonly link: Link<PrimaryNotice, PrimaryQuestion>;
  readonly startedMs: number;
  /** It knows what is in force, and is told what else is. */
  informed: boolean;
  /** Its metrics when they were last asked for. */
  readings: readonly MetricReadings[];
  /** Where its servers listen for clients. */
  databases: readonly string[];
  listening: readonly string[] | undefined;
}

/** A worker that lives shorter is started again only after a pause, which doubles. */
const shortLifeMs = 5_000;
const pauseMsFirst = 100;
const pauseMsMax = 10_000;
/** What takes no time is waited for so long: a worker that hangs must not hold up who asks about all of them. */
const answerMsMax = 5_000;
/** A statement waits for it. */
const vacateMsMax = 2_000;
/** Statements that notify wait for it, and notifications. */
const sendersMsMax = 1_000;
/** A login waits for it; less than for how long workers keep no places then. */
const recallAnswerMsMax = recallMs / 2;
/** How long a worker that is told to end at once may take. */
const endMsMax = 5_000;
/** How often those who wait for a server are looked at again. */
const ledgerTickMs = 50;

export class Primary implements HttpSource {
  readonly log: Logger;
  readonly #options: PrimaryOptions;
  readonly #secretKey = randomBytes(32).toString('hex');
  /** By index. */
  readonly #members = new Map<number, Member>();
  readonly #servers: ServerLedger;
  readonly #clients = new ClientLedger();
  #recall: Promise<void> | undefined;
  #recalledMs = Number.NEGATIVE_INFINITY;
  readonly #standing = new Standing();
  readonly #shortLives = new Map<number, number>();
  #ticking: NodeJS.Timeout | undefined;
  #restarts = 0;
  #reloads = 0;
  /** What workers had counted that have ended. */
  #departed: readonly MetricReadings[] = [];
  #departing: Promise<void> = Promise.resolve();
  #shutdown: ShutdownMode | undefined;
  #started: { resolve: (places: readonly string[]) => void; reject: (error: PoolerError) => void } | undefined;
  #finished: (() => void) | undefined;
  /** Resolves when the last worker has ended. */
  readonly finished: Promise<void>;

  constructor(options: PrimaryOptions) {
    this.#options = options;
    this.log = options.log;
    this.finished = new Promise((resolve) => {
      this.#finished = resolve;
    });
    this.#servers = new ServerLedger(options.clock, {
      granted: (worker, pool) => this.#members.get(worker)?.link.notify({ kind: 'granted', pool }),
      refused: (worker, pool, full) => this.#members.get(worker)?.link.notify({ kind: 'refused', pool, full }),
      wanted: (worker, pool, urgently) => this.#members.get(worker)?.link.notify({ kind: 'wanted', pool, urgently }),
      kept: (worker, pool) => this.#members.get(worker)?.link.notify({ kind: 'kept', pool }),
    });
  }

  /** Resolves with where clients can connect, when all workers serve. @throws PoolerError when one of them cannot */
  start(): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      // All listen on one socket: no connection is handed over, and none is lost with a worker that has not accepted it.
      cluster.schedulingPolicy = cluster.SCHED_NONE;
      for (let index = 0; index < this.#options.count; index++) this.#fork(index);
    });
  }

  get shutdownMode(): ShutdownMode | undefined {
    return this.#shutdown;
  }

  shutdown(mode: ShutdownMode): void {
    this.#shutdown = mode;
    this.log.info({ mode }, 'shutting down');
    this.#tell({ kind: 'shutdown', mode });
    if (this.#members.size === 0) this.#end();
    else if (mode === 'immediate') setTimeout(() => this.#killAll(), endMsMax);
  }

  #killAll(): void {
    for (const { worker } of this.#members.values()) worker.kill('SIGKILL');
  }

  reopenLog(): void {
    this.#tell({ kind: 'reopen-log' });
  }

  // Commands, of the console and by signals

  /** @returns see `ControlCommand.run` @throws PoolerError */
  async control(command: string, argument?: string): Promise<string | undefined> {
    if (command === 'shutdown') return this.#controlShutdown(argument);
    const question = { kind: 'control', command, argument } as const;
    const answer = await this.#inForce(question, () => this.#obeyed(question));
    return answer ?? undefined;
  }

  async #obeyed(question: Command & { readonly kind: 'control' }): Promise<string | null | undefined> {
    const members = this.#informed();
    switch (question.command) {
      case 'reload': {
        // What is wrong with the configuration, the first finds out for all.
        const [first, ...others] = members;
        const answer = await first?.link.ask(question);
        this.#reloads++;
        await this.#askAll(question, others);
        return answer;
      }
      // Done also where some have done it before, such as one that begins.
      case 'pause':
      case 'resume':
      case 'kill_client':
        return this.#askAny(question, members);
      default:
        return (await this.#askAll(question, members))[0];
    }
  }

  /** @returns the command tag @throws PoolerError */
  async set(key: string, value: string): Promise<string> {
    const command = { kind: 'set', key, value } as const;
    const [tag = 'SET'] = await this.#inForce(command, () => this.#askAll(command, this.#informed()));
    return tag;
  }

  /** What is asked for by HTTP, as a worker has checked it. @throws PoolerError */
  async order(order: GrantOrder): Promise<Grant> {
    return this.#askOne({ kind: 'order', order });
  }

  /** In force in all workers, or in none. @throws PoolerError */
  async grant(grant: Grant): Promise<void> {
    const command = { kind: 'grant', grant } as const;
    try {
      await this.#inForce(command, () => this.#askAll(command, this.#informed()));
    } catch (error) {
      const { role, user, grantedBy } = grant;
      await this.revoke({ role, user, revokedBy: grantedBy }).catch(() => {});
      throw error;
    }
  }

  /** @throws PoolerError */
  async revoke(revocation: Revocation): Promise<void> {
    const command = { kind: 'revoke', revocation } as const;
    await this.#inForce(command, () => this.#askAny(command, this.#informed()));
  }

  async grants(): Promise<readonly Grant[]> {
    return this.#askOne({ kind: 'grants' });
  }

  /** Of what all know alike. */
  #askOne<K extends PrimaryQuestion['kind']>(question: PrimaryQuestion & { readonly kind: K }): Promise<Answers[K]> {
    const [first] = this.#serving();
    if (first === undefined) throw new PoolerError('no worker serves', { sqlstate: '57P03', hint: 'Try again.' });
    return first.link.ask<K>(question, answerMsMax);
  }

  /** A worker that begins meanwhile has to know of it too. */
  async #inForce<T>(command: Command, act: () => Promise<T>): Promise<T> {
    const undo = this.#standing.begin(command);
    try {
      const done = await act();
      this.#standing.end(command);
      return done;
    } catch (error) {
      undo();
      throw error;
    }
  }

  /** @throws PoolerError */
  async rows(command: string): Promise<readonly AnyRow[]> {
    const parts = await this.#askAll({ kind: 'rows', command });
    return showCommands.get(command)?.merge(parts) ?? [];
  }

  #controlShutdown(argument: string | undefined): string | undefined {
    const mode = shutdownModeOf(argument);
    if (mode === 'immediate') {
      this.shutdown(mode);
      return undefined;
    }
    // After the answer, as a process on its own does it.
    setImmediate(() => {
      if (this.#shutdown !== mode) this.shutdown(mode);
    });
    return 'SHUTDOWN';
  }

  // HTTP

  async metrics(format: Parameters<HttpSource['metrics']>[0]): ReturnType<HttpSource['metrics']> {
    const members = this.#serving();
    const parts = await Promise.all(members.map((member) => this.#readingsOf(member)));
    const workers = members.map(({ index }, i) => ({
      index,
      clients: clientsIn(parts[i] ?? []),
      servers: this.#servers.heldBy(index),
    }));
    return mergedText([...parts, this.#departed, workerReadings(workers, this.#restarts)], format);
  }

  async readiness(): ReturnType<HttpSource['readiness']> {
    const parts = await this.#askAll({ kind: 'readiness' });
    const { count } = this.#options;
    // Where only some are starting, the others serve whoever comes.
    if (parts.length === 0) return { ready: false, reasons: [`${count} of ${count} workers are starting`] };
    return mergedReadiness(parts);
  }

  async hazards(): ReturnType<HttpSource['hazards']> {
    const [first, ...others] = await this.#askAll({ kind: 'hazards' });
    if (first === undefined) throw new PoolerError('no worker serves', { sqlstate: '57P03' });
    return mergedHazards([first, ...others]);
  }

  async #readingsOf(member: Member): Promise<readonly MetricReadings[]> {
    try {
      member.readings = await member.link.ask({ kind: 'metrics' }, answerMsMax);
      return member.readings;
    } catch {
      // It hangs, or has ended meanwhile: then these are among the departed.
      return this.#members.get(member.index) === member ? member.readings : [];
    }
  }

  /** A counter that fell would look like one that began anew: what a worker had counted when it was last asked goes on counting. */
  #depart({ readings }: Member): void {
    if (readings.length === 0) return;
    this.#departing = this.#departing.then(async () => {
      this.#departed = await mergedCounts([this.#departed, readings]);
    });
  }

  // Workers

  #serving(): Member[] {
    return [...this.#members.values()]
      .filter(({ listening }) => listening !== undefined)
      .sort((a, b) => a.index - b.index);
  }

  #informed(): Member[] {
    return [...this.#members.values()].filter(({ informed }) => informed);
  }

  #othersOf(member: Member): Member[] {
    return [...this.#members.values()].filter((other) => other !== member && other.listening !== undefined);
  }

  /** Each worker is told in which databases the others' servers listen. */
  #tellListened(): void {
    for (const member of this.#members.values()) {
      const databases = new Set(this.#othersOf(member).flatMap((other) => other.databases));
      member.link.notify({ kind: 'listens', databases: [...databases] });
    }
  }

  #tell(notice: PrimaryNotice, but?: number): void {
    for (const [index, { link }] of this.#members) if (index !== but) link.notify(notice);
  }

  /** The answers of all workers that serve, but for those that end meanwhile. */
  async #askAll<K extends PrimaryQuestion['kind']>(
    question: PrimaryQuestion & { readonly kind: K },
    members: readonly Member[] = this.#serving(),
  ): Promise<Answers[K][]> {
    const lasting = question.kind === 'control' || question.kind === 'set' || question.kind === 'grant';
    const settled = await Promise.allSettled(
      members.map(({ link }) => link.ask<K>(question, lasting ? undefined : answerMsMax)),
    );
    const answers: Answers[K][] = [];
    for (const [i, one] of settled.entries()) {
      if (one.status === 'fulfilled') answers.push(one.value);
      else if (members[i]?.worker.isDead() !== true) throw one.reason;
    }
    return answers;
  }

  /** The first answer; where there is none, the first error, but for those of workers that end meanwhile. */
  async #askAny<K extends Command['kind']>(
    question: Command & { readonly kind: K },
    members: readonly Member[],
  ): Promise<Answers[K] | undefined> {
    const settled = await Promise.allSettled(members.map(({ link }) => link.ask<K>(question)));
    for (const one of settled) if (one.status === 'fulfilled') return one.value;
    for (const [i, one] of settled.entries()) {
      if (one.status === 'rejected' && members[i]?.worker.isDead() !== true) throw one.reason;
    }
    return undefined;
  }

  #fork(index: number): void {
    const worker = cluster.fork();
    const link: Member['link'] = new Link(
      {
        send: (message) => {
          if (worker.isConnected()) worker.send(message as object);
        },
        onMessage: (listener) => worker.on('message', listener),
      },
      (notice) => this.#onNotice(index, member, notice as WorkerNotice),
      (question) => this.#answer(index, member, question as WorkerQuestion),
    );
    const member: Member = {
      index,
      worker,
      link,
      startedMs: this.#options.clock.now(),
      informed: false,
      readings: [],
      databases: [],
      listening: undefined,
    };
    this.#members.set(index, member);
    // Without this an error of the channel, such as a worker that ends while it is written to, would end the primary.
    worker.on('error', (error) => this.log.warn({ err: error, worker: index }, 'a worker could not be reached'));
    worker.on('exit', (code, signal) => this.#onExit(index, member, code, signal));
  }

  #onExit(index: number, member: Member, code: number | null, signal: string | null): void {
    member.link.close();
    if (this.#members.get(index) === member) this.#members.delete(index);
    this.#depart(member);
    this.#clients.lost(index);
    this.#servers.lost(index);
    if (member.databases.length > 0) this.#tellListened();
    if (this.#started !== undefined) {
      this.#failStart(
        new PoolerError(`worker ${index} ended while it started (${signal ?? code})`, { sqlstate: '58000' }),
      );
      return;
    }
    if (this.#shutdown !== undefined) {
      if (this.#members.size === 0) this.#end();
      return;
    }
    this.#restarts++;
    const short = this.#options.clock.now() - member.startedMs < shortLifeMs;
    const lives = short ? (this.#shortLives.get(index) ?? 0) + 1 : 0;
    this.#shortLives.set(index, lives);
    const pauseMs = lives === 0 ? 0 : Math.min(pauseMsFirst * 2 ** (lives - 1), pauseMsMax);
    this.log.error({ worker: index, code, signal, pauseMs }, 'a worker has died and is replaced');
    setTimeout(() => {
      if (this.#shutdown === undefined) this.#fork(index);
    }, pauseMs);
  }

  #failStart(error: PoolerError): void {
    this.#started?.reject(error);
    this.#started = undefined;
    this.#shutdown = 'immediate';
    this.#killAll();
  }

  #end(): void {
    clearInterval(this.#ticking);
    this.#finished?.();
  }

  #onNotice(index: number, member: Member, notice: WorkerNotice): void {
    switch (notice.kind) {
      case 'want':
        this.#servers.want(index, notice.pool, notice.limits, notice.need);
        this.#tickWhileBusy();
        break;
      case 'withdraw':
        this.#servers.withdraw(index, notice.pool);
        break;
      case 'gone':
        this.#servers.gone(index, notice.pool);
        break;
      case 'dismiss':
        this.#clients.dismiss(index, notice.database, notice.user, notice.count);
        break;
      case 'login-failed':
      case 'login-succeeded':
      case 'settings-altered':
      case 'end-vacancy':
        this.#tell(notice, index);
        break;
      case 'listens':
        member.databases = notice.databases;
        this.#tellListened();
        break;
      case 'ready':
        member.listening = notice.listening;
        this.#tellListened();
        if (this.#shutdown !== undefined) member.link.notify({ kind: 'shutdown', mode: this.#shutdown });
        if (this.#serving().length < this.#options.count) break;
        this.#started?.resolve(notice.listening);
        this.#started = undefined;
        break;
      case 'failed': {
        const error = receivedError(notice.error);
        if (this.#started !== undefined) this.#failStart(error);
        else this.log.error({ worker: index, sqlstate: error.sqlstate }, `a worker cannot serve: ${error.message}`);
        break;
      }
      default:
        notice satisfies never;
    }
  }

  #tickWhileBusy(): void {
    this.#ticking ??= setInterval(() => {
      this.#servers.tick();
      if (this.#servers.busy) return;
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    }, ledgerTickMs);
  }

  /** Takes a place for a client. @throws PoolerError when there is none, also where workers give back those they keep */
  async #admit(index: number, member: Member, question: AdmitQuestion): Promise<void> {
    const { database, user, limits } = question;
    let refusal = this.#clients.admit(index, database, user, limits);
    if (refusal !== undefined && (await this.#recallPlaces())) {
      if (this.#members.get(index) !== member) return;
      refusal = this.#clients.admit(index, database, user, limits);
    }
    if (refusal !== undefined) throw refusal;
  }

  /** Resolves when workers have given back the places of clients that have left; with false where they have just done so and keep none. */
  async #recallPlaces(): Promise<boolean> {
    const now = this.#options.clock.now();
    if (this.#recall === undefined) {
      if (now < this.#recalledMs + recallMs) return false;
      this.#recalledMs = now;
      const members = [...this.#members.values()];
      const answers = members.map(({ link }) => link.ask({ kind: 'recall' }, recallAnswerMsMax));
      this.#recall = Promise.allSettled(answers).then(() => {
        this.#recall = undefined;
      });
    }
    await this.#recall;
    return true;
  }

  async #answer(index: number, member: Member, question: WorkerQuestion): Promise<unknown> {
    switch (question.kind) {
      case 'begin':
        return {
          index,
          count: this.#options.count,
          secretKey: this.#secretKey,
          port: this.#options.port,
          http: this.#options.http,
          reloads: this.#reloads,
        } satisfies Beginning;
      case 'in-force':
        member.informed = true;
        return {
          commands: this.#standing.commandsAt(this.#options.clock.wallMs()),
          reloads: this.#reloads,
        } satisfies InForce;
      case 'admit':
        await this.#admit(index, member, question);
        return null;
      case 'cancel': {
        const other = this.#members.get(processOfClientPid(question.pid));
        if (other?.listening !== undefined) await other.link.ask(question, answerMsMax);
        return null;
      }
      case 'vacate':
        // One that hangs, or ends meanwhile, holds up nobody.
        await Promise.allSettled(this.#othersOf(member).map(({ link }) => link.ask(question, vacateMsMax)));
        return null;
      case 'catch-up':
        await Promise.allSettled(
          this.#othersOf(member)
            .filter(({ databases }) => databases.includes(question.database))
            .map(({ link }) => link.ask(question, sendersMsMax)),
        );
        return null;
      case 'senders': {
        const asked = this.#othersOf(member).map(({ link }) => link.ask<'senders'>(question, sendersMsMax));
        const settled = await Promise.allSettled(asked);
        const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
        return question.pids.map((_, i) => answers.find((answer) => answer[i] !== null)?.[i] ?? null);
      }
      case 'stand-in':
      case 'stand-in-acted':
      case 'stand-in-release': {
        const other = this.#members.get(processOfClientPid(question.pid));
        // A statement may take long until it signals anybody.
        if (other?.listening !== undefined) return (await other.link.ask(question)) ?? null;
        return null;
      }
      case 'rows':
        return this.rows(question.command);
      case 'control':
        return (await this.control(question.command, question.argument)) ?? null;
      case 'set':
        return this.set(question.key, question.value);
      case 'grant':
        await this.grant(question.grant);
        return null;
      case 'revoke':
        await this.revoke(question.revocation);
        return null;
      default:
        return question satisfies never;
    }
  }
}
