// Turns a statement's bytes into its shape in one pass: literals out, white space and comments normalised, words folded.
//
// The rules are those of PostgreSQL's scan.l. The result is itself SQL: parsed, it gives the tree of the original but for the
// values of constants, so that equal shapes mean equal trees. Whatever looks irregular is refused, never guessed.

import {
  classClose,
  classColon,
  classComma,
  classDigit,
  classDollar,
  classDot,
  classDoubleQuote,
  classOf,
  classOpen,
  classOperator,
  classQuote,
  classSemicolon,
  classSpace,
  classWord,
  lower,
  wordPart,
} from './char-classes.js';
import { blockCommentEnd, digitOf, digitsEnd, lineEnd, operatorEnd, quotedIdentifierEnd } from './lexemes.js';

const space = 32;
const quote = 39;
const dash = 45;
const backslash = 92;

// What becomes of a literal. Nothing else the scanner writes contains a quote or begins with a digit.
const integerHolder = bytesOf('1');
const numericHolder = bytesOf('1.0');
const stringHolder = bytesOf("'?'");
const bitHolder = bytesOf("b'?'");
const hexHolder = bytesOf("x'?'");
const nationalHolder = bytesOf("n'?'");
// Empty, because a following UESCAPE '?' would make `?` its escape character.
const unicodeHolder = bytesOf("u&''");
const noHolder = bytesOf('');

const int32Max = 0x7fffffff;
/** The shape is never longer than twice the text and this. */
const outputSlack = 16;

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

const noFold = -1;

/** Token recorder for what needs positions (tests, PREPARE): pairs of start and end offset into the text. */
export interface TokenLog {
  readonly positions: number[];
}

/** One scanner serves one thread; `output[0..length)` holds until the next `scan`. */
export class ShapeScanner {
  output: Uint8Array;
  /** The same memory as `output`; bytes of the last word beyond `length` are zero. */
  words: Int32Array;
  length = 0;
  /** Literals replaced in this text. */
  literalCount = 0;
  /**
   * libpg-query would read this text otherwise than the server (it reads the shape right): a plain string with a backslash while
   * standard_conforming_strings is off, or a comment between the lines of one string, which ends the string for libpg-query.
   */
  parserDisagrees = false;
  readonly #log: TokenLog | undefined;

  #source: Uint8Array = new Uint8Array(0);
  #end = 0;
  /** Where a helper begins and where it has ended. */
  #at = 0;

  constructor(log?: TokenLog) {
    this.#log = log;
    const memory = new ArrayBuffer(16_384);
    this.output = new Uint8Array(memory);
    this.words = new Int32Array(memory);
  }

