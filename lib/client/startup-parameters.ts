// Reads the parameters of a startup packet: who, where, and which settings the session begins with.

import { isStartupSetting } from '../session/index.js';
import { PoolerError } from '../util/index.js';

export interface StartupRequest {
  readonly user: string;
  readonly database: string;
  /** As asked for: `database` is logical, other words that are no `off` physical; undefined: none. */
  readonly replication: string | undefined;
  /** Settings by lower-case name, latin1 values as sent. */
  readonly settings: ReadonlyMap<string, string>;
  /** `_pq_.` options, none of which weir knows. */
  readonly protocolOptions: readonly string[];
}

/** Users and databases are names of PostgreSQL: at most NAMEDATALEN - 1 bytes reach its catalogs, PgBouncer takes 127. */
const nameBytesMax = 127;
/** Settings one client may begin with. */
const settingsMax = 100;

const notSettings = new Set(['user', 'database', 'options', 'replication']);

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

/** @returns PoolerError when the packet asks for what cannot be had */
export function readStartup(
  parameters: ReadonlyMap<string, string>,
  ignored: readonly string[],
): StartupRequest | PoolerError {
  const user = utf8(parameters.get('user') ?? '');
  if (user === '') return refusal('no username supplied', '28000', 'Give a user in the connection string.');
  if (Buffer.byteLength(user) > nameBytesMax)
    return refusal('username too long', '28000', `At most ${nameBytesMax} bytes.`);
  const database = utf8(parameters.get('database') ?? '') || user;
  if (Buffer.byteLength(database) > nameBytesMax)
    return refusal('a database is required', '3D000', `At most ${nameBytesMax} bytes.`);

  const settings = new Map<string, string>();
  const protocolOptions: string[] = [];
  const skipped = new Set(ignored.map((name) => name.toLowerCase()));
  for (const [name, value] of parameters) {
    const lower = name.toLowerCase();
    if (notSettings.has(lower) || skipped.has(lower)) continue;
    if (name.startsWith('_pq_.')) {
      protocolOptions.push(name);
      continue;
    }
    if (!isStartupSetting(name))
      return refusal(
        `unsupported startup parameter: ${utf8(name)}`,
        '08P01',
        'It is not the name of a setting a session can begin with.',
      );
    settings.set(lower, value);
  }
  const options = parameters.get('options');
  if (options !== undefined && !skipped.has('options')) {
    const problem = readOptions(options, skipped, settings);
    if (problem !== undefined) return problem;
  }
  if (settings.size > settingsMax) {
    return refusal('too many startup parameters', '54000', `A client may begin with ${settingsMax} settings.`);
  }
  const asked = parameters.get('replication') ?? 'off';
  const replication = /^(false|off|no|0)$/i.test(asked) ? undefined : asked;
  return { user, database, replication, settings, protocolOptions };
}

/** The words of `options`, as PostgreSQL splits them: a backslash takes the next character as it is, and is nothing itself. */
function splitOptions(options: string): string[] {
  const words: string[] = [];
  let word = '';
  let inWord = false;
  for (let i = 0; i < options.length; i++) {
    const char = options[i] as string;
    if (/\s/.test(char)) {
      if (inWord) words.push(word);
      word = '';
      inWord = false;
      continue;
    }
    inWord = true;
    word += char === '\\' ? (options[++i] ?? '') : char;
  }
  if (inWord) words.push(word);
  return words;
}

function readOptions(
  options: string,
  skipped: ReadonlySet<string>,
  settings: Map<string, string>,
): PoolerError | undefined {
  const words = splitOptions(options);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    let assignment: string | undefined;
    if (word === '-c') assignment = words[++i];
    else if (word.startsWith('-c')) assignment = word.slice(2);
    else if (word.startsWith('--')) assignment = word.slice(2);
    const equals = assignment?.indexOf('=') ?? -1;
    if (assignment === undefined || equals <= 0) {
      return refusal(
        "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
        '08P01',
        'Write every setting as -c name=value.',
      );
    }
    // In the long form PostgreSQL reads dashes as underscores.
    const name = assignment.slice(0, equals).replaceAll('-', '_').toLowerCase();
    if (skipped.has(name)) continue;
    if (!isStartupSetting(name)) {
      return refusal(
        `unsupported startup parameter in options: ${utf8(name)}`,
        '08P01',
        'It is not the name of a setting a session can begin with.',
      );
    }
    settings.set(name, assignment.slice(equals + 1));
  }
  return undefined;
}

function refusal(message: string, sqlstate: string, hint: string): PoolerError {
  return new PoolerError(message, { sqlstate, hint });
}

const printableAscii = /^[\x20-\x7e]*$/;

/** Whether PostgreSQL takes the value as it is written: then no server has to be asked. */
export function isCanonical(name: string, value: string): boolean {
  return name === 'application_name' ? printableAscii.test(value) : name === 'client_encoding' && value === 'UTF8';
}
