// Reads names and texts out of client messages, from a complete frame or its prefix. Strings stay bytes where they can.

/** End of a zero-terminated string (the place of its zero), or -1. */
export function stringEnd(bytes: Buffer, from: number, to: number): number {
  const end = bytes.indexOf(0, from);
  return end < 0 || end >= to ? -1 : end;
}

/** Where the parts of a Parse lie: name, query text, parameter types. */
export interface ParseParts {
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly queryStart: number;
  readonly queryEnd: number;
}

/** @returns undefined for one that PostgreSQL refuses, as too short or too long for what it says of itself */
export function readParse(bytes: Buffer, start: number, end: number): ParseParts | undefined {
  const nameEnd = stringEnd(bytes, start + 5, end);
  if (nameEnd < 0) return undefined;
  const queryEnd = stringEnd(bytes, nameEnd + 1, end);
  if (queryEnd < 0 || queryEnd + 3 > end) return undefined;
  if (queryEnd + 3 + 4 * bytes.readUInt16BE(queryEnd + 1) !== end) return undefined;
  return { nameStart: start + 5, nameEnd, queryStart: nameEnd + 1, queryEnd };
}

/** Where the names of a Bind lie; what follows them may not be here yet. */
export interface BindParts {
  readonly portalEnd: number;
  readonly statementStart: number;
  readonly statementEnd: number;
}

export function readBind(bytes: Buffer, start: number, end: number): BindParts | undefined {
  const portalEnd = stringEnd(bytes, start + 5, end);
  if (portalEnd < 0) return undefined;
  const statementEnd = stringEnd(bytes, portalEnd + 1, end);
  if (statementEnd < 0) return undefined;
  return { portalEnd, statementStart: portalEnd + 1, statementEnd };
}

/**
 * The value of a Bind's parameter in text format; undefined for NULL, a value in binary, or a frame that is not all here.
 * @param from behind the statement's name @param number from 1
 */
export function readBindParameter(bytes: Buffer, from: number, end: number, number: number): string | undefined {
  if (from + 2 > end) return undefined;
  const formats = bytes.readUInt16BE(from);
  let position = from + 2 + 2 * formats;
  if (position + 2 > end) return undefined;
  const format = formats === 0 ? 0 : formats === 1 ? bytes.readUInt16BE(from + 2) : undefined;
  const own = format ?? (number <= formats ? bytes.readUInt16BE(from + 2 * number) : 1);
  const count = bytes.readUInt16BE(position);
  if (own !== 0 || number > count) return undefined;
  position += 2;
  for (let index = 1; index <= count; index++) {
    if (position + 4 > end) return undefined;
    const length = bytes.readInt32BE(position);
    position += 4;
    if (index === number) {
      return length < 0 || position + length > end ? undefined : bytes.toString('utf8', position, position + length);
    }
    position += Math.max(0, length);
  }
  return undefined;
}

/** What a Describe or Close names: `S` a statement, `P` a portal. */
export interface TargetParts {
  readonly target: number;
  readonly nameStart: number;
  readonly nameEnd: number;
}

export const Target = { Statement: 0x53, Portal: 0x50 } as const;

export function readTarget(bytes: Buffer, start: number, end: number): TargetParts | undefined {
  if (end - start < 7) return undefined;
  const target = bytes[start + 5] as number;
  if (target !== Target.Statement && target !== Target.Portal) return undefined;
  const nameEnd = stringEnd(bytes, start + 6, end);
  return nameEnd !== end - 1 ? undefined : { target, nameStart: start + 6, nameEnd };
}

/**
 * Behind the values of a Bind, before the formats of the result; -1 where the frame ends before them.
 * @param from behind the statement's name
 */
export function bindValuesEnd(bytes: Buffer, from: number, end: number): number {
  if (from + 2 > end) return -1;
  let position = from + 2 + 2 * bytes.readUInt16BE(from);
  if (position + 2 > end) return -1;
  const count = bytes.readUInt16BE(position);
  position += 2;
  for (let index = 0; index < count; index++) {
    if (position + 4 > end) return -1;
    const length = bytes.readInt32BE(position);
    position += 4 + Math.max(0, length);
    if (position > end) return -1;
  }
  return position;
}
