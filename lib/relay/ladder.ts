// What the statements of leases leave on one server, and what is done about it: look, carry over, keep, or reset.

import {
  Effect,
  everything,
  type Findings,
  type Footprint,
  type FoundStatement,
  footprint,
  type HazardName,
  inert,
  isReadBack,
  listenTo,
  lookedFor,
  Placed,
  probeQuery,
  readProbe,
  Settings,
  Statement,
  type StatementUse,
  troublesome,
  unlistenFrom,
} from '../session/index.js';
import {
  ownQueryMessage,
  queryMessage,
  type ServerErrorFields,
  statementBody,
  TransactionStatus,
} from '../wire/index.js';
import type { ClientChannel } from './client-channel.js';
import type { OwnRows } from './owed.js';
import type { ServerChannel } from './server-channel.js';

/** Whether the lease may end: `asking` is for as long as the server is being looked at. */
export type Standing = 'free' | 'asking' | 'kept';

/** What must happen to a server that nobody has before it is lent. */
export type ResetPlan = 'nothing' | 'restore' | 'troublesome' | 'smart' | 'discard_all' | 'destroy';

/** Removes all that a client leaves but prepared statements, whose names are weir's own. */
export const smartReset = [
  'CLOSE ALL',
  'RESET SESSION AUTHORIZATION',
  'RESET ROLE',
  'RESET ALL',
  'UNLISTEN *',
  'SELECT pg_catalog.pg_advisory_unlock_all()',
  'DISCARD TEMP',
  'DISCARD SEQUENCES',
].join(';');

/** After a look that found nothing to pin: what a look cannot see. */
const targetedReset = 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;DISCARD SEQUENCES';

/** No client has this id. */
const nobody = -1;

/** Footprints with names kept for one look; with more, everything is looked at. */
const usesMax = 100;
/** Looks at one server that may fail one after the other. */
const attemptsMax = 2;
/** Bytes of the settings of one client that are carried from server to server. */
const settingsBytesMax = 256 * 1024;
/** Names of clients' own kept on a server. */
const ownNamesMax = 1_000;

/** Quick enough for any limit. */
const ownTimeLimit =
  "SELECT 'setting','statement_timeout',pg_catalog.current_setting('statement_timeout'),'session user'";

/** What a pin is found by. */
const pinEffects: Readonly<Partial<Record<HazardName, number>>> = {
  temp: Effect.Temp,
  cursor: Effect.Cursors,
  advisory_lock: Effect.Locks,
};

/** Stands on a server for a statement of the client's that is not about to run. */
const placeholder = Statement.own(statementBody(Buffer.alloc(0), []), inert);

/** The part of a lease that is being looked at. */
interface Asked {
  readonly effects: number;
  readonly uses: readonly Footprint[];
  readonly settings: ReadonlySet<string>;
  readonly statements: ReadonlySet<string>;
  /** An error has kept some statements from running, or a ROLLBACK has undone them. */
  readonly failed: boolean;
  /** Channels of UNLISTENs that have run. */
  readonly unlistened: readonly (string | null)[];
  /** The client has run RESET ALL. */
  readonly resetsAll: boolean;
  /** The client has run SET ROLE or the like. */
  readonly actsAs: boolean;
  /** What is found is compared with what weir believes. */
  readonly compare: boolean;
}

export class Ladder {
  readonly #server: ServerChannel;
  /** Of the statements run since the last look; bits of `Effect`. */
  effects: number = Effect.None;
  /** What keeps the server with its client, by the time it was found. */
  readonly pins = new Map<HazardName, number>();
  /** Names at SQL level that this lease has prepared or deallocated: what became of them is not known yet. */
  readonly unsettled = new Set<string>();
  /** A statement nobody could read may have prepared or deallocated any name. */
  namesUnsettled = false;
  #uses: Footprint[] = [];
  #asked: Asked | undefined;
  #attempts = 0;
  /** Channels of the UNLISTENs of the batch; null is all. */
  #unlistens: (string | null)[] = [];
  /** Whether the first of them has run, and whether an error or a ROLLBACK behind it, or before, has undone them. */
  #unlistenRan = false;
  #unlistenUndone = false;
  /** Those of batches before, in the transaction: where it is committed, the server listens on their marks. */
  readonly #marked: (string | null)[] = [];
  /** A ROLLBACK or an error since the last look. */
  #failed = false;
  /** Pins that no look can end. */
  readonly #lasting = new Set<HazardName>();
  /** Since when the server has been kept with nothing to do. */
  #restingSinceMs = 0;
  /** The pin for what the session remembers of sequences is the operator's will, not only weir's kindness. */
  #keepsSequences = false;
  /** What the client before has left that only the next one need be spared. */
  #residue: number = Effect.None;
  #indelible = false;
  /** Whose state the server is in. */
  #owner = 0;
  /** Statements prepared under names of clients' own; undefined where what the name stands for is not known. */
  readonly #ownNames = new Map<string, Placed | undefined>();
  /** Something was RESET since it was last made sure where it went back to. */
  #resets = false;
  /** The same, for the rest of a transaction. */
  #localResets = false;
  /** It is being made sure. */
  #returning = false;
  /** What connect_query has left beside settings is gone. */
  #lost = false;
  #releases = 0;
  #compared = false;

