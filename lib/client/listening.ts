// Which channels one server listens on for many members: what it is asked next, and who has missed something. No input or output.

import { assert, type PoolerError } from '../util/index.js';

/** Channels in one command: what thousands listen on is taken up in several. */
const commandChannelsMax = 1_000;

/**
 * How a channel stands with the server. `asked` and `leaving`: the command is on its way; it counts, or not, with its answer.
 */
type OnServer = 'off' | 'asked' | 'on' | 'leaving';

interface Channel<M> {
  /** Whoever wants it: those that listen, whose LISTEN or UNLISTEN is not decided, or who are about to send one. */
  readonly members: Set<M>;
  onServer: OnServer;
}

/** One message to the server: all of it counts, or nothing. */
export interface ListenCommand {
  readonly listens: readonly string[];
  readonly unlistens: readonly string[];
}

/** Called once: nothing committed from now on is missed on what its member wanted when it asked, or why that cannot be. */
export type BarrierDone = (error: PoolerError | undefined) => void;

/**
 * Nobody's wish is a command by itself: the next command is the difference between what is wanted and what the server
 * listens on, so that a wish which changes meanwhile can neither get lost nor be overtaken.
 */
export class Listening<M> {
  readonly #channels = new Map<string, Channel<M>>();
  /** Asked for and in no command yet. */
  #waiting: BarrierDone[] = [];
  #running: { readonly command: ListenCommand; readonly barriers: readonly BarrierDone[] } | undefined;
  /** Who listened when the server was lost, until all that is wanted is listened on again. */
  readonly #missing = new Set<M>();

  /** Channels that somebody wants. */
  get size(): number {
    let size = 0;
    for (const { members } of this.#channels.values()) if (members.size > 0) size++;
    return size;
  }

  /** Whether nobody wants anything and the server listens on nothing. */
  get isEmpty(): boolean {
    return this.#channels.size === 0 && this.#waiting.length === 0 && this.#running === undefined;
  }

  /** Whether a command has been sent and not answered. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Whether a barrier has not been sent. */
  get isAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether the server is lost, and not all that is wanted is listened on again. */
  get hasGap(): boolean {
    return this.#missing.size > 0;
  }

  /** Who is to be told of what comes on the channel. */
  members(channel: string): ReadonlySet<M> | undefined {
    return this.#channels.get(channel)?.members;
  }

  want(name: string, member: M): void {
    const channel = this.#channels.get(name);
    if (channel === undefined) this.#channels.set(name, { members: new Set([member]), onServer: 'off' });
    else channel.members.add(member);
  }

  unwant(name: string, member: M): void {
    const channel = this.#channels.get(name);
    if (channel === undefined) return;
    channel.members.delete(member);
    this.#forgetIfOver(name, channel);
  }

  #forgetIfOver(name: string, { members, onServer }: Channel<M>): void {
    if (members.size === 0 && onServer === 'off') this.#channels.delete(name);
  }

  /** Asks for a round trip that begins after this, with all that is wanted by now listened on at its end. */
  barrier(done: BarrierDone): void {
    this.#waiting.push(done);
  }

  /** What the server is to be sent now: `undefined` while it has not answered, or where there is nothing to say. */
  next(): ListenCommand | undefined {
    if (this.#running !== undefined) return undefined;
    const listens: string[] = [];
    const unlistens: string[] = [];
    let whole = true;
    for (const [name, { members, onServer }] of this.#channels) {
      const differs = members.size > 0 ? onServer === 'off' : onServer === 'on';
      if (!differs) continue;
      if (listens.length + unlistens.length === commandChannelsMax) {
        whole = false;
        break;
      }
      (members.size > 0 ? listens : unlistens).push(name);
    }
    const barriers = whole ? this.#waiting.splice(0) : [];
    if (listens.length + unlistens.length + barriers.length === 0) return undefined;
    for (const name of listens) this.#move(name, 'asked');
    for (const name of unlistens) this.#move(name, 'leaving');
    const command = { listens, unlistens };
    this.#running = { command, barriers };
    return command;
  }

  #move(name: string, onServer: OnServer): void {
    const channel = this.#channels.get(name);
    assert(channel !== undefined, 'a channel stays while its command is on the way');
    channel.onServer = onServer;
    this.#forgetIfOver(name, channel);
  }

  /** The command has counted. @param onBack called for who is heard again after a loss, before who waited is told that it is over */
  answered(onBack: (member: M) => void): void {
    const running = this.#running;
    assert(running !== undefined, 'only a command that was sent is answered');
    this.#running = undefined;
    for (const name of running.command.listens) this.#move(name, 'on');
    for (const name of running.command.unlistens) this.#move(name, 'off');
    for (const member of this.#takeMissing()) onBack(member);
    for (const done of running.barriers) done(undefined);
  }

  #takeMissing(): readonly M[] {
    if (this.#missing.size === 0) return [];
    for (const { members, onServer } of this.#channels.values()) if (members.size > 0 && onServer !== 'on') return [];
    const back = [...this.#missing];
    this.#missing.clear();
    return back;
  }

  /** The server is gone: it listens on nothing. What was awaited still is. @returns who was listening on it */
  lost(): readonly M[] {
    const listened = new Set<M>();
    for (const [name, channel] of [...this.#channels]) {
      if (channel.onServer !== 'off') for (const member of channel.members) listened.add(member);
      channel.onServer = 'off';
      this.#forgetIfOver(name, channel);
    }
    this.#waiting = [...(this.#running?.barriers ?? []), ...this.#waiting];
    this.#running = undefined;
    for (const member of listened) this.#missing.add(member);
    return [...listened];
  }

  /** No server can be had: who waits is told why. */
  fail(error: PoolerError): void {
    for (const done of this.#waiting.splice(0)) done(error);
  }

  /** The member is gone for good. */
  forget(member: M): void {
    this.#missing.delete(member);
  }
}
