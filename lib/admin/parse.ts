// Reads the text of one console command: a word and an argument, SET with a key and a value, or GRANT and REVOKE.

/** Bytes of one command; the longest sensible one is a SET of an auth_query. */
export const commandBytesMax = 16_384;
/** Bytes of a name of a database or of a setting. */
export const nameBytesMax = 127;

export type Parsed =
  | { readonly kind: 'empty' }
  /** `word` is lower case. */
  | { readonly kind: 'command'; readonly word: string; readonly argument: string | undefined }
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | {
      readonly kind: 'grant';
      readonly role: string;
      readonly user: string;
      readonly duration: string;
      readonly reason: string;
    }
  | { readonly kind: 'revoke'; readonly role: string; readonly user: string }
  /** Something stands behind a semicolon: PgBouncer takes one command a message. */
  | { readonly kind: 'several' }
  /** Not a command. */
  | { readonly kind: 'invalid' }
  /** A command, but with a name that is empty or too long. */
  | { readonly kind: 'bad-arguments' };

interface Token {
  readonly kind: 'bare' | 'quoted' | 'equals' | 'semicolon';
  readonly text: string;
}

/** Each alternative begins with another character, so nothing is tried twice. */
const tokenPattern = /[ \t\r\n\f\v]*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^\s;'"=]+)|(=)|(;))/y;

/** @returns undefined when a quote is not closed */
function tokens(text: string): Token[] | undefined {
  const found: Token[] = [];
  const trimmed = text.trimEnd();
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < trimmed.length) {
    const match = tokenPattern.exec(trimmed);
    if (match === null) return undefined;
    const [, identifier, string, bare, equals] = match;
    if (identifier !== undefined) found.push({ kind: 'quoted', text: identifier.replaceAll('""', '"') });
    else if (string !== undefined) found.push({ kind: 'quoted', text: string.replaceAll("''", "'") });
    else if (bare !== undefined) found.push({ kind: 'bare', text: bare });
    else found.push({ kind: equals === undefined ? 'semicolon' : 'equals', text: '' });
  }
  return found;
}

export function parseCommand(text: string): Parsed {
  const all = tokens(text);
  if (all === undefined) return { kind: 'invalid' };
  const end = all.findIndex((token) => token.kind === 'semicolon');
  const statement = end < 0 ? all : all.slice(0, end);
  if (end >= 0 && all.slice(end).some((token) => token.kind !== 'semicolon')) return { kind: 'several' };
  const [first, second] = statement;
  if (first === undefined) return { kind: 'empty' };
  if (first.kind !== 'bare') return { kind: 'invalid' };
  const word = first.text.toLowerCase();
  if (word === 'set') return parseSet(statement);
  if (word === 'grant') return parseGrant(statement);
  if (word === 'revoke') return parseRevoke(statement);
  if (statement.length > 2 || second?.kind === 'equals') return { kind: 'invalid' };
  if (second !== undefined && !isName(second.text)) return { kind: 'bad-arguments' };
  return { kind: 'command', word, argument: second?.text };
}

function parseSet(statement: readonly Token[]): Parsed {
  const [, key, by, value] = statement;
  if (key === undefined || by === undefined || value === undefined || statement.length > 4) return { kind: 'invalid' };
  if (key.kind === 'equals' || value.kind === 'equals') return { kind: 'invalid' };
  const assigns = by.kind === 'equals' || (by.kind === 'bare' && by.text.toLowerCase() === 'to');
  if (!assigns) return { kind: 'invalid' };
  return isName(key.text) ? { kind: 'set', key: key.text.toLowerCase(), value: value.text } : { kind: 'bad-arguments' };
}

/** What stands between the words of each form. */
const grantForm = ['grant', 'access', null, 'to', null, 'for', null, 'reason', null];
const revokeForm = ['revoke', 'access', null, 'from', null];

function parseGrant(statement: readonly Token[]): Parsed {
  const [role, user, duration, reason] = filledIn(grantForm, statement) ?? [];
  if (role === undefined || user === undefined || duration === undefined || reason === undefined) {
    return { kind: 'invalid' };
  }
  return isName(role) && isName(user) ? { kind: 'grant', role, user, duration, reason } : { kind: 'bad-arguments' };
}

function parseRevoke(statement: readonly Token[]): Parsed {
  const [role, user] = filledIn(revokeForm, statement) ?? [];
  if (role === undefined || user === undefined) return { kind: 'invalid' };
  return isName(role) && isName(user) ? { kind: 'revoke', role, user } : { kind: 'bad-arguments' };
}

/** What the statement has where the form has null; undefined where it is not of that form. */
function filledIn(form: readonly (string | null)[], statement: readonly Token[]): readonly string[] | undefined {
  const fits = form.every((word, at) => {
    const token = statement[at];
    if (token?.kind !== 'bare' && token?.kind !== 'quoted') return false;
    return word === null || (token.kind === 'bare' && token.text.toLowerCase() === word);
  });
  if (!fits || statement.length > form.length) return undefined;
  return statement.filter((_, at) => form[at] === null).map(({ text }) => text);
}

/** An empty name is none: `PAUSE ""` must not pause everything. */
function isName(text: string): boolean {
  return text !== '' && Buffer.byteLength(text) <= nameBytesMax;
}
