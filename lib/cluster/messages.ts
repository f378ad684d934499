// What the primary and its workers say to each other.

import type { AnyRow } from '../admin/index.js';
import type { HazardReport, MetricReadings, ReadinessPart } from '../http/index.js';
import type { FullLimit, PlaceLimits, PlaceNeed, PlaceUse } from '../pool/index.js';
import type { ClientLimits, Grant, GrantOrder, Revocation, ShutdownMode, VacancyOrder } from '../pooler/index.js';
import type { Address } from '../server/index.js';
import type { SentError } from './link.js';

/** A pool of a worker. */
export interface PoolName {
  /** Given by the worker. */
  readonly id: number;
  readonly database: string;
  readonly user: string;
  readonly use: PlaceUse;
}

/** A command of the console. */
export type Command =
  | { readonly kind: 'control'; readonly command: string; readonly argument: string | undefined }
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | { readonly kind: 'grant'; readonly grant: Grant }
  | { readonly kind: 'revoke'; readonly revocation: Revocation };

/** How a worker begins. */
export interface Beginning {
  readonly index: number;
  readonly count: number;
  /** In hexadecimal. */
  readonly secretKey: string;
  /** The TCP port all listen on. */
  readonly port: number;
  /** Whether the primary answers HTTP, also where the configuration has been edited since. */
  readonly http: boolean;
  /** How often the configuration has been reloaded. */
  readonly reloads: number;
}

/** What is in force when a worker begins to obey commands. */
export interface InForce {
  readonly commands: readonly Command[];
  readonly reloads: number;
}

export type WorkerNotice =
  | { readonly kind: 'want'; readonly pool: PoolName; readonly limits: PlaceLimits; readonly need: PlaceNeed }
  | { readonly kind: 'withdraw'; readonly pool: number }
  | { readonly kind: 'gone'; readonly pool: number }
  | { readonly kind: 'dismiss'; readonly database: string; readonly user: string; readonly count: number }
  | LoginNotice
  | AlterNotice
  | VacancyEnd
  | { readonly kind: 'ready'; readonly listening: readonly string[] }
  | ListensNotice
  | { readonly kind: 'failed'; readonly error: SentError };

/** Where servers listen for clients: those of the worker, or of all others. */
interface ListensNotice {
  readonly kind: 'listens';
  readonly databases: readonly string[];
}

/** The statement that the order was for has been answered: it may have dropped the database. */
interface VacancyEnd {
  readonly kind: 'end-vacancy';
  readonly order: VacancyOrder;
  readonly dropped: boolean;
}

/** A client has altered the settings of roles or databases. */
interface AlterNotice {
  readonly kind: 'settings-altered';
}

export interface LoginNotice {
  readonly kind: 'login-failed' | 'login-succeeded';
  readonly place: string;
  readonly user: string;
}

export type PrimaryNotice =
  | { readonly kind: 'granted'; readonly pool: number }
  | { readonly kind: 'refused'; readonly pool: number; readonly full: FullLimit }
  | { readonly kind: 'wanted'; readonly pool: number; readonly urgently: boolean }
  | { readonly kind: 'kept'; readonly pool: number }
  | LoginNotice
  | AlterNotice
  | VacancyEnd
  | ListensNotice
  | { readonly kind: 'shutdown'; readonly mode: ShutdownMode }
  | { readonly kind: 'reopen-log' };

interface VacancyQuestion {
  readonly kind: 'vacate';
  readonly order: VacancyOrder;
}

/** Asks for the clients that have notified, by the processes of their servers, where the server at `place` is. */
interface SendersQuestion {
  readonly kind: 'senders';
  readonly place: string;
  readonly pids: readonly number[];
}

/** Answered when servers that listen in the database have told what has been committed. */
interface CatchUpQuestion {
  readonly kind: 'catch-up';
  readonly database: string;
}

/** For the places that are kept though their clients have left. */
export interface RecallQuestion {
  readonly kind: 'recall';
}

interface CancelQuestion {
  readonly kind: 'cancel';
  readonly pid: number;
  /** In hexadecimal. */
  readonly secret: string;
}

/** Asks for a backend that stands in for the client of this pid, where the server at `address` is. */
interface StandInQuestion {
  readonly kind: 'stand-in';
  readonly pid: number;
  readonly address: Address;
}

/** About one that was lent for the client of this pid: whether what was asked of it is done, answered when it is; or it is given back. */
interface LentStandInQuestion {
  readonly kind: 'stand-in-acted' | 'stand-in-release';
  readonly pid: number;
  readonly id: number;
}

interface RowsQuestion {
  readonly kind: 'rows';
  readonly command: string;
}

export interface AdmitQuestion {
  readonly kind: 'admit';
  readonly database: string;
  readonly user: string;
  readonly limits: ClientLimits;
}

export type WorkerQuestion =
  | { readonly kind: 'begin' | 'in-force' }
  | AdmitQuestion
  | CancelQuestion
  | VacancyQuestion
  | SendersQuestion
  | CatchUpQuestion
  | StandInQuestion
  | LentStandInQuestion
  | RowsQuestion
  | Command;

export type PrimaryQuestion =
  | CancelQuestion
  | VacancyQuestion
  | SendersQuestion
  | CatchUpQuestion
  | StandInQuestion
  | LentStandInQuestion
  | RowsQuestion
  | Command
  | { readonly kind: 'order'; readonly order: GrantOrder }
  | { readonly kind: 'metrics' | 'readiness' | 'hazards' | 'grants' }
  | RecallQuestion;

/** By the kind of the question. What is undefined would not be sent. */
export interface Answers {
  readonly begin: Beginning;
  readonly 'in-force': InForce;
  readonly admit: null;
  readonly recall: null;
  readonly cancel: null;
  readonly vacate: null;
  readonly senders: readonly (number | null)[];
  readonly 'catch-up': null;
  readonly 'stand-in': { readonly id: number; readonly pid: number } | null;
  readonly 'stand-in-acted': null;
  readonly 'stand-in-release': null;
  readonly rows: readonly AnyRow[];
  readonly control: string | null;
  readonly set: string;
  readonly grant: null;
  readonly revoke: null;
  readonly order: Grant;
  readonly grants: readonly Grant[];
  readonly metrics: readonly MetricReadings[];
  readonly readiness: ReadinessPart;
  readonly hazards: HazardReport;
}
