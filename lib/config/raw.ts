// What both readers hand over: sections of undecoded entries, each with the place it came from.

import type { Place, Problem } from './problems.js';
import type { RawPolicy } from './raw-policy.js';
import type { Dialect } from './schema.js';

export interface RawEntry {
  readonly value: unknown;
  readonly place: Place;
  /** The value as the file has it, before `${ENV}`: this is what a problem shows. */
  readonly written: unknown;
}

export interface RawSection {
  readonly place: Place;
  readonly entries: ReadonlyMap<string, RawEntry>;
}

export interface RawConfig {
  readonly file: string;
  readonly dialect: Dialect;
  readonly weir: RawSection;
  readonly databases: ReadonlyMap<string, RawSection>;
  readonly users: ReadonlyMap<string, RawSection>;
  /** null where the file has none; an ini file cannot have one. */
  readonly policy: RawPolicy | null;
}

export interface Reading {
  readonly raw: RawConfig;
  readonly problems: readonly Problem[];
}

/** Size of one file; a configuration of 10,000 databases has about 1 MB. */
export const fileBytesMax = 16 * 1024 * 1024;
export const databasesMax = 100_000;
export const usersMax = 100_000;
export const includeDepthMax = 10;
export const includedFilesMax = 1000;
/** Problems and warnings listed for one file. */
export const problemsMax = 100;
