// Which client encodings can be scanned bytewise, and which texts are the same in all of them.

/** Encodings in which a later byte of a character may look like ASCII; those PostgreSQL allows for clients only. */
const unsafeEncodings: ReadonlySet<string> = new Set([
  'sjis',
  'mskanji',
  'shiftjis',
  'win932',
  'windows932',
  'shiftjis2004',
  'big5',
  'win950',
  'windows950',
  'gbk',
  'win936',
  'windows936',
  'gb18030',
  'uhc',
  'win949',
  'windows949',
  'johab',
]);

/** @param name of a client_encoding in any of PostgreSQL's spellings */
export function isSafeEncoding(name: string): boolean {
  return !unsafeEncodings.has(name.toLowerCase().replace(/[^a-z0-9]/g, ''));
}

/** Whether a text is read alike in all encodings, and whatever standard_conforming_strings says. */
export function isPlainText(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte >= 0x80 || byte === 0x5c) return false;
  }
  return true;
}
