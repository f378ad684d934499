// What PostgreSQL's lexer (scan.l) can begin with each byte, as tables for the scanner.

/** Bytes that begin no token: NUL, other control bytes, `\`, `{`, `}`; and vertical tab, white space only since PostgreSQL 16. */
export const classBad = 0;
export const classSpace = 1;
export const classWord = 2;
export const classDigit = 3;
export const classOperator = 4;
export const classQuote = 5;
export const classDoubleQuote = 6;
export const classDollar = 7;
export const classDot = 8;
export const classOpen = 9;
export const classClose = 10;
export const classComma = 11;
export const classSemicolon = 12;
export const classColon = 13;

function table(fill: (byte: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => fill(byte));
}

function isLetter(byte: number): boolean {
  return (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) || byte === 95 || byte >= 128;
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57;
}

const single = new Map<string, number>([
  ["'", classQuote],
  ['"', classDoubleQuote],
  ['$', classDollar],
  ['.', classDot],
  ['(', classOpen],
  ['[', classOpen],
  [')', classClose],
  [']', classClose],
  [',', classComma],
  [';', classSemicolon],
  [':', classColon],
]);

export const classOf = table((byte) => {
  if (isLetter(byte)) return classWord;
  if (isDigit(byte)) return classDigit;
  const char = String.fromCharCode(byte);
  if (' \t\n\r\f'.includes(char)) return classSpace;
  if ('~!@#^&|`?+-*/%<>='.includes(char)) return classOperator;
  return single.get(char) ?? classBad;
});

/** ASCII only: PostgreSQL folds other letters by the server's locale, so they are left alone and merely split shapes. */
export const lower = table((byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));

function oneOf(chars: string): Uint8Array {
  return table((byte) => (byte < 128 && chars.includes(String.fromCharCode(byte)) ? 1 : 0));
}

/** Bytes that continue an unquoted identifier. */
export const wordPart = table((byte) => (isLetter(byte) || isDigit(byte) || byte === 36 ? 1 : 0));
/** A multi-character operator may end in `+` or `-` only if it contains one of these. */
export const keepsTrailingSign = oneOf('~!@#^&|`?%');