  /**
   * @param conforming standard_conforming_strings as the server that will read the text has it
   * @returns false for anything irregular; `output` is then meaningless
   */
  scan(source: Uint8Array, start: number, end: number, conforming: boolean): boolean {
    this.#reserve((end - start) * 2 + outputSlack);
    this.#source = source;
    this.#end = end;
    this.#at = start;
    this.literalCount = 0;
    this.parserDisagrees = false;
    if (!this.#tokens(conforming)) return false;
    const output = this.output;
    let length = this.length;
    if (length > 0 && output[length - 1] === 59) length--;
    this.length = length;
    while ((length & 3) !== 0) output[length++] = 0;
    return true;
  }

  #tokens(conforming: boolean): boolean {
    const source = this.#source;
    const end = this.#end;
    const output = this.output;
    let depth = 0;
    // A list of `IN (` or `ARRAY[` whose equal neighbouring literals are folded into one.
    let foldable = false;
    let mayFold = true;
    let foldDepth = noFold;
    let elementStart = 0;
    let literalStart = 0;
    let literalEnd = noFold;
    let keptStart = 0;
    let keptEnd = noFold;

    // Kept out of the object for speed; helpers find them there and leave them there.
    let at = this.#at;
    let out = 0;
    /** 1 when a space separates the next token from what was written. */
    let gap = 0;

    while (at < end) {
      const byte = source[at]!;
      const tokenStart = at;
      const wasFoldable: boolean = foldable;
      foldable = false;
      switch (classOf[byte]) {
        case classSpace:
          at++;
          foldable = wasFoldable;
          continue;

        case classWord: {
          const next = at + 1 < end ? source[at + 1]! : 0;
          if (next === quote || next === 38) {
            const holder = this.#prefixedString(at, conforming);
            if (holder === undefined) return false;
            if (holder !== noHolder) {
              out = this.#placeLiteral(holder, out, gap);
              at = this.#at;
              gap = 1;
              literalEnd = out;
              literalStart = out - holder.length;
              break;
            }
          }
          const afterDot = out > 0 && output[out - 1] === 46;
          if (gap !== 0) output[out++] = space;
          const wordStart = out;
          let part = byte;
          do {
            output[out++] = lower[part]!;
            at++;
            part = at < end ? source[at]! : 0;
          } while (wordPart[part] !== 0);
          gap = 1;
          const wordLength = out - wordStart;
          if (wordLength === 2) {
            foldable = mayFold && !afterDot && output[wordStart] === 105 && output[wordStart + 1] === 110;
          } else if (wordLength === 5) {
            foldable = !afterDot && isArrayWord(output, wordStart);
          } else if (wordLength === 8 && output[wordStart] === 112 && output[wordStart + 2] === 115) {
            // position(x in (y, z)) has IN without a list behind it; words of this look are rare enough not to fold at all.
            mayFold = false;
          }
          break;
        }

        case classOperator: {
          const next = at + 1 < end ? source[at + 1]! : 0;
          if (classOf[next] !== classOperator) {
            if (gap !== 0) output[out++] = space;
            output[out++] = byte;
            at++;
            gap = 1;
            break;
          }
          if (byte === dash && next === dash) {
            at = lineEnd(source, at, end);
            foldable = wasFoldable;
            continue;
          }
          if (byte === 47 && next === 42) {
            at = blockCommentEnd(source, at, end);
            if (at < 0) return false;
            foldable = wasFoldable;
            continue;
          }
          const operatorStop = operatorEnd(source, at, end);
          if (gap !== 0) output[out++] = space;
          while (at < operatorStop) output[out++] = source[at++]!;
          gap = 1;
          break;
        }

        case classDigit: {
          const holder = this.#number(at);
          if (holder === undefined) return false;
          out = this.#placeLiteral(holder, out, gap);
          at = this.#at;
          gap = 1;
          literalEnd = out;
          literalStart = out - holder.length;
          break;
        }

        case classDot: {
          const next = at + 1 < end ? source[at + 1]! : 0;
          if (classOf[next] === classDigit) {
            const holder = this.#number(at);
            if (holder === undefined) return false;
            out = this.#placeLiteral(holder, out, gap);
            at = this.#at;
            gap = 1;
            literalEnd = out;
            literalStart = out - holder.length;
            break;
          }
          // `..` is PL/pgSQL's; two dots never stand next to each other in SQL.
          if (next === 46 || (out > 0 && output[out - 1] === 46)) return false;
          output[out++] = 46;
          at++;
          gap = 0;
          break;
        }

        case classQuote:
          if (conforming ? !this.#string(at + 1) : !this.#escapeString(at + 1, true)) return false;
          out = this.#placeLiteral(stringHolder, out, gap);
          at = this.#at;
          gap = 1;
          literalEnd = out;
          literalStart = out - stringHolder.length;
          break;

        case classDollar: {
          const next = at + 1 < end ? source[at + 1]! : 0;
          if (classOf[next] === classDigit) {
            if (gap !== 0) output[out++] = space;
            output[out++] = 36;
            at++;
            while (at < end && classOf[source[at]!] === classDigit) output[out++] = source[at++]!;
            if (at < end && classOf[source[at]!] === classWord) return false;
            gap = 1;
            break;
          }
          if (!this.#dollarString(at)) return false;
          out = this.#placeLiteral(stringHolder, out, gap);
          at = this.#at;
          gap = 1;
          literalEnd = out;
          literalStart = out - stringHolder.length;
          break;
        }

        case classDoubleQuote: {
          const stop = quotedIdentifierEnd(source, at, end);
          if (stop < 0) return false;
          if (gap !== 0) output[out++] = space;
          while (at < stop) output[out++] = source[at++]!;
          gap = 1;
          break;
        }

        case classOpen:
          output[out++] = byte;
          at++;
          gap = 0;
          depth++;
          if (wasFoldable) {
            foldDepth = depth;
            elementStart = out;
            keptEnd = noFold;
          }
          break;

        case classClose:
        case classComma: {
          if (foldDepth === depth) {
            const isLiteral =
              literalEnd === out &&
              (literalStart === elementStart ||
                (literalStart === elementStart + 2 &&
                  output[elementStart] === dash &&
                  output[elementStart + 1] === space &&
                  output[literalStart] === 49));
            if (isLiteral && keptEnd !== noFold && sameBytes(output, keptStart, keptEnd, elementStart, out)) {
              out = keptEnd;
            } else {
              keptStart = elementStart;
              keptEnd = isLiteral ? out : noFold;
            }
          }
          literalEnd = noFold;
          output[out++] = byte;
          at++;
          gap = 1;
          if (byte === 44) {
            elementStart = out + 1;
          } else {
            if (foldDepth === depth) foldDepth = noFold;
            depth--;
          }
          break;
        }

        case classSemicolon:
          at++;
          // Empty statements vanish.
          if (out === 0 || output[out - 1] === 59) break;
          output[out++] = 59;
          gap = 1;
          break;

        case classColon: {
          const next = at + 1 < end ? source[at + 1]! : 0;
          if (gap !== 0) output[out++] = space;
          output[out++] = 58;
          at++;
          if (next === 58 || next === 61) {
            output[out++] = next;
            at++;
          }
          gap = 1;
          break;
        }

        default:
          return false;
      }
      if (this.#log !== undefined) this.#log.positions.push(tokenStart, at);
    }
    this.length = out;
    return true;
  }

  /** @returns where the output goes on */
  #placeLiteral(holder: Uint8Array, from: number, gap: number): number {
    const output = this.output;
    let out = from;
    // A digit directly behind a dot would become part of another token.
    if (gap !== 0 || (out > 0 && output[out - 1] === 46)) output[out++] = space;
    for (let i = 0; i < holder.length; i++) output[out++] = holder[i]!;
    this.literalCount++;
    return out;
  }

  /** @returns the placeholder of a string that begins with a letter, `noHolder` for an identifier, undefined to refuse */
  #prefixedString(at: number, conforming: boolean): Uint8Array | undefined {
    const letter = this.#source[at]! | 32;
    if (this.#source[at + 1] === 38) {
      const third = letter === 117 && at + 2 < this.#end ? this.#source[at + 2]! : 0;
      // U&"..." hides its name behind escapes that a later UESCAPE may redefine.
      if (third === 34) return undefined;
      if (third !== quote) return noHolder;
      return conforming && this.#string(at + 3) ? unicodeHolder : undefined;
    }
    switch (letter) {
      case 101:
        return this.#escapeString(at + 2, false) ? stringHolder : undefined;
      case 110:
        return (conforming ? this.#string(at + 2) : this.#escapeString(at + 2, true)) ? nationalHolder : undefined;
      case 98:
        return this.#bitString(at + 2) ? bitHolder : undefined;
      case 120:
        return this.#bitString(at + 2) ? hexHolder : undefined;
      default:
        return noHolder;
    }
  }

  /** From behind the opening quote to behind the closing one, and on where the string goes on in a further line. */
  #string(from: number): boolean {
    const source = this.#source;
    const end = this.#end;
    let i = from;
    while (i < end) {
      const byte = source[i]!;
      if (byte === quote) {
        i++;
        if (i < end && source[i] === quote) {
          i++;
          continue;
        }
        const continued = this.#continuation(i);
        if (continued === 0) {
          this.#at = i;
          return true;
        }
        i = continued;
        continue;
      }
      if (byte === 0) return false;
      i++;
    }
    return false;
  }

  #escapeString(from: number, plain: boolean): boolean {
    const source = this.#source;
    const end = this.#end;
    let i = from;
    while (i < end) {
      const byte = source[i]!;
      if (byte === quote) {
        i++;
        if (i < end && source[i] === quote) {
          i++;
          continue;
        }
        const continued = this.#continuation(i);
        if (continued === 0) {
          this.#at = i;
          return true;
        }
        i = continued;
        continue;
      }
      if (byte === backslash) {
        if (plain) this.parserDisagrees = true;
        i++;
        if (i >= end || source[i] === 0) return false;
      } else if (byte === 0) {
        return false;
      }
      i++;
    }
    return false;
  }

