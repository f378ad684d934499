// Splits the `key=value key='quoted value'` text of a database or user line of a pgbouncer.ini.

export type Pairs =
  | { readonly ok: true; readonly pairs: readonly (readonly [key: string, value: string])[] }
  | { readonly ok: false; readonly message: string };

/** A quote inside quotes is doubled; blanks may stand around `=`; an empty value is a mistake, as in PgBouncer. */
export function parseConnectionString(text: string): Pairs {
  const pairs: (readonly [string, string])[] = [];
  const pair = /\s*([^\s=]+)\s*=\s*(?:'([^']*(?:''[^']*)*)'|([^\s']\S*))(?=\s|$)/y;
  const end = text.trimEnd().length;
  while (pair.lastIndex < end) {
    const at = pair.lastIndex;
    const match = pair.exec(text);
    if (match === null) return { ok: false, message: explain(text.slice(at).trimStart()) };
    const value = match[2] === undefined ? match[3]! : match[2].replaceAll("''", "'");
    if (value === '') return { ok: false, message: `the value of "${shorten(match[1]!)}" is empty` };
    pairs.push([match[1]!, value]);
  }
  return { ok: true, pairs };
}

/** Names the key at fault but never its value, which may be a password. */
function explain(rest: string): string {
  const key = /^[^\s=]+(?=\s*=)/.exec(rest)?.[0];
  if (key === undefined) return 'expected key=value pairs separated by spaces';
  if (/^[^\s=]+\s*=\s*$/.test(rest)) return `the value of "${shorten(key)}" is empty`;
  return `the value of "${shorten(key)}" has an unfinished quote or text after its quote`;
}

function shorten(key: string): string {
  return key.slice(0, 40);
}
