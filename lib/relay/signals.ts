// A client's statements that have PostgreSQL signal another client: what is sent in place of the pids it was told.

import { withPids } from '../sql/index.js';
import { BindParameters } from '../wire/index.js';
import type { SessionHost } from './ports.js';

/** Statements that weir does not keep, in session mode. */
const bodiesMax = 1_000;

export interface BoundInstead {
  /** The statement's text with real pids in it, where that has to be prepared first. */
  readonly text: Buffer | undefined;
  /** Of the Bind what stands behind the statement's name. */
  readonly rest: Buffer;
}

export class ClientSignals {
  readonly #session: SessionHost;
  /** What was prepared, by name, where statements keep the client's own names: of a Parse what stands behind the name. */
  readonly #bodies = new Map<string, Buffer>();
  /** A portal has been bound that signals, and what is executed next is likely to be it. */
  #isBound = false;

  constructor(session: SessionHost) {
    this.#session = session;
  }

  /** A statement was prepared that keeps its name. @param body undefined where it signals nobody */
  prepared(name: string, body: Buffer | undefined): void {
    if (body === undefined) this.#bodies.delete(name);
    else if (this.#bodies.size < bodiesMax) this.#bodies.set(name, Buffer.from(body));
  }

  bodyOf(name: string): Buffer | undefined {
    return this.#bodies.get(name);
  }

  /** @returns the text to be sent, undefined where it goes as it is */
  query(text: Buffer): Buffer | 'wait' | undefined {
    const found = this.#session.signalledPids(text);
    if (found === undefined || found.literals.length === 0) return undefined;
    const real = this.#session.realPids(found.literals.map(({ pid }) => pid));
    if (real === undefined) return 'wait';
    const places = replaced(found.literals, real);
    if (places.length === 0) return undefined;
    this.#session.onSignalsSent();
    return withPids(text, places);
  }

  /** @param rest of a Bind what stands behind the statement's name */
  bind(text: Buffer, rest: Buffer): BoundInstead | 'wait' | undefined {
    const found = this.#session.signalledPids(text);
    if (found === undefined) return undefined;
    const parameters = BindParameters.read(rest);
    const given = found.parameters.flatMap((parameter) => {
      const pid = parameters?.integer(parameter.number);
      return pid === undefined ? [] : [{ ...parameter, pid }];
    });
    const pids = [...found.literals, ...given].map(({ pid }) => pid);
    if (pids.length === 0) return undefined;
    const real = this.#session.realPids(pids);
    if (real === undefined) return 'wait';
    // A value that is seen elsewhere too stays what it is there.
    const inText = given.flatMap(({ only, places, pid }) => (only ? [] : places.map((place) => ({ ...place, pid }))));
    const places = replaced([...found.literals, ...inText], real);
    const integers = new Map<number, number>();
    for (const { number, only, pid } of given) {
      const instead = real.get(pid);
      if (only && instead !== undefined) integers.set(number, instead);
    }
    if (places.length === 0 && integers.size === 0) return undefined;
    this.#isBound = true;
    return {
      text: places.length === 0 ? undefined : withPids(text, places),
      rest: integers.size === 0 ? rest : (parameters?.with(integers) ?? rest),
    };
  }

  /** An Execute is being sent. */
  onExecute(): void {
    if (!this.#isBound) return;
    this.#isBound = false;
    this.#session.onSignalsSent();
  }
}

interface Place {
  readonly start: number;
  readonly end: number;
  readonly pid: number;
}

function replaced(places: readonly Place[], real: ReadonlyMap<number, number>): (Place & { instead: number })[] {
  return places.flatMap((place) => {
    const instead = real.get(place.pid);
    return instead === undefined ? [] : [{ ...place, instead }];
  });
}