  constructor(server: ServerChannel) {
    this.#server = server;
  }

  /** Whether the server is being looked at: what the client sends next has to wait for what is found. */
  get asking(): boolean {
    return this.#asked !== undefined || this.#returning;
  }

  /** Whether the client has sent a RESET since its last batch ended. */
  get resets(): boolean {
    return this.#resets || this.#localResets;
  }

  /** Whether all of them were for the rest of the transaction: what the client already has is not reported again. */
  get resetsLocally(): boolean {
    return this.#localResets && !this.#resets;
  }

  /** None of them counts any more. */
  forgetResets(): void {
    this.#resets = false;
    this.#localResets = false;
  }

  /** Whether one of them was of this setting, and not only for the rest of the transaction. */
  hasReset(name: string): boolean {
    return (this.effects & Effect.AllSettings) !== 0 || resetBy(this.#uses, name);
  }

  /** Whether one of them was of this setting. */
  mayHaveReset(name: string): boolean {
    if (!this.resets) return false;
    return this.hasReset(name) || resetBy(this.#uses, name, Effect.LocalResets);
  }

  /** Effects that have not been looked at, or are being. */
  get pending(): number {
    return this.effects | (this.#asked?.effects ?? 0);
  }

  // During a lease

  /** A client's lease begins: what the one before has left goes first, in the same write as what follows. */
  begin(client: ClientChannel): void {
    this.#compared = false;
    if (this.#owner === client.id) return;
    this.#owner = client.id;
    this.#clearResidue();
  }

  /** The same for reads of several clients. */
  beginShared(): void {
    this.#owner = nobody;
    this.#clearResidue();
  }

  #clearResidue(): void {
    const residue = this.#residue;
    if (residue === Effect.None) return;
    this.#residue = Effect.None;
    this.#server.traffic.ladder.resets.targeted++;
    this.#server.askForSure(ownQueryMessage(targetedReset));
    this.#server.settingsReset();
    const { restoreQuery } = this.#server;
    if (restoreQuery !== undefined) this.#server.ask(restoreQuery, () => {});
    this.#server.sequences.begun();
  }

  /** A statement with this footprint is about to run for the client. */
  mark(left: Footprint, client: ClientChannel): void {
    const { status, statusStays } = this.#server;
    // In a transaction that has failed it does not run.
    const ends = (left.effects & (Effect.Unknown | Effect.Transacts)) !== 0;
    if (status === TransactionStatus.Failed && statusStays && !ends) return;
    // A value that this lease has not asked for comes from one before: from now on its server has to be kept.
    if ((left.effects & Effect.ReadsSequences) !== 0 && ((this.pending | left.effects) & Effect.Sequences) === 0) {
      client.remembersSequences();
    }
    this.effects |= left.effects;
    if ((left.effects & Effect.NamesStatements) !== 0) this.namesUnsettled = true;
    if ((left.effects & (Effect.ResetSettings | Effect.AllSettings)) !== 0) this.#resets = true;
    if ((left.effects & Effect.LocalResets) !== 0) this.#localResets = true;
    if (!left.detailed) return;
    this.#remember(left);
    for (const { kind, channel } of left.channels) if (kind === 'unlisten') this.#unlistens.push(channel);
    for (const use of left.statements) {
      // PREPARE of a name that the client has is refused: what stands there on the server must not be taken for it.
      if (use.kind === 'prepare' && !this.namesUnsettled && client.statements.get(use.name) !== undefined) continue;
      if (use.kind !== 'execute') this.unsettled.add(use.name);
      else if (this.unsettled.has(use.name)) this.effects |= Effect.Unknown | Effect.Sequences;
      else {
        const statement = client.statements.get(use.name);
        if (statement === undefined) continue;
        this.effects |= statement.footprint.effects;
        if (!statement.footprint.detailed) continue;
        this.#remember(statement.footprint);
        // PREPARE takes no EXECUTE, but the protocol's Parse does: such a chain is not followed.
        if (statement.footprint.statements.length > 0) this.effects |= Effect.Unknown;
      }
    }
  }

  /** Whether only the server knows what the name stands for. */
  isUnsettled(name: string, client: ClientChannel): boolean {
    return this.unsettled.has(name) || (this.namesUnsettled && client.statements.get(name) === undefined);
  }

  /** A setting named by a parameter's value; undefined where that could not be read. */
  markSetting(name: string | undefined): void {
    if (name === undefined) this.effects |= Effect.Unknown;
    else this.#remember(footprint({ settings: [name.toLowerCase()] }));
  }

  #remember(left: Footprint): void {
    if (this.#uses.length < usesMax) {
      if (!this.#uses.includes(left)) this.#uses.push(left);
      return;
    }
    this.effects |= Effect.Unknown;
  }

  /**
   * Makes the names the client's statement uses stand on the server for what they stand for with the client.
   */
  readyNames(uses: Iterable<StatementUse>, client: ClientChannel, how: 'used' | 'listed' = 'used'): void {
    // Also in a failed transaction: what is sent may begin with a ROLLBACK, and no name may stand for another client's statement.
    const changes: [name: string, placed: Placed | undefined][] = [];
    /** The text itself closes or prepares them before it executes them: for that they need not stand for anything. */
    const made = new Set<string>();
    for (const { kind, name } of uses) {
      if (kind !== 'execute') made.add(name);
      else if (made.has(name)) continue;
      if (this.unsettled.has(name) || changes.some(([changing]) => changing === name)) continue;
      let statement = client.statements.get(name);
      if (statement !== undefined && kind !== 'execute') {
        // That the name is taken is all that counts: the statement itself might not be prepared any more.
        if (this.#ownNames.get(name) !== undefined) continue;
        statement = placeholder;
      }
      if (statement === undefined ? !this.#ownNames.has(name) : this.hasOwn(name, statement)) continue;
      // Tried for this message already, and in vain.
      if (this.#server.isUnprepared(name)) continue;
      if (statement !== undefined && statement !== placeholder) client.rehome(statement, this.#server);
      changes.push([name, statement && this.#placeOwn(name, statement, how)]);
    }
    if (changes.length > 0) this.#server.prepareOwnNames(changes, true);
    for (const [name, placed] of changes) {
      if (placed === undefined) this.#ownNames.delete(name);
      else this.#ownNames.set(name, placed);
    }
    if (this.#ownNames.size > ownNamesMax) this.effects |= Effect.Unseen;
  }

  /** What is only listed may have become something else meanwhile: that is found out once it is used. */
  #placeOwn(name: string, statement: Statement, how: 'used' | 'listed'): Placed {
    const expected = how === 'listed' ? undefined : statement.version;
    return new Placed(name, statement, this.#server.statements.tick(), { expected });
  }

  /** The same of all the names there are. */
  readyAllNames(client: ClientChannel, how: 'used' | 'listed' = 'used'): void {
    const names = new Set([...this.#ownNames.keys(), ...client.statements.names()]);
    this.readyNames(
      [...names].map((name) => ({ kind: 'execute', name })),
      client,
      how,
    );
  }

  /** The client closes a name that may be prepared anew, as the server sees it, in the same batch. */
  closeName(name: string): void {
    if (!this.#ownNames.has(name)) return;
    this.#server.prepareOwnNames([[name, undefined]], false);
    this.#ownNames.delete(name);
  }

  /** Whatever a name stood for on the server, it is not known any more. */
  doubtName(name: string): void {
    this.#ownNames.set(name, undefined);
  }

  /** Whether the client's statement stands on the server under the client's own name. */
  hasOwn(name: string, statement: Statement): boolean {
    const placed = this.#ownNames.get(name);
    if (placed === undefined || placed.parsedAt < statement.parsedAt) return false;
    const { version } = placed;
    if (placed.statement === statement) return version === undefined || version.key === statement.version?.key;
    return version !== undefined && version === statement.version;
  }

  /** What the client was to do with it has been skipped too: it is what it was, with the client. */
  skipName(name: string): void {
    this.unsettled.delete(name);
  }

  /** All prepared statements of the server are gone. */
  forgetNames(): void {
    this.#ownNames.clear();
  }

  /** Leaves on the server the client's statements alone, under the client's names: it is about to list them. */
  showStatements(client: ClientChannel): void {
    const failed = this.#server.status === TransactionStatus.Failed;
    // What only the server knows of must stay.
    const all = !failed && this.#server.complete && this.unsettled.size === 0 && !this.namesUnsettled;
    this.#server.closeStatements(all ? 'all' : 'one by one');
    if (all) this.#ownNames.clear();
    this.readyAllNames(client, 'listed');
  }

  /** The session listens on the client's channels while it is asked what it listens on. */
  showChannels(channels: readonly string[]): void {
    if (channels.length === 0 || this.#server.status === TransactionStatus.Failed) return;
    this.effects |= Effect.Listens;
    this.#server.ask(queryMessage(listenTo(channels)), () => {});
  }

  /** Nobody else can listen for the client: its server tells it itself. */
  keepListening(): void {
    this.#pin('listen', 'lasting');
    this.effects |= Effect.Unseen;
  }

  /** DISCARD ALL has run, and nothing was sent behind it: all is as at the beginning, and known. */
  discardedAll(): void {
    this.effects &= Effect.Unlistens | Effect.Unseen | Effect.Indelible;
    for (const name of this.pins.keys()) if (name !== 'load') this.pins.delete(name);
    this.#lasting.clear();
    if (this.pins.size > 0) this.#lasting.add('load');
    this.unsettled.clear();
    this.#residue = Effect.None;
    this.#server.sequences.forgotten();
  }

  /** A statement failed, or undid others. */
  onRollback(by: 'error' | 'rollback'): void {
    this.#failed = true;
    if (by === 'error' || this.#unlistenRan) this.#unlistenUndone = true;
  }

  /** An UNLISTEN has run. */
  onUnlisten(): void {
    this.#unlistenRan = true;
  }

  // At the end of a batch, inside a transaction

  /**
   * What becomes of an UNLISTEN no look would show, since the server does not listen for its client: a LISTEN on a channel of
   * its own, the mark, shares its fate.
   */
  markUnlistens(): void {
    const { status, statements } = this.#server;
    const unlistened = this.#takeUnlistens();
    if (unlistened.length === 0 || status !== TransactionStatus.InTransaction) return;
    const marks = unlistened.map((channel) => `${statements.prefix}${this.#marked.push(channel) - 1}`);
    this.effects |= Effect.Listens;
    // The client may have left by then: its server is taken back once this is answered.
    this.#server.ask(queryMessage(listenTo(marks)), () => {
      if (this.#server.settled) this.#server.endBatch();
    });
  }

  /** The channels of the batch's UNLISTENs, unless they may have been undone. */
  #takeUnlistens(): (string | null)[] {
    const unlistened = this.#unlistenUndone ? [] : this.#unlistens;
    this.#unlistens = [];
    this.#unlistenRan = false;
    this.#unlistenUndone = false;
    return unlistened;
  }

  /** RESET goes back to what the server began with: within a transaction the client's own beginning is put in its place. */
  returnToLogin(client: ClientChannel): void {
    if (!this.resets || this.#returning || this.#server.status !== TransactionStatus.InTransaction) return;
    const local = !this.#resets;
    this.forgetResets();
    const own = new Map<string, string>();
    for (const [name, value] of client.loginSettings.values) {
      const named = (this.effects & Effect.AllSettings) !== 0 || namedBy(this.#uses, name);
      if (named && isReadBack(name) && this.#server.loginSettings.values.get(name) !== value) own.set(name, value);
    }
    if (own.size === 0) return;
    this.#returning = true;
    const query = probeQuery({
      effects: Effect.ResetSettings,
      settings: new Set(own.keys()),
      statements: new Set(),
      ownPrefix: this.#server.statements.prefix,
    });
    this.#server.traffic.ladder.probes++;
    this.#server.ask(ownQueryMessage(query), (error, rows) => {
      const { settings } = readProbe(rows);
      for (const name of own.keys()) {
        const found = settings.get(name);
        const reset = this.#server.loginSettings.values.get(name) ?? '';
        const isReset = found?.source === 'reset' || (name.includes('.') && found?.value === reset);
        if (!isReset) own.delete(name);
      }
      const begun = new Settings(own);
      const back = local ? begun.localMessage() : begun.replayMessage(Settings.empty);
      const message = error === undefined ? back : undefined;
      if (message === undefined) this.#returned();
      else this.#server.ask(message, () => this.#returned());
    });
  }

  #returned(): void {
    this.#returning = false;
    if (this.#server.settled) this.#server.endBatch();
  }

  // At the end of a batch, between transactions

  /** @param leakProbeEvery how many leases end before one is compared with the server's real state; 0 is never */
  settle(client: ClientChannel, leakProbeEvery: number): Standing {
    if (this.asking) return 'asking';
    this.forgetResets();
    const unlistened = this.#takeUnlistens();
    if (this.effects !== Effect.None) {
      this.#settleSequences(client);
      if ((this.effects & Effect.Indelible) !== 0) {
        this.#indelible = true;
        this.#pin('load', 'lasting');
      }
      for (const use of this.#uses) {
        for (const name of use.pins) this.#pin(name, 'lasting');
        this.#keepsSequences ||= use.pins.includes('sequence');
      }
      const look = this.#toLookFor();
      if (look !== 0) {
        this.#ask(client, look, false, unlistened);
        return 'asking';
      }
      if (unlistened.length > 0) client.onChannels([], unlistened);
      this.effects &= Effect.Unseen;
      this.#uses = [];
    }
    if (this.pins.size > 0) {
      this.#restingSinceMs = this.#server.nowMs();
      return 'kept';
    }
    if (leakProbeEvery > 0 && !this.#compared && (this.effects & Effect.Unseen) === 0) {
      this.#compared = true;
      if (++this.#releases % leakProbeEvery === 0) {
        this.#ask(client, everything, true, []);
        return 'asking';
      }
    }
    return 'free';
  }

  #toLookFor(): number {
    let look = this.effects & lookedFor;
    if ((look & Effect.Unknown) !== 0) look |= everything;
    // Whether it still has to be kept for what it listens on.
    if ((this.effects & Effect.Unlistens) !== 0 && this.pins.has('listen')) look |= Effect.Listens;
    if ((this.effects & Effect.Ends) !== 0) for (const name of this.pins.keys()) look |= pinEffects[name] ?? 0;
    return look;
  }

  #settleSequences(client: ClientChannel): void {
    if ((this.effects & Effect.Sequences) !== 0 && client.readsSequences) this.#pin('sequence', 'lasting');
    if ((this.effects & Effect.ForgetsSequences) !== 0) {
      this.#lasting.delete('sequence');
      this.pins.delete('sequence');
    }
  }

  /**
   * Others wait. Where the server is kept for values of sequences alone, and its client has left it alone for so long, it may
   * go: who asks for such a value afterwards may be told that there is none.
   */
  yieldSequences(restedMs: number): boolean {
    if (this.#keepsSequences || this.asking || this.pins.size !== 1 || !this.pins.has('sequence')) return false;
    if (this.#server.nowMs() - this.#restingSinceMs < restedMs) return false;
    this.#unpin('sequence');
    return true;
  }

  #pin(name: HazardName, how: 'found' | 'lasting'): void {
    if (how === 'lasting') this.#lasting.add(name);
    if (this.pins.has(name)) return;
    this.pins.set(name, this.#server.nowMs());
    this.#server.traffic.ladder.pins[name]++;
  }

  #unpin(name: HazardName): void {
    this.#lasting.delete(name);
    this.pins.delete(name);
  }

  #ask(client: ClientChannel, look: number, compare: boolean, unlistened: readonly (string | null)[]): void {
    const settings = new Set<string>();
    const statements = new Set<string>();
    for (const use of this.#uses) {
      for (const name of use.settings) settings.add(name);
      for (const { name } of use.statements) if (this.unsettled.has(name)) statements.add(name);
    }
    if ((look & (Effect.AllSettings | Effect.Unknown)) !== 0) {
      // A listing does not show settings with a dot: they are asked for by every name that is known.
      for (const name of client.settings.values.keys()) if (name.includes('.')) settings.add(name);
      for (const name of this.#server.settings.values.keys()) {
        if (!this.#server.loginSettings.values.has(name)) settings.add(name);
      }
      for (const name of client.settingNames()) settings.add(name);
    }
    const all = (look & Effect.Unknown) !== 0 || compare;
    const resetsAll = (this.effects & Effect.AllSettings) !== 0;
    const actsAs = (this.effects & Effect.Role) !== 0;
    this.#asked = {
      effects: look | this.effects,
      uses: this.#uses,
      settings,
      statements,
      failed: this.#failed,
      unlistened,
      resetsAll,
      actsAs,
      compare,
    };
    this.#failed = false;
    this.effects &= Effect.Unseen;
    this.#uses = [];
    this.#attempts = 0;
    this.#send(look, settings, all ? new Set() : statements);
  }

  #send(look: number, settings: ReadonlySet<string>, statements: ReadonlySet<string>): void {
    const server = this.#server;
    const again = this.#attempts > 0;
    server.traffic.ladder.probes++;
    const query = ownQueryMessage(
      probeQuery({ effects: look, settings, statements, ownPrefix: server.statements.prefix }),
    );
    // The client's own limit must not keep weir from looking; what it is has to be read before.
    let limit: OwnRows = [];
    if (again) {
      server.ask(ownQueryMessage(`BEGIN READ ONLY;${ownTimeLimit};SET LOCAL statement_timeout=0`), (_error, rows) => {
        limit = rows;
      });
    }
    server.ask(query, (error, rows) => {
      if (error === undefined) this.#found(readProbe([...rows, ...limit]));
      else if (++this.#attempts < attemptsMax && this.#asked !== undefined) {
        this.#send(look | (look & Effect.Settings ? Effect.AllSettings : 0), settings, statements);
        return;
      } else this.#unanswered(error);
      if (!again) this.#finished();
    });
    if (again) server.ask(ownQueryMessage('COMMIT'), () => this.#finished());
  }

  #finished(): void {
    if (this.#server.quiet) this.#server.endBatch();
  }

  /** Nobody knows what is left: the client goes on where it is, and DISCARD ALL follows when it has gone. */
  #unanswered(error: ServerErrorFields): void {
    this.#asked = undefined;
    this.#server.onLookFailed(error);
    this.effects |= Effect.Unseen;
    this.#pin('unknown', 'lasting');
  }

  #found(findings: Findings): void {
    const asked = this.#asked;
    this.#asked = undefined;
    const client = this.#server.client;
    if (asked === undefined || client === undefined) return;
    if (asked.compare) this.#compare(findings, asked);
    this.#carrySettings(findings, asked, client);
    this.#carryStatements(findings, asked, client);
    this.#carryChannels(findings, asked, client);
    this.#foundPin('temp', findings.temp, asked.effects & Effect.Temp);
    this.#foundPin('cursor', findings.cursors, asked.effects & Effect.Cursors);
    this.#foundPin('advisory_lock', findings.locks > 0, asked.effects & Effect.Locks);
    if ((asked.effects & Effect.Unknown) !== 0) this.#residue |= Effect.Unknown;
    if ((asked.effects & Effect.Distrusted) !== 0) this.effects |= Effect.Unseen;
  }

  #foundPin(name: HazardName, found: boolean, lookedAt: number): void {
    if (lookedAt === 0) return;
    if (found) this.#pin(name, 'found');
    else if (!this.#lasting.has(name)) this.pins.delete(name);
  }

  #carrySettings(findings: Findings, asked: Asked, client: ClientChannel): void {
    const server = this.#server;
    const { loginSettings } = server;
    const onServer = new Map(server.settings.values);
    const own = new Map(client.settings.values);
    const asReset = (name: string, value: string | undefined): void => {
      const reset = server.reports(name) ? onServer.get(name) : loginSettings.values.get(name);
      put(onServer, name, loginSettings.values.has(name) ? (value ?? reset) : undefined);
      put(own, name, client.loginSettings.get(name) ?? onServer.get(name));
    };
    // A value that nobody has set here may be the client's own all the same, where the server began with it.
    const isReset = (name: string, value: string | undefined): boolean => {
      const believed = server.settings.values.get(name);
      // A RESET that was undone: one that counts in a transaction has put the client's beginning in place of the server's.
      if (asked.failed && value !== undefined && value === believed && value === own.get(name)) return false;
      return asked.resetsAll || resetBy(asked.uses, name) || value !== believed;
    };
    for (const [name, found] of findings.settings) {
      if (found.source === 'reset') {
        if (isReset(name, found.value)) asReset(name, found.value);
        continue;
      }
      // As it was believed to be, and nothing has named it: what the client is to have may be something else.
      const believed = server.settings.values.get(name) ?? (name.includes('.') ? '' : undefined);
      if (!asked.resetsAll && !namedBy(asked.uses, name) && found.value === believed) continue;
      // What RESET leaves, an empty text unless the server began with more: the client's session goes back to what it began with.
      if (name.includes('.') && found.value === (loginSettings.values.get(name) ?? '')) {
        if (client.loginSettings.values.has(name) && (asked.resetsAll || resetBy(asked.uses, name))) {
          asReset(name, undefined);
          continue;
        }
      }
      // What another client has set and weir has reset is an empty text, not nothing.
      if (found.value === '' && name.includes('.') && !own.has(name) && !namedBy(asked.uses, name)) continue;
      onServer.set(name, found.value);
      own.set(name, found.value);
      if (found.restricted && !server.loginSuperuser) this.#pin('setting', 'lasting');
    }
    if (findings.allSettings) {
      for (const name of new Set([...onServer.keys(), ...own.keys()])) {
        if (findings.settings.has(name) || name === 'role' || name === 'session_authorization') continue;
        if (isReset(name, loginSettings.values.get(name))) asReset(name, undefined);
      }
    } else {
      for (const name of asked.settings) if (!findings.settings.has(name)) asReset(name, undefined);
    }
    const { role } = findings;
    if (role !== undefined) {
      const authorization = role.authorization === server.loginAuthorization ? undefined : role.authorization;
      // RESET goes back to the role the session began with, SET ROLE NONE to none.
      const begun = client.loginSettings.get('role');
      const none = begun === undefined ? undefined : 'none';
      const acting = role.role === 'none' && !role.explicit ? undefined : role.role;
      const before = server.settings.values;
      // Nothing has touched it: what the client is to have may not be what its server has.
      const same = before.get('role') === acting && before.get('session_authorization') === authorization;
      put(onServer, 'session_authorization', authorization);
      put(onServer, 'role', acting);
      if (asked.actsAs || !same) {
        put(own, 'session_authorization', authorization ?? client.loginSettings.get('session_authorization'));
        const wentBack = (asked.effects & Effect.ResetsRole) !== 0 && acting === loginSettings.get('role');
        put(own, 'role', wentBack ? begun : (acting ?? none));
      }
    }
    if (bytesOf(own) > settingsBytesMax) {
      // More than is carried about: the server that has it is kept.
      this.#pin('setting', 'lasting');
      this.effects |= Effect.Unseen;
      return;
    }
    server.settings = changed(server.settings, onServer);
    const next = changed(client.settings, own);
    server.tellReported(client, next);
    client.settings = next.equals(server.settings) ? server.settings : next;
    if (next.unportable !== undefined) this.#pin('setting', 'lasting');
  }

  #carryStatements(findings: Findings, asked: Asked, client: ClientChannel): void {
    if ((asked.effects & Effect.Statements) === 0) return;
    if (findings.allStatements) this.namesUnsettled = false;
    const { statements } = this.#server;
    const own = findings.ownStatements;
    if (own !== undefined && own > statements.size) {
      // A DISCARD ALL or the like was sent and did not run, or something unknown: they are closed before they are prepared.
      this.#server.statementsForgotten();
      this.effects |= Effect.Unseen;
    } else if (own !== undefined && own < statements.certain) {
      // Something unknown has run DEALLOCATE: which are left, and whose, is not known. The client keeps what it prepared.
      this.#server.statementsForgotten();
      for (const name of this.#ownNames.keys()) this.#ownNames.set(name, undefined);
      this.unsettled.clear();
      this.effects |= Effect.Unseen;
      return;
    }
    if (findings.allStatements) {
      for (const [name, placed] of this.#ownNames) {
        // Of those that this lease has named more is known.
        if (findings.statements.has(name) || asked.statements.has(name)) continue;
        this.#ownNames.delete(name);
        if (placed !== undefined && client.statements.get(name) === placed.statement) client.statements.drop(name);
      }
    }
    const names = new Set([...asked.statements, ...findings.statements.keys()]);
    for (const name of names) {
      // Used again by what was sent behind the look: the next one tells.
      if (namesStatement(this.#uses, name)) continue;
      this.unsettled.delete(name);
      const found = findings.statements.get(name);
      if (found === undefined) {
        // Only what was there can have been taken away: a batch that failed has not even put it there.
        if (this.#ownNames.get(name) !== undefined) client.statements.drop(name);
        this.#ownNames.delete(name);
        continue;
      }
      this.#carryStatement(name, found, asked, client);
    }
  }

  #carryStatement(name: string, found: FoundStatement, asked: Asked, client: ClientChannel): void {
    const text = found.fromSql
      ? client.preparedBody(found.text, name, asked.failed)
      : Buffer.from(found.text, 'latin1');
    const onServer = this.#ownNames.get(name)?.statement;
    const anew = asked.statements.has(name) && preparesStatement(asked.uses, name);
    if (text !== undefined && onServer !== undefined && !anew && isSame(onServer, text, found)) return;
    // The batch that was to close it was skipped, and with it what would have prepared it anew: it is what another one has left.
    if (onServer === undefined && this.#ownNames.has(name)) return;
    const kept =
      text === undefined
        ? undefined
        : client.keepStatement(
            name,
            text,
            found.typeOids,
            anew ? 'anew' : 'as it is',
            (asked.effects & Effect.Sets) !== 0,
          );
    if (kept === undefined) {
      this.#ownNames.set(name, undefined);
      if (asked.compare) return;
      // Its server has it, and nobody else can: it is used there as it is.
      this.unsettled.add(name);
      this.#pin('statement', 'lasting');
      this.effects |= Effect.Unseen;
      return;
    }
    const placed = new Placed(name, kept, this.#server.statements.tick());
    this.#ownNames.set(name, placed);
    // What it returns, SQL does not show; another server will have to be asked whether it is still the same.
    this.#server.describeOwnName(placed, (known) => {
      if (!known) kept.version ??= kept.text.version(kept.types, 'changed');
      this.#finished();
    });
  }

  #carryChannels(findings: Findings, asked: Asked, client: ClientChannel): void {
    if ((asked.effects & (Effect.Listens | Effect.Unlistens)) === 0) return;
    const { prefix } = this.#server.statements;
    const marks = this.#marked.splice(0).map((channel, index) => ({ channel, mark: `${prefix}${index}` }));
    const unlistened = marks.flatMap(({ channel, mark }) => (findings.channels.includes(mark) ? [channel] : []));
    const own = findings.channels.filter((channel) => !channel.startsWith(prefix));
    // What a statement nobody could read has begun to listen on this server alone hears: it is kept, and tells its client.
    const kept = client.onChannels(own, [...unlistened, ...asked.unlistened]);
    if (kept.length > 0) this.keepListening();
    else this.#unpin('listen');
    const left = findings.channels.filter((channel) => !kept.includes(channel));
    if (left.length === 0) return;
    const unlisten = kept.length === 0 ? 'UNLISTEN *' : left.map(unlistenFrom).join(';');
    this.#server.ask(queryMessage(unlisten), () => this.#finished());
  }

  /** What the server has and weir did not expect is counted; what follows puts it right. */
  #compare(findings: Findings, asked: Asked): void {
    const server = this.#server;
    const { leaks } = server.traffic.ladder;
    const differ = (cause: HazardName, what: string): void => {
      leaks[cause]++;
      server.onLeak(cause, what);
    };
    for (const [name, found] of findings.settings) {
      const believed = server.settings.values.get(name);
      if (name === 'statement_timeout' && this.#attempts > 0) continue;
      if (believed === undefined && (found.source === 'reset' || name.includes('.'))) continue;
      if (believed !== found.value && !(believed === undefined && found.value === '')) differ('setting', name);
    }
    for (const name of server.settings.values.keys()) {
      if (name.includes('.') || findings.settings.has(name) || server.loginSettings.values.has(name)) continue;
      if (name !== 'role' && name !== 'session_authorization') differ('setting', name);
    }
    const { role } = findings;
    if (role !== undefined) {
      const believed = server.settings.values.get('role') ?? 'none';
      if (role.role !== believed && !role.explicit) differ('role', role.role);
      const authorization = server.settings.values.get('session_authorization') ?? server.loginAuthorization;
      if (role.authorization !== authorization) differ('role', role.authorization);
    }
    for (const name of findings.statements.keys()) if (!this.#ownNames.has(name)) differ('statement', name);
    for (const [name, placed] of this.#ownNames) {
      const expected = placed !== undefined && !asked.statements.has(name);
      if (expected && !findings.statements.has(name)) differ('statement', name);
    }
    if (findings.temp) differ('temp', 'a temporary object');
    if (findings.cursors) differ('cursor', 'a cursor');
    if (findings.locks > 0) differ('advisory_lock', 'an advisory lock');
    for (const channel of findings.channels) differ('listen', channel);
  }

  // When nobody has the server

  /** The client is gone, or has given the server back. */
  end(): void {
    if (this.#asked !== undefined || (this.effects & (lookedFor | Effect.Unlistens)) !== 0)
      this.effects |= Effect.Unseen;
    if ((this.effects & Effect.Indelible) !== 0) this.#indelible = true;
    if (this.pins.size > 0) this.#residue |= Effect.Ends;
    this.pins.clear();
    this.#lasting.clear();
    this.#keepsSequences = false;
    this.unsettled.clear();
    this.namesUnsettled = false;
    this.#asked = undefined;
    this.#returning = false;
    this.forgetResets();
    this.#uses = [];
    this.#failed = false;
    this.#takeUnlistens();
    this.#marked.length = 0;
    this.effects &= Effect.Unseen;
  }

  /** What has to be done before the server is put by. The rest waits for the next lease. */
  plan(): ResetPlan {
    if (this.#indelible) return 'destroy';
    if ((this.effects & Effect.Unseen) !== 0) return 'discard_all';
    if ((this.#residue & Effect.Ends) !== 0) return 'smart';
    const { values } = this.#server.settings;
    for (const name of troublesome) if (values.has(name)) return 'troublesome';
    return this.#lost ? 'restore' : 'nothing';
  }

  /** Puts back what must not be in force between two clients. */
  troublesomeReset(): { readonly query: string; readonly after: Settings } {
    const values = new Map(this.#server.settings.values);
    const names = troublesome.filter((name) => values.delete(name));
    return { query: names.map((name) => `RESET ${name}`).join(';'), after: new Settings(values) };
  }

  /** DISCARD ALL has taken what connect_query had left beside settings. */
  lost(): void {
    if (this.#server.hasMore && this.#server.restoreQuery !== undefined) this.#lost = true;
  }

  /** connect_query has run again. */
  restored(): void {
    this.#lost = false;
  }

  /** The server was reset. */
  reset(): void {
    this.effects = Effect.None;
    this.#residue = Effect.None;
    this.#owner = 0;
    this.#server.sequences.begun();
  }
}

function put(values: Map<string, string>, name: string, value: string | undefined): void {
  if (value === undefined) values.delete(name);
  else values.set(name, value);
}

function bytesOf(values: ReadonlyMap<string, string>): number {
  let bytes = 0;
  for (const [name, value] of values) bytes += name.length + value.length;
  return bytes;
}

function changed(before: Settings, values: ReadonlyMap<string, string>): Settings {
  const after = new Settings(values);
  return after.equals(before) ? before : after;
}

function resetBy(uses: readonly Footprint[], name: string, how: number = Effect.ResetSettings): boolean {
  return uses.some((use) => (use.effects & how) !== 0 && use.settings.includes(name));
}

function namedBy(uses: readonly Footprint[], name: string): boolean {
  return uses.some((use) => use.settings.includes(name));
}

function namesStatement(uses: readonly Footprint[], name: string): boolean {
  return uses.some((use) =>
    use.statements.some((statement) => statement.name === name && statement.kind !== 'execute'),
  );
}

/** Whether one of them has prepared it, or may have. */
function preparesStatement(uses: readonly Footprint[], name: string): boolean {
  return uses.some((use) =>
    use.statements.some((statement) => statement.name === name && statement.kind === 'prepare'),
  );
}

/** Whether the statement is the one found; types that a Parse left open may have been filled in. */
function isSame(statement: Statement, text: Buffer, found: FoundStatement): boolean {
  const { body } = statement;
  if (body[text.length] !== 0 || body.compare(text, 0, text.length, 0, text.length) !== 0) return false;
  return !found.fromSql || body.equals(statementBody(text, found.typeOids));
}
