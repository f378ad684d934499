// What is in the bodies of messages that a client gets: for tests that compare what two sides say.

export interface Column {
  readonly name: string;
  /** The table's and the column's number there; 0 where it is none. */
  readonly table: number;
  readonly number: number;
  /** The type's identifier. */
  readonly type: number;
  readonly modifier: number;
  readonly format: number;
}

/** Of a RowDescription. */
export function columnsOf(body: Buffer): Column[] {
  const found: Column[] = [];
  for (let left = body.readInt16BE(0), at = 2; left > 0; left--) {
    const end = body.indexOf(0, at);
    found.push({
      name: body.toString('latin1', at, end),
      table: body.readUInt32BE(end + 1),
      number: body.readInt16BE(end + 5),
      type: body.readUInt32BE(end + 7),
      modifier: body.readInt32BE(end + 13),
      format: body.readInt16BE(end + 17),
    });
    at = end + 19;
  }
  return found;
}

/** Of a DataRow, byte for byte as latin1: which encoding they came in can be compared. */
export function cellsOf(body: Buffer): string[] {
  const found: string[] = [];
  for (let left = body.readInt16BE(0), at = 2; left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    found.push(length < 0 ? 'NULL' : body.toString('latin1', at, at + length));
    at += Math.max(length, 0);
  }
  return found;
}

/** Of a ParameterDescription: the types' identifiers. */
export function parametersOf(body: Buffer): number[] {
  return Array.from({ length: body.readUInt16BE(0) }, (_, index) => body.readUInt32BE(2 + 4 * index));
}

/** The strings of a body that has nothing else. */
export function textsOf(body: Buffer): string[] {
  return body.toString('latin1').split('\0');
}
