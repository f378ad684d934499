// Reads the text of an auth_file: one `"user" "password"` pair a line, and tells what kind each password is.

import { Secret } from '../util/index.js';
import type { Config } from './config.js';
import { type Problem, problemAt } from './problems.js';
import { problemsMax } from './raw.js';

/** `md5` and `scram-sha-256` are PostgreSQL's stored forms, of which the secret is the whole text. */
export interface StoredPassword {
  readonly kind: 'plain' | 'md5' | 'scram-sha-256';
  readonly secret: Secret;
}

export type UserList = ReadonlyMap<string, StoredPassword>;

export type UserListResult =
  | { readonly ok: true; readonly users: UserList }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export const userListBytesMax = 64 * 1024 * 1024;
export const userListEntriesMax = 500_000;
export const userNameBytesMax = 127;
export const storedPasswordBytesMax = 2047;

const md5Form = /^md5[0-9a-f]{32}$/i;
const scramForm = /^SCRAM-SHA-256\$[1-9]\d{0,9}:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/;

export function classifyPassword(stored: string): StoredPassword {
  const kind = md5Form.test(stored) ? 'md5' : scramForm.test(stored) ? 'scram-sha-256' : 'plain';
  return { kind, secret: new Secret(stored) };
}

/** What follows the two fields on a line is ignored; `""` stands for a quote; of two lines for one user the last wins. */
export function parseUserList(source: string, file: string | null = null): UserListResult {
  const users = new Map<string, StoredPassword>();
  const problems: Problem[] = [];
  let line = 0;
  for (const written of source.split('\n')) {
    line++;
    const text = written.trim();
    if (text === '' || text.startsWith(';') || text.startsWith('#')) continue;
    const message = addLine(users, text);
    // Never the line itself: it holds a password.
    if (message !== null) problems.push(problemAt({ file, line }, '', message));
    if (problems.length >= problemsMax) break;
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, users };
}

const lineForm = /^"([^"]*(?:""[^"]*)*)"\s+"([^"]*(?:""[^"]*)*)"/;

/** null when the line is good. */
function addLine(users: Map<string, StoredPassword>, text: string): string | null {
  const match = lineForm.exec(text);
  if (match === null) return 'expected "user" "password", both in double quotes';
  const user = match[1]!.replaceAll('""', '"');
  const password = match[2]!.replaceAll('""', '"');
  if (user === '') return 'the user name is empty';
  if (user.includes('\0') || password.includes('\0')) return 'contains a zero byte';
  if (Buffer.byteLength(user) > userNameBytesMax) return `user name longer than ${userNameBytesMax} bytes`;
  if (Buffer.byteLength(password) > storedPasswordBytesMax)
    return `password longer than ${storedPasswordBytesMax} bytes`;
  if (users.size >= userListEntriesMax && !users.has(user)) return `more than ${userListEntriesMax} users`;
  users.set(user, classifyPassword(password));
  return null;
}

/** The passwords of `[users.NAME]` entries laid over those of the auth_file. */
export function storedPasswords(config: Config, fromFile: UserList): UserList {
  const all = new Map(fromFile);
  for (const user of config.users.values()) {
    if (user.password !== undefined) all.set(user.name, classifyPassword(user.password.reveal()));
  }
  return all;
}
