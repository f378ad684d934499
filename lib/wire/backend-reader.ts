// Reads the few server messages weir acts on, out of a complete frame; decoding of whole results is pg-protocol's.

import { createHash } from 'node:crypto';
import type { BackendMessage } from 'pg-protocol/dist/messages.js';
import { Parser } from 'pg-protocol/dist/parser.js';

/** What of an ErrorResponse or NoticeResponse weir needs. Texts are UTF-8 decoded. */
export interface ServerErrorFields {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** The context ("where") of the error. */
  readonly where: string | undefined;
  /** The function of PostgreSQL's that found it. */
  readonly routine?: string | undefined;
}

/** Reads the fields of an ErrorResponse or NoticeResponse, or of its prefix, from `start` (its tag) to `end`. */
export function readErrorFields(bytes: Buffer, start: number, end: number): ServerErrorFields {
  const fields = new Map<string, string>();
  let position = start + 5;
  while (position < end && bytes[position] !== 0) {
    let valueEnd = bytes.indexOf(0, position + 1);
    if (valueEnd < 0 || valueEnd > end) valueEnd = end;
    fields.set(String.fromCharCode(bytes[position] as number), bytes.toString('utf8', position + 1, valueEnd));
    position = valueEnd + 1;
  }
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    // An error without SQLSTATE is out of the protocol, but has been seen from proxies (CVE-2026-6666).
    sqlstate: fields.get('C') ?? 'XX000',
    message: fields.get('M') ?? 'unknown error',
    detail: fields.get('D'),
    hint: fields.get('H'),
    where: fields.get('W'),
    routine: fields.get('R'),
  };
}

/** Name and value of a ParameterStatus frame, as latin1 strings; `undefined` when it is not well formed. */
export function readParameterStatus(
  bytes: Buffer,
  start: number,
  end: number,
): { name: string; value: string } | undefined {
  const nameEnd = bytes.indexOf(0, start + 5);
  if (nameEnd < 0 || nameEnd >= end) return undefined;
  const valueEnd = bytes.indexOf(0, nameEnd + 1);
  if (valueEnd < 0 || valueEnd >= end) return undefined;
  return { name: bytes.toString('latin1', start + 5, nameEnd), value: bytes.toString('latin1', nameEnd + 1, valueEnd) };
}

/** The columns of a DataRow frame, as latin1 strings; `undefined` when it is not well formed. */
export function readDataRow(bytes: Buffer, start: number, end: number): (string | null)[] | undefined {
  if (end - start < 7) return undefined;
  const row: (string | null)[] = [];
  let position = start + 7;
  for (let left = bytes.readUInt16BE(start + 5); left > 0; left--) {
    if (position + 4 > end) return undefined;
    const length = bytes.readInt32BE(position);
    position += 4;
    if (length < 0) {
      row.push(null);
      continue;
    }
    if (position + length > end) return undefined;
    row.push(bytes.toString('latin1', position, position + length));
    position += length;
  }
  return row;
}

/**
 * A digest of the columns in a RowDescription frame: names, types and modifiers. Where they come from is not in it, as it is not
 * in what PostgreSQL compares (`equalRowTypes`). `undefined` when it is not well formed.
 */
export function digestColumns(bytes: Buffer, start: number, end: number): string | undefined {
  if (end - start < 7) return undefined;
  const hash = createHash('sha256');
  let position = start + 7;
  for (let left = bytes.readUInt16BE(start + 5); left > 0; left--) {
    const nameEnd = bytes.indexOf(0, position);
    if (nameEnd < 0 || nameEnd + 19 > end) return undefined;
    hash.update(bytes.subarray(position, nameEnd + 1));
    // Behind the table and the number of the column: type, length and modifier. The format is told of portals alone.
    hash.update(bytes.subarray(nameEnd + 7, nameEnd + 17));
    position = nameEnd + 19;
  }
  return hash.digest('base64');
}

/** The channel and payload of a NotificationResponse frame, as latin1 strings; `undefined` when it is not well formed. */
export function readNotification(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly channel: string; readonly payload: string } | undefined {
  const channelEnd = bytes.indexOf(0, start + 9);
  if (channelEnd < 0 || channelEnd >= end) return undefined;
  return {
    channel: bytes.toString('latin1', start + 9, channelEnd),
    payload: bytes.toString('latin1', channelEnd + 1, end - 1),
  };
}

/** Of the server's process whose session has notified. */
export function readNotificationPid(bytes: Buffer, start: number): number {
  return bytes.readInt32BE(start + 5);
}

/** Puts another pid in its place. */
export function writeNotificationPid(bytes: Buffer, start: number, pid: number): void {
  bytes.writeInt32BE(pid, start + 5);
}

/** The command tag of a CommandComplete frame, without its terminator. */
export function readCommandTag(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', start + 5, end - 1);
}

/** Pid and secret of a BackendKeyData frame; protocol 3.2 allows secrets of up to 256 bytes. */
export function readBackendKey(bytes: Buffer, start: number, end: number): { pid: number; secret: Buffer } {
  return { pid: bytes.readInt32BE(start + 5), secret: Buffer.from(bytes.subarray(start + 9, end)) };
}

/**
 * Decodes complete frames with pg-protocol. Give it only whole frames of bounded size: the parser trusts lengths.
 * Not for BackendKeyData (32-bit keys only) nor NegotiateProtocolVersion.
 */
export function decodeBackendFrames(frames: Buffer): BackendMessage[] {
  const messages: BackendMessage[] = [];
  new Parser().parse(frames, (message) => messages.push(message));
  return messages;
}

export type { BackendMessage } from 'pg-protocol/dist/messages.js';
