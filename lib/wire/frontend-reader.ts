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

export function readParse(bytes: Buffer, start: number, end: number): ParseParts | undefined {
  const nameEnd = stringEnd(bytes, start + 5, end);
  if (nameEnd < 0) return undefined;
  const queryEnd = stringEnd(bytes, nameEnd + 1, end);
  if (queryEnd < 0 || queryEnd + 3 > end) return undefined;
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
