// What a statement may leave behind in the session that runs it, decided once per shape and collected while a lease lasts.

import type { DatabaseUse, StatementFacts } from '../sql/index.js';
import type { ReadShape } from './read-shape.js';

/** What outlives a transaction, by the names used in configuration, console and metrics. */
export const hazardNames = [
  'setting',
  'role',
  'statement',
  'listen',
  'cursor',
  'temp',
  'advisory_lock',
  'sequence',
  'load',
  'unknown',
] as const;
export type HazardName = (typeof hazardNames)[number];

/** How a hazard is treated: on the best rung weir has, by keeping the server, or not at all. */
export type HazardPolicy = 'auto' | 'pin' | 'refuse';

/** Bits; a lease collects those of every statement it ran. */
export const Effect = {
  None: 0,
  /** Something weir cannot name: what is left is found by a full look at the session. */
  Unknown: 1 << 0,
  /** Something in the server's process that no statement removes: a library, a random seed, a connection of its own. */
  Indelible: 1 << 1,
  /** The settings that the footprint names. */
  Settings: 1 << 2,
  /** Some of them went back to the value of the login. */
  ResetSettings: 1 << 3,
  AllSettings: 1 << 4,
  /** The current role or the session's user. */
  Role: 1 << 5,
  /** The prepared statements that the footprint names. */
  Statements: 1 << 6,
  Temp: 1 << 7,
  Cursors: 1 << 8,
  Locks: 1 << 9,
  Listens: 1 << 10,
  Unlistens: 1 << 11,
  /** May have called nextval, by itself or by a column's default. */
  Sequences: 1 << 12,
  /** Asks for what nextval answered in this session. */
  ReadsSequences: 1 << 13,
  ForgetsSequences: 1 << 14,
  /** May have removed what keeps a server with its client. */
  Ends: 1 << 15,
  /** Changes how the text of the statements behind it is read. */
  Lexical: 1 << 16,
  /** Shows the session's prepared statements. */
  ShowsStatements: 1 << 17,
  /** Shows the channels the session listens on. */
  ShowsChannels: 1 << 18,
  Commits: 1 << 19,
  /** Names may be other things than they seem: neither the facts nor an answer to a look can be relied on. */
  Distrusted: 1 << 20,
  /** Nobody looked: DISCARD ALL before anybody else has the server. */
  Unseen: 1 << 21,
  /** Its text holds code that runs now or later: the settings named there are looked for. */
  HoldsCode: 1 << 22,
  /** May use statements by name that its facts do not tell. */
  NamesStatements: 1 << 23,
  /** Takes all prepared statements with it. */
  ForgetsStatements: 1 << 24,
  /** RESET ROLE: back to the one the session began with. */
  ResetsRole: 1 << 25,
  /** Some of the settings went back to the value of the login until the transaction ends. */
  LocalResets: 1 << 26,
  /** May give views, or code that runs when they are read, to the relations that its text names. */
  ChangesRelations: 1 << 27,
  /** Along with what it leaves behind it may begin or end a transaction. */
  Transacts: 1 << 28,
  /** Refused inside of a transaction. */
  OutsideOnly: 1 << 29,
  /** May change a setting, a reported one too, if only until the transaction ends: what is parsed behind it is read by that. */
  Sets: 1 << 30,
} as const;

/** What a statement may do to what its session remembers of sequences, as far as its text tells; the worst is the highest. */
export const SequenceUse = {
  /** Neither takes a value nor reads one, whatever there is in the database. */
  None: 0,
  /** Only reads: nothing, where all it reads are plain tables. */
  Tables: 1,
  /** Only reads, of what may be a view or the like. */
  Views: 2,
  /** May do so by a default, a trigger, a rule, a view, a function... */
  Hidden: 3,
  /** Names nextval or setval. */
  Named: 4,
} as const;
export type SequenceUse = (typeof SequenceUse)[keyof typeof SequenceUse];

/** Whether a statement may notify, as far as its text tells. */
export const Notifies = {
  Never: 0,
  /** By a trigger, a function, or whatever nobody could read. */
  Hidden: 1,
  /** Its text says NOTIFY or pg_notify. */
  Named: 2,
} as const;
export type Notifies = (typeof Notifies)[keyof typeof Notifies];

/** How SQL names a prepared statement. The name as the protocol would have it: bytes as a latin1 string. */
export interface StatementUse {
  readonly kind: 'prepare' | 'execute' | 'deallocate';
  readonly name: string;
}