  /** B'' and X'': a doubled quote ends one string and begins the next. */
  #bitString(from: number): boolean {
    const source = this.#source;
    const end = this.#end;
    let i = from;
    while (i < end) {
      const byte = source[i]!;
      if (byte === 0) return false;
      i++;
      if (byte !== quote) continue;
      const continued = this.#continuation(i);
      if (continued === 0) {
        this.#at = i;
        return true;
      }
      i = continued;
    }
    return false;
  }

  #dollarString(at: number): boolean {
    const source = this.#source;
    const end = this.#end;
    let tagEnd = at + 1;
    while (tagEnd < end && source[tagEnd] !== 36) {
      if (wordPart[source[tagEnd]!] === 0) return false;
      tagEnd++;
    }
    if (tagEnd >= end) return false;
    const tagLength = tagEnd - at + 1;
    const last = end - tagLength;
    for (let i = tagEnd + 1; i <= last; i++) {
      const byte = source[i]!;
      if (byte === 0) return false;
      if (byte !== 36) continue;
      let same = 1;
      while (same < tagLength && source[i + same] === source[at + same]) same++;
      if (same === tagLength) {
        this.#at = i + tagLength;
        return true;
      }
    }
    return false;
  }

  /** The numbers of PostgreSQL 18. Servers before 16 read `1_000` and `0x1` as a number and a word: an alias, or an error. */
  #number(at: number): Uint8Array | undefined {
    const source = this.#source;
    const end = this.#end;
    let i = at;
    let value = 0;
    let isInteger = true;
    const second = at + 1 < end ? source[at + 1]! | 32 : 0;
    const base = source[at] !== 48 ? 10 : second === 120 ? 16 : second === 111 ? 8 : second === 98 ? 2 : 10;
    if (base !== 10) {
      i = at + 2;
      let digits = 0;
      while (i < end) {
        const byte = source[i]!;
        if (byte === 95 && i + 1 < end) {
          if (digitOf(source[i + 1]!) >= base) return undefined;
          i++;
          continue;
        }
        const digit = digitOf(byte);
        if (digit >= base) break;
        value = value * base + digit;
        digits++;
        i++;
      }
      if (digits === 0) return undefined;
    } else {
      while (i < end) {
        const byte = source[i]!;
        if (byte === 95 && i > at && i + 1 < end && classOf[source[i + 1]!] === classDigit) {
          i++;
          continue;
        }
        if (classOf[byte] !== classDigit) break;
        value = value * 10 + (byte - 48);
        i++;
      }
      if (i < end && source[i] === 46) {
        isInteger = false;
        i++;
        // `1..2` is PL/pgSQL's range.
        if (i < end && source[i] === 46) return undefined;
        i = digitsEnd(source, i, end);
      }
      if (i < end && (source[i]! | 32) === 101) {
        isInteger = false;
        i++;
        if (i < end && (source[i] === 43 || source[i] === dash)) i++;
        const from = i;
        i = digitsEnd(source, i, end);
        if (i === from) return undefined;
      }
    }
    // Letters or digits that touch the number are an error since PostgreSQL 15. Older servers read `0x1$$` as a zero and a name,
    // newer ones as a number and the beginning of a string.
    if (i < end && wordPart[source[i]!] !== 0) return undefined;
    this.#at = i;
    return isInteger && value <= int32Max ? integerHolder : numericHolder;
  }

  /** Behind the quote with which a string goes on after a newline, 0 when it does not. */
  #continuation(from: number): number {
    const source = this.#source;
    const end = this.#end;
    let i = from;
    let sawNewline = false;
    let sawComment = false;
    while (i < end) {
      const byte = source[i]!;
      if (byte === 10 || byte === 13) {
        sawNewline = true;
        i++;
      } else if (classOf[byte] === classSpace) {
        i++;
      } else if (byte === dash && i + 1 < end && source[i + 1] === dash) {
        sawComment = true;
        i = lineEnd(source, i, end);
      } else {
        if (!sawNewline || byte !== quote) return 0;
        if (sawComment) this.parserDisagrees = true;
        return i + 1;
      }
    }
    return 0;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.output.length) return;
    const memory = new ArrayBuffer(2 ** Math.ceil(Math.log2(bytes)));
    this.output = new Uint8Array(memory);
    this.words = new Int32Array(memory);
  }
}

function isArrayWord(output: Uint8Array, at: number): boolean {
  return (
    output[at] === 97 &&
    output[at + 1] === 114 &&
    output[at + 2] === 114 &&
    output[at + 3] === 97 &&
    output[at + 4] === 121
  );
}

function sameBytes(bytes: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false;
  for (let i = aStart, j = bStart; i < aEnd; i++, j++) if (bytes[i] !== bytes[j]) return false;
  return true;
}
