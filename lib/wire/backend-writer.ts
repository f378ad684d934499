// Messages weir says to clients in a server's voice. (pg-protocol serialises only what clients say.)

import { Backend, type TransactionStatus } from './tags.js';

function message(tag: number, body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(5 + body.length);
  frame[0] = tag;
  frame.writeInt32BE(4 + body.length, 1);
  body.copy(frame, 5);
  return frame;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value, 0);
  return bytes;
}

/** A copy of a frame with `length` bytes of its body at `at` replaced by a latin1 string. */
export function replaceInFrame(frame: Buffer, at: number, length: number, by: string): Buffer {
  const copy = Buffer.allocUnsafe(frame.length - length + by.length);
  frame.copy(copy, 0, 0, at);
  copy.write(by, at, 'latin1');
  frame.copy(copy, at + by.length, at + length);
  copy.writeUInt32BE(copy.length - 1, 1);
  return copy;
}

export function authenticationOk(): Buffer {
  return message(Backend.Authentication, int32(0));
}

export function authenticationCleartextPassword(): Buffer {
  return message(Backend.Authentication, int32(3));
}

/** @param salt four bytes */
export function authenticationMd5Password(salt: Buffer): Buffer {
  return message(Backend.Authentication, Buffer.concat([int32(5), salt]));
}

export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return message(
    Backend.Authentication,
    Buffer.concat([int32(10), Buffer.from(`${mechanisms.join('\0')}\0\0`, 'latin1')]),
  );
}

export function authenticationSaslContinue(data: Buffer): Buffer {
  return message(Backend.Authentication, Buffer.concat([int32(11), data]));
}

export function authenticationSaslFinal(data: Buffer): Buffer {
  return message(Backend.Authentication, Buffer.concat([int32(12), data]));
}

/** Says which minor version is spoken and which `_pq_.` options are not known. */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  const names = unknownOptions.map((name) => Buffer.from(`${name}\0`, 'latin1'));
  return message(
    Backend.NegotiateProtocolVersion,
    Buffer.concat([int32((3 << 16) | minor), int32(names.length), ...names]),
  );
}

export function backendKeyData(pid: number, secret: Buffer): Buffer {
  return message(Backend.BackendKeyData, Buffer.concat([int32(pid), secret]));
}

/** Name and value are latin1 strings: bytes pass as they came. */
export function parameterStatus(name: string, value: string): Buffer {
  return message(Backend.ParameterStatus, Buffer.from(`${name}\0${value}\0`, 'latin1'));
}

const readyMessages = new Map<number, Buffer>();

/** A shared constant: not to be written to. */
export function readyForQuery(status: TransactionStatus): Buffer {
  let frame = readyMessages.get(status);
  if (frame === undefined) {
    frame = message(Backend.ReadyForQuery, Buffer.from([status]));
    readyMessages.set(status, frame);
  }
  return frame;
}

/** @param types as a Parse has them: how many, and the oid of each */
export function parameterDescription(types: Buffer): Buffer {
  return message(Backend.ParameterDescription, types);
}

export const parseCompleteMessage: Buffer = message(Backend.ParseComplete, Buffer.alloc(0));
export const bindCompleteMessage: Buffer = message(Backend.BindComplete, Buffer.alloc(0));
export const noDataMessage: Buffer = message(Backend.NoData, Buffer.alloc(0));
export const closeCompleteMessage: Buffer = message(Backend.CloseComplete, Buffer.alloc(0));
export const emptyQueryMessage: Buffer = message(Backend.EmptyQueryResponse, Buffer.alloc(0));

export type Severity = 'ERROR' | 'FATAL' | 'WARNING' | 'NOTICE' | 'INFO';

export interface ErrorFields {
  readonly severity: Severity;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** The function of PostgreSQL's that says so, where drivers look at it. */
  readonly routine?: string | undefined;
}

/** D */
const detailField = 68;

function errorBody(fields: ErrorFields): Buffer {
  const parts = [`S${fields.severity}`, `V${fields.severity}`, `C${fields.sqlstate}`, `M${fields.message}`];
  if (fields.detail !== undefined) parts.push(`D${fields.detail}`);
  if (fields.hint !== undefined) parts.push(`H${fields.hint}`);
  if (fields.routine !== undefined) parts.push(`R${fields.routine}`);
  return Buffer.from(`${parts.map((part) => part.replaceAll('\0', '')).join('\0')}\0\0`, 'utf8');
}

export function errorResponse(fields: ErrorFields): Buffer {
  return message(Backend.ErrorResponse, errorBody(fields));
}

/** An ErrorResponse, or its beginning, from `start` (its tag) to `end` as a message without its DETAIL. */
export function withoutDetail(bytes: Buffer, start: number, end: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = start + 5; at < end && bytes[at] !== 0; ) {
    const next = bytes.indexOf(0, at) + 1;
    // The last one of a beginning may go on.
    if (next === 0 || next > end) break;
    if (bytes[at] !== detailField) parts.push(bytes.subarray(at, next));
    at = next;
  }
  return message(Backend.ErrorResponse, Buffer.concat([...parts, Buffer.alloc(1)]));
}

export function noticeResponse(fields: ErrorFields): Buffer {
  return message(Backend.NoticeResponse, errorBody(fields));
}

export interface Column {
  readonly name: string;
  readonly typeOid: number;
  /** Bytes of the type, or -1 for one of variable length. */
  readonly typeSize: number;
}

/** All columns in text format. */
export function rowDescription(columns: readonly Column[]): Buffer {
  const parts: Buffer[] = [Buffer.from([columns.length >> 8, columns.length & 0xff])];
  for (const column of columns) {
    const rest = Buffer.alloc(18);
    rest.writeUInt32BE(column.typeOid, 6);
    rest.writeInt16BE(column.typeSize, 10);
    rest.writeInt32BE(-1, 12);
    parts.push(Buffer.from(`${column.name}\0`, 'utf8'), rest);
  }
  return message(Backend.RowDescription, Buffer.concat(parts));
}

/** Values in text format; `null` is SQL NULL. */
export function dataRow(values: readonly (string | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.from([values.length >> 8, values.length & 0xff])];
  for (const value of values) {
    if (value === null) {
      parts.push(int32(-1));
    } else {
      const bytes = Buffer.from(value, 'utf8');
      parts.push(int32(bytes.length), bytes);
    }
  }
  return message(Backend.DataRow, Buffer.concat(parts));
}

export function commandComplete(tag: string): Buffer {
  return message(Backend.CommandComplete, Buffer.from(`${tag}\0`, 'latin1'));
}