/** A statement that begins or ends a transaction and does nothing else, by what PostgreSQL says when it has. */
export type TransactionTag = 'BEGIN' | 'START TRANSACTION' | 'COMMIT' | 'ROLLBACK';

/** `channel` null is all of them. */
export interface ChannelUse {
  readonly kind: 'listen' | 'unlisten';
  readonly channel: string | null;
}

export interface Footprint {
  /** Bits of `Effect`. */
  readonly effects: number;
  /** Lower-case names of settings whose value must be read back. */
  readonly settings: readonly string[];
  /** Parameters of the statement whose values are such names: `set_config($1, ...)`. */
  readonly settingParameters: readonly number[];
  readonly statements: readonly StatementUse[];
  readonly channels: readonly ChannelUse[];
  /** Those it needs for itself, or names anew. */
  readonly databases: readonly DatabaseUse[];
  readonly hazards: readonly HazardName[];
  /** Those for which the configuration keeps the server with its client. */
  readonly pins: readonly HazardName[];
  /** The one that the configuration forbids. */
  readonly refused: HazardName | undefined;
  /** The statement without its literals, where it is known. */
  readonly example: Buffer | undefined;
  /** Functions it calls by names of PostgreSQL's own, without a schema: in some database they may be others. */
  readonly calls: readonly string[];
  /** Set where it is all the text says. */
  readonly transaction: TransactionTag | undefined;
  /** What is known of a read that may share a server with others'. */
  readonly read: ReadShape | undefined;
  /** Whether it calls functions by which PostgreSQL signals a backend. */
  readonly signals: boolean;
  readonly sequenceUse: SequenceUse;
  readonly notifies: Notifies;
  /** Relations it reads, without their schemas, where that is all it may do to sequences. */
  readonly tables: readonly string[];
  /** Whether it is one SELECT, INSERT, UPDATE, DELETE or MERGE: another one may run before it in the same batch. */
  readonly joinsBatch: boolean;
  /** What its parse says; undefined where nobody has looked. */
  readonly facts: StatementFacts | undefined;
  /** Whether it names things one by one, so that it has to be kept until the lease is looked at. */
  readonly detailed: boolean;
  /** Whether it leaves nothing behind and the configuration says nothing about it. */
  readonly isInert: boolean;
}

/** Makes a footprint; what is not given is empty. */
export function footprint(given: Partial<Omit<Footprint, 'detailed' | 'isInert'>>): Footprint {
  const full = {
    effects: Effect.None,
    settings: [],
    settingParameters: [],
    statements: [],
    channels: [],
    databases: [],
    hazards: [],
    pins: [],
    refused: undefined,
    example: undefined,
    calls: [],
    transaction: undefined,
    read: undefined,
    signals: false,
    sequenceUse: SequenceUse.None,
    notifies: Notifies.Never,
    tables: [],
    joinsBatch: false,
    facts: undefined,
    ...given,
  };
  const { settings, settingParameters, statements, channels, pins } = full;
  const names = settings.length + settingParameters.length + statements.length + channels.length + pins.length;
  const isInert = names + full.databases.length === 0 && full.effects === Effect.None && full.hazards.length === 0;
  return { ...full, detailed: names > 0, isInert };
}

/** Leaves nothing behind. */
export const inert: Footprint = footprint({});
/** A statement nothing is known of. */
export const opaque: Footprint = footprint({
  effects: Effect.Unknown | Effect.Sequences | Effect.HoldsCode,
  sequenceUse: SequenceUse.Hidden,
  notifies: Notifies.Hidden,
  hazards: ['unknown'],
});
/** One of a client whose statements are not looked at. */
export const unseen: Footprint = footprint({ effects: Effect.Unseen, notifies: Notifies.Hidden });

const widened = new WeakMap<Footprint, Map<number, Footprint>>();

/** The same footprint with further effects; one object for each, since a lease tells footprints apart by identity. */
export function withEffects(left: Footprint, effects: number): Footprint {
  let known = widened.get(left);
  if (known === undefined) {
    known = new Map();
    widened.set(left, known);
  }
  let wider = known.get(effects);
  if (wider === undefined) {
    wider = footprint({ ...left, effects: left.effects | effects });
    known.set(effects, wider);
  }
  return wider;
}
